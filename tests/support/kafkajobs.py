"""Trigger files of kind `kafka` whose tasks are shell scripts: quick, and told what they got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.jobs import IMAGE

# A line for each attempt, written at once: run, attempt, partition, start, end.
TELL = 'echo "$ORCH_RUN_ID $ORCH_ATTEMPT $PART $START $END" >> "$OUT"; '

_QUICK: dict[str, dict[str, Any]] = {
    "range": {"poll": "50ms", "max_wait": 0},
    "follow": {"poll": "50ms"},
    "buffer": {"max_age": "50ms"},
}


def kafka_shell(
    name: str, topic: str, brokers: str, out: Path, script: str = "exit 0", **more: Any
) -> str:
    """A trigger whose task writes down what it was given, and then runs `script`. More settings
    and policies under their names in the file."""
    document = {"apiVersion": "orch/v1", "kind": "kafka", "name": name}
    source = {"topic": topic, "brokers": brokers, **_QUICK[more.get("mode", "range")]}
    retry = {"retry": {"max_attempts": 2, "backoff": {"initial": "50ms", "max": "50ms"}}}
    return json.dumps({**document, **source, **retry, **more, "job": _job(out, script, more)})


def _job(out: Path, script: str, more: dict[str, Any]) -> dict[str, Any]:
    end = "follow" if more.get("mode") == "follow" else "${{ kafka.end }}"
    engine = {
        "Type": "docker",
        "Params": {
            "Image": IMAGE,
            "Entrypoint": ["/bin/sh", "-c"],
            "Parameters": [TELL + script],
        },
    }
    env = {
        "OUT": str(out),
        "PART": "${{ kafka.partition }}",
        "START": "${{ kafka.start }}",
        "END": end,
    }
    return {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine, "Env": env}]}


def given(kind: str, name: str, topic: str, brokers: str, **more: Any) -> str:
    """A trigger that runs its kind's default job."""
    document = {"apiVersion": "orch/v1", "kind": kind, "name": name}
    return json.dumps({**document, "topic": topic, "brokers": brokers, **more})
