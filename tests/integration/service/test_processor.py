"""The plain event processor: it follows a file, is killed, and goes on from its checkpoint."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import requests

from orchestrator.cli.devnode import task_commands
from tests.support.inprocess import Orch, lines
from tests.support.nodeprocess import NodeProcess
from tests.support.services import NAME, QUICK, never_two_at_once, service, sessions
from tests.support.waiting import until


def _sample(source: Path, sink: Path, **settings: Any) -> str:
    """A service of the sample task."""
    job = {
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {"Type": "docker", "Params": {"Image": "${{ service.image }}"}},
                "Env": {"SERVICE_FILE": str(source), "SERVICE_OUT": str(sink)},
            }
        ],
    }
    document = {"apiVersion": "orch/v1", "kind": "service", "name": NAME, "job": job}
    return json.dumps({**document, **QUICK, **settings})


def _kill_tasks(needle: str) -> int:
    """Kill the processes of tasks with this in their environment; returns how many."""
    killed = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            told = (entry / "environ").read_bytes()
            program = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if needle.encode() in told and b"task.py" in program:
            os.kill(int(entry.name), signal.SIGKILL)
            killed += 1
    return killed


def test_a_processor_goes_on_from_its_checkpoint(orch: Orch, tmp_path: Path) -> None:
    """Every line is handled, whoever is killed; only what had come since the last checkpoint is
    handled again."""
    source, sink = tmp_path / "events", tmp_path / "handled"
    count = 0

    def grow(more: int) -> None:
        nonlocal count
        with source.open("a") as file:
            for _ in range(more):
                file.write(f"event {count}\n")
                count += 1

    grow(20)
    orch.register(_sample(source, sink))
    until(lambda: len(set(lines(sink))) == count, "all are handled")
    reached = source.stat().st_size

    def checkpoint() -> Any:
        url = f"{orch.app.server.url}/api/v1/triggers/{NAME}"
        [copy] = requests.get(url, timeout=10).json()["copies"]
        return copy["checkpoint"]

    until(lambda: checkpoint() == reached, "the checkpoint", show=checkpoint)
    assert _kill_tasks(str(sink)) == 1
    grow(20)
    until(lambda: len(set(lines(sink))) == count, "all are handled", show=lambda: lines(sink))
    orch.pause(NAME)
    found = Counter(lines(sink))
    assert set(found) == {f"event {number}" for number in range(count)}
    assert all(found[f"event {number}"] == 1 for number in range(20)), "before the checkpoint"


def test_the_default_job_works_by_itself(orch: Orch) -> None:
    """Without a job the sample task runs, is well and counts."""
    document = {"apiVersion": "orch/v1", "kind": "service", "name": NAME}
    orch.register(json.dumps({**document, **QUICK}))
    url = f"{orch.app.server.url}/api/v1/status"

    def copy() -> Any:
        [found] = requests.get(url, timeout=10).json()["keep_alive"]
        assert found["trigger"] == NAME
        return (found["copies"] or [{}])[0]

    until(lambda: (copy().get("checkpoint") or 0) > 0, "it counts", show=copy)
    assert copy()["state"] == "running"
    orch.pause(NAME)


def test_a_node_that_is_killed_takes_no_service_with_it(tmp_path: Path) -> None:
    """Its tasks are not heard; the job is stopped once the node answers again, and the copy is
    there again after its lease and its pause. Never twice at once."""
    file = tmp_path / "out"
    node = NodeProcess(tmp_path / "node", images={"sh:1": "-", **task_commands()})
    node.start()
    try:
        with Orch.start(tmp_path / "orch", node.url) as orch:
            orch.register(service(file, copies=2))
            until(lambda: len(sessions(file)) == 2, "both work")
            uid = orch.app.triggers.get(NAME).uid

            def heard() -> bool:
                return all(copy.checkpoint for copy in orch.app.copies.all(uid))

            until(heard, "both are heard")
            before = {session.who for session in sessions(file)}
            node.kill()
            node.start()

            def again() -> bool:
                return {s.copy for s in sessions(file) if s.who not in before} == {"0", "1"}

            until(again, "both work again", within=40, show=lambda: orch.app.copies.all(uid))
            orch.pause(NAME)
            for run in orch.runs(NAME):
                if run.ended_at is None:
                    orch.app.commands.cancel(run.id, "the test ends", "test")
            orch.drained()
    finally:
        node.close()
    found = never_two_at_once(file)
    assert all(session.first > 0 for session in found if session.who not in before)
