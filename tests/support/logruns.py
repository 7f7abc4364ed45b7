"""Triggers on a `Log`, and what has become of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.store.sources import SourceState
from orchestrator.store.values import Run
from tests.support.inprocess import Orch
from tests.support.jobs import IMAGE
from tests.support.waiting import until

TELL = 'echo "$ORCH_RUN_ID $ORCH_ATTEMPT $PART $START $END" >> "$OUT"; '


def trigger(out: Path, script: str = "", name: str = "stream", **more: Any) -> str:
    """A trigger on the log whose task writes down what it was given, and then runs `script`."""
    end = "0" if "life_ms" in more else "${{ log.end }}"
    job = {
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "docker",
                    "Params": {
                        "Image": IMAGE,
                        "Entrypoint": ["/bin/sh", "-c"],
                        "Parameters": [TELL + (script or "exit 0")],
                    },
                },
                "Env": {
                    "OUT": str(out),
                    "PART": "${{ log.partition }}",
                    "START": "${{ log.start }}",
                    "END": end,
                },
            }
        ],
    }
    document = {"apiVersion": "orch/v1", "kind": "log", "name": name, "log": "main"}
    quick = {"retry": {"max_attempts": 2, "backoff": {"initial": "50ms", "max": "50ms"}}}
    return json.dumps({**document, **quick, **more, "job": job})


def done(orch: Orch, partition: str, position: str, *, name: str = "stream") -> None:
    """Wait until everything before a position is done."""
    uid = orch.app.triggers.get(name).uid

    def at() -> str | None:
        found = [p.done for p in orch.app.source_store.partitions(uid) if p.name == partition]
        return found[0] if found else None

    until(lambda: at() == position, f"{partition} done up to {position}", within=30, show=at)


def state(orch: Orch, name: str = "stream") -> tuple[SourceState, str]:
    source = orch.app.source_store.get(orch.app.triggers.get(name).uid)
    assert source is not None
    return source.state, source.detail


def ranges(runs: list[Run]) -> list[tuple[str | None, str | None]]:
    return [(run.range_start, run.range_end) for run in runs]
