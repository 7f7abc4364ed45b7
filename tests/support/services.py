"""Services for tests: their trigger files, and what their tasks have written down."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import requests

from tests.support.inprocess import ACTOR, Orch
from tests.support.jobs import IMAGE

_TASK = Path(__file__).parent / "beating.py"
NAME = "svc"
QUICK = {
    "heartbeat": "500ms",
    "lease": "1500ms",
    "stop_grace": "200ms",
    "backoff": {"initial": "100ms", "max": "1s", "healthy_after": "5s"},
}


def service(file: Path, mode: str = "good", *, name: str = NAME, **settings: Any) -> str:
    """A trigger file; its task is `beating.py`."""
    job = {
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "docker",
                    "Params": {"Image": IMAGE, "Entrypoint": [sys.executable, str(_TASK)]},
                },
                "Env": {"FILE": str(file), "MODE": mode},
            }
        ],
    }
    document = {"apiVersion": "orch/v1", "kind": "service", "name": name, "job": job}
    given = {**document, **QUICK, **settings}
    return json.dumps({key: value for key, value in given.items() if value is not None})


@dataclass(kw_only=True)
class Session:
    """One process of a task, as far as it has written."""

    copy: str
    who: str
    begun: int
    ended: int
    first: int
    last: int
    what: str


def sessions(file: Path) -> list[Session]:
    """The processes that have worked, in the order in which they began."""
    found: dict[str, Session] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        at, copy, who, what, checkpoint = line.split()
        known = found.setdefault(
            who,
            Session(
                copy=copy,
                who=who,
                begun=int(at),
                ended=int(at),
                first=int(checkpoint),
                last=int(checkpoint),
                what=what,
            ),
        )
        known.ended, known.last, known.what = int(at), int(checkpoint), what
    return sorted(found.values(), key=lambda session: session.begun)


def never_two_at_once(file: Path) -> list[Session]:
    """AssertionError if two processes of one copy have worked at the same time."""
    by_copy: dict[str, list[Session]] = defaultdict(list)
    for session in sessions(file):
        by_copy[session.copy].append(session)
    for of_copy in by_copy.values():
        for before, after in pairwise(of_copy):
            assert before.ended <= after.begun, (before, after)
    return sessions(file)


def shown(orch: Orch, name: str = NAME) -> list[dict[str, Any]]:
    """The copies as the API shows them."""
    response = requests.get(f"{orch.app.server.url}/api/v1/triggers/{name}", timeout=10)
    return response.json()["copies"]


def states(orch: Orch, name: str = NAME) -> list[str]:
    """Theirs."""
    return [copy["state"] for copy in shown(orch, name)]


def end(orch: Orch, name: str = NAME) -> None:
    """No more lives; those that are there leave."""
    orch.pause(name)
    for run in orch.runs(name):
        if run.ended_at is None:
            orch.app.commands.cancel(run.id, "the test ends", ACTOR)
    orch.drained()
