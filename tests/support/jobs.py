"""Trigger files for tests: local commands that stand for an image, and a small WASM module."""

from __future__ import annotations

import json
from typing import Any

IMAGE = "sh:1"
IMAGES = {IMAGE: "-"}
NEVER = "2199-01-01T00:00:00Z"  # for triggers that are fired by hand


def shell(
    name: str, script: str, *, every: str = "1s", at: str | None = None, **policies: Any
) -> str:
    """A cron trigger whose job is a shell script. Policies under their names in the file."""
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
                        "Parameters": [script],
                    },
                },
            }
        ],
    }
    return _file(name, job, every=every, at=at, **policies)


def _file(name: str, job: dict[str, Any], *, every: str, at: str | None, **policies: Any) -> str:
    when: dict[str, Any] = {"at": at} if at else {"every": every}
    document = {"apiVersion": "orch/v1", "kind": "cron", "name": name} | when | policies
    return json.dumps(document | {"job": job})


def wasm(name: str, module: str, *, every: str = "1s", **policies: Any) -> str:
    """A cron trigger whose job is a WASM module: a path that is read at registration."""
    job = {
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "wasm",
                    "Params": {"EntryModule": module, "Parameters": ["${{ firing.key }}"]},
                },
            }
        ],
    }
    return _file(name, job, every=every, at=None, **policies)
