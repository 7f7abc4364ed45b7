"""From lines and files to jobs that succeeded: orchestrator and local node."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.soak.files import Plan, Soak
from tests.support.inprocess import Orch
from tests.support.waiting import until

FOLLOW = """
apiVersion: orch/v1
kind: file
name: lines
path: {logs}/*.log
start: beginning
batch_window: 200ms
batch_lines: 40
flush_after: 300ms
on_dead: bisect
retry: {{max_attempts: 1}}
"""
SHELL = """
job:
  Type: batch
  Tasks:
    - Name: handle
      Engine:
        Type: docker
        Params:
          Image: "alpine:3.20"
          Entrypoint: [sh, -c, '! grep -q poison "$BATCH"']
      Env:
        BATCH: /orch/batch.ndjson
"""
NEW = """
apiVersion: orch/v1
kind: directory
name: objects
path: {incoming}/*.csv
settle: 1s
{more}
"""
COPY = """
input: source
target: /in/object.csv
job:
  Type: batch
  Tasks:
    - Name: count
      Engine:
        Type: docker
        Params:
          Image: "alpine:3.20"
          Entrypoint: [sh, -c, 'echo "{\\"count\\": $(wc -l < "$OBJECT")}"']
      Env:
        OBJECT: /in/object.csv
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where files are; nodes may read it."""
    place = tmp_path / "shared"
    place.mkdir()
    return place


@pytest.fixture
def orch(tmp_path: Path, place: Path) -> Iterator[Orch]:
    """An orchestrator and a node; what would be a container is a process."""
    config = DevNodeConfig(
        data_dir=tmp_path / "node",
        docker=False,
        images={"alpine:3.20": "-"},
        local_allow=(str(place),),
    )
    node = DevNode(config)
    node.start()
    try:
        with Orch.start(tmp_path / "orch", node.url) as started:
            yield started
    finally:
        node.stop()


def _counted(orch: Orch, name: str) -> int:
    runs = [run for run in orch.runs(name) if run.state == "succeeded"]
    outputs = [orch.attempts(run)[-1].stdout or "{}" for run in runs]
    return sum(json.loads(output.splitlines()[0])["count"] for output in outputs)


def test_every_line_is_counted_once(orch: Orch, place: Path):
    """By the default job, over a rotation; the old file's partition is closed."""
    log = place / "app.log"
    log.write_text("line\n" * 90)
    orch.register(FOLLOW.format(logs=place))
    until(lambda: _counted(orch, "lines") == 90, "all are counted", within=60)
    with log.open("a") as file:
        file.write("more\nrest")
    log.rename(place / "app.log.1")
    log.write_text("new\n" * 10)
    until(
        lambda: _counted(orch, "lines") == 102,
        "all are counted",
        within=60,
        show=lambda: orch.runs("lines"),
    )
    until(lambda: any(run.state == "skipped" for run in orch.runs("lines")), "the end")
    orch.audit()


def test_a_line_that_fails_stands_alone(orch: Orch, place: Path):
    """The batch is halved until only the poison is left, whatever else stands around it."""
    lines = [f"line {number}" for number in range(16)]
    lines[11] = "poison"
    (place / "app.log").write_text("\n".join(lines) + "\n")
    orch.register(FOLLOW.format(logs=place) + SHELL)

    def alone() -> bool:
        runs = orch.runs("lines")
        return sorted(run.state for run in runs if run.state != "skipped") == [
            "dead",
            *["succeeded"] * 4,
        ]

    until(alone, "one line is dead", within=60, show=lambda: orch.runs("lines"))
    orch.audit()


def test_each_new_file_is_counted(orch: Orch, place: Path):
    """By the default job, an event each; and read by a task that gets the file itself."""
    orch.register(NEW.format(incoming=place, more=""))
    (place / "a.csv").write_text("1\n2\n3\n")
    (place / "b.part").write_text("1\n")
    (place / "b.part").rename(place / "b.csv")
    until(
        lambda: _counted(orch, "objects") == 2,
        "both are counted",
        within=60,
        show=lambda: orch.runs("objects"),
    )
    orch.pause("objects")
    text = NEW.format(incoming=place, more=COPY)
    orch.register(text.replace("name: objects", "name: contents"))
    until(
        lambda: _counted(orch, "contents") == 4,
        "all lines are counted",
        within=60,
        show=lambda: orch.runs("contents"),
    )
    orch.audit()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["rename", "copytruncate"])
def test_nothing_is_lost_or_twice(tmp_path: Path, way: str):
    """The daemon is killed while a file is written and rotated: every line is given to one run."""
    plan = Plan(
        way=way,
        seed=random.randrange(2**32),
        lines=10_000,
        rotations=8,
        kills=2,
        seconds=8,
        batch_lines=500,
        longest=1.5,
        within=120,
    )
    print(plan)
    print(Soak(plan, tmp_path / "soak", print).run())
