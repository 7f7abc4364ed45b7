"""Streams a run's output."""

from __future__ import annotations

import sys
import time
from typing import Any

from orchestrator.cli.errors import say
from orchestrator.cli.http import Api, Refused, segment

_AGAIN = 0.5  # seconds between looks for a first attempt
_OPEN = ("pending", "submitting", "running")


def stream(api: Api, run: str, attempt: int | None, *, follow: bool) -> None:
    """Write an attempt's output as it comes. Raises CliError."""
    path = f"runs/{segment(run)}/logs"
    asked: dict[str, Any] = {"attempt": attempt, "follow": True if follow else None}
    while True:
        try:
            response = api.request("GET", path, params=asked, stream=True, read_timeout=None)
            break
        except Refused as error:
            if not follow or error.status != 409 or not _will_start(api, run):
                raise
            time.sleep(_AGAIN)
    if response.headers.get("Orch-Logs") == "kept":
        say("orch: the cluster does not give this log; this is what was kept of it (2 kB at most)")
    empty = True
    for chunk in api.chunks(response, None):
        empty = False
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    if empty:
        say("orch: it wrote nothing")


def _will_start(api: Api, run: str) -> bool:
    return api.get(f"runs/{segment(run)}")["state"] in _OPEN
