"""The command line, called in the test's own process as a shell would see it."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest import mock

from orchestrator.cli.root import run

NOBODY = "http://127.0.0.1:9"


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


def orch(*args: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Done:
    """Carry out a command without any ORCH_ variable but those of `env`."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ORCH_")}
    clean |= {"ORCH_URL": NOBODY, **(env or {})}
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    code = 0
    with (
        mock.patch.dict(os.environ, clean, clear=True),
        mock.patch.object(sys, "stdin", given),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            run(args)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        out.flush()
    done = Done(code=code, out=out.buffer.getvalue().decode(), err=err.getvalue())  # type: ignore[attr-defined]
    assert "Traceback" not in done.out + done.err, done.err
    return done
