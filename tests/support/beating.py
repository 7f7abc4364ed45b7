"""A service's task that writes down when it was there: run by the dev node, not by pytest.

Lines of FILE: `<ns> <copy> <who> <what> <checkpoint>`, `who` being the attempt and the process.
It follows the contract by the sample task's own means, and counts up from its checkpoint. MODE:
`good`, `exit N` (after its first heartbeat), `mute` (goes on without heartbeats), `plain` (none at
all), `once` (leaves well after three steps).
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[2] / "specs" / "tasks" / "service" / "task.py"
STEP = 0.05


def sample() -> Any:
    """The sample task as a module."""
    spec = importlib.util.spec_from_file_location("service_sample", SAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(env: Any) -> None:
    who = f"{env['ORCH_RUN_ID']}/{env['ORCH_ATTEMPT']}/{os.getpid()}"
    mode, _, code = env.get("MODE", "good").partition(" ")
    file = os.open(env["FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(what: str, at: int) -> None:
        line = f"{time.time_ns()} {env['ORCH_COPY']} {who} {what} {at}\n"
        os.write(file, line.encode())

    pulse = None if mode == "plain" else sample().Pulse(env)
    at = 0
    if pulse is not None:
        while (begun := pulse.beat()) is None:
            time.sleep(STEP)
        at = begun["checkpoint"] or 0
    note("start", at)
    due = steps = 0.0
    while not (mode == "exit" and steps) and not (mode == "once" and steps >= 3):
        at, steps = at + 1, steps + 1
        note("work", at)
        if pulse is not None and time.monotonic() >= due and not (mode == "mute" and steps > 1):
            taken = pulse.beat(checkpoint=at, progress={"steps": steps})
            due = time.monotonic() + (pulse.every if taken else STEP)
        time.sleep(STEP)
    if pulse is not None and mode == "once":
        pulse.beat(checkpoint=at)
    note("stop", at)
    sys.exit(int(code or 0))


if __name__ == "__main__":
    main(os.environ)
