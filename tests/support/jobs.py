"""Trigger files for tests: local commands that stand for an image, and a small WASM module."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

IMAGE = "sh:1"
IMAGES = {IMAGE: "-"}
NEVER = "2199-01-01T00:00:00Z"  # for triggers that are fired by hand


def shell(
    name: str,
    script: str,
    *,
    every: str = "1s",
    at: str | None = None,
    zone: str = "",
    **policies: Any,
) -> str:
    """A cron trigger whose job is a shell script. Policies under their names in the file.

    With a `zone` it wants a node of that label, and waits in the cluster's queue for one.
    """
    job: dict[str, Any] = {
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
    if zone:
        job["Constraints"] = [{"Key": "zone", "Operator": "=", "Values": [zone]}]
        job["Tasks"][0]["Timeouts"] = {"QueueTimeout": 1}
    return _file(name, job, every=every, at=at, **policies)


def _file(name: str, job: dict[str, Any], *, every: str, at: str | None, **policies: Any) -> str:
    when: dict[str, Any] = {"at": at} if at else {"every": every}
    document = {"apiVersion": "orch/v1", "kind": "cron", "name": name} | when | policies
    return json.dumps(document | {"job": job})


def wasm(name: str, module: Path, *, every: str = "1s", **policies: Any) -> str:
    """A cron trigger whose job is a WASM module, which goes with it."""
    data = base64.b64encode(module.read_bytes()).decode()
    task = {
        "Name": "main",
        "Engine": {
            "Type": "wasm",
            "Params": {"EntryModule": "/main.wasm", "Parameters": ["${{ firing.key }}"]},
        },
        "InputSources": [
            {
                "Target": "/main.wasm",
                "Source": {
                    "Type": "inline",
                    "Params": {"URL": f"data:application/wasm;base64,{data}"},
                },
            }
        ],
    }
    return _file(name, {"Type": "batch", "Tasks": [task]}, every=every, at=None, **policies)
