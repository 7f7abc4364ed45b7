"""A restored backup with runs on the cluster that it does not know: they take their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.domain.states import Origin, RunState
from orchestrator.store import backup
from tests.support.inprocess import ACTOR, Orch, lines
from tests.support.kafka import Kafka
from tests.support.kafkajobs import given, kafka_shell
from tests.support.ranges import ranges_tile
from tests.support.streamview import places, shown, until_done
from tests.support.waiting import until

Start = Callable[..., Orch]


def told(out: Path) -> Counter[tuple[str, ...]]:
    """How often each range was given to a task: partition, start, end."""
    return Counter(tuple(line.split()[2:]) for line in lines(out))


@pytest.mark.parametrize("mode", ["range", "buffer"])
def test_runs_that_the_backup_does_not_know(
    start: Start, kafka: Kafka, tmp_path: Path, mode: str
) -> None:
    """Those that have ended and those under way are put back, and planning goes on behind them:
    no range runs twice, whatever ranges would be planned now."""
    topic, out, gate = kafka.topic(2), tmp_path / "out", tmp_path / "gate"
    ends = dict.fromkeys([f"{topic}/0", f"{topic}/1"], 20)
    for number in range(2):
        kafka.produce(topic, number, [b"value"] * 20)
    script = f'[ "$START" != 40 ] || until [ -e {gate} ]; do sleep .05; done'
    more: dict[str, Any] = {"mode": mode, "max_records": 10}
    if mode == "buffer":
        more |= {"storage": str(tmp_path / "files")}
    orch = start()
    orch.register(kafka_shell("logs", topic, kafka.bootstrap, out, script, **more))
    until_done(orch, "logs", ends)
    backup.create(orch.app.database, tmp_path / "backup.db")
    for number in range(2):
        kafka.produce(topic, number, [b"value"] * 25)
    until(lambda: (("0", "40", "45") in told(out)) and (("1", "40", "45") in told(out)), "held")
    before = told(out)
    orch.app.stop()

    for number in range(2):
        kafka.produce(topic, number, [b"value"] * 15)
    backup.restore(tmp_path / "backup.db", tmp_path / "restored", copy=False)
    again = start(tmp_path / "restored")
    until(lambda: len(again.runs("logs")) >= 10, "put back", within=90)
    gate.touch()
    until_done(again, "logs", dict.fromkeys(ends, 60))
    ranges_tile(shown(again, "logs"), dict.fromkeys(ends, 60))
    again.audit()
    assert before <= told(out)
    assert set(told(out).values()) == {1}, told(out).most_common(3)
    assert told(out).total() == len(again.runs("logs"))


@pytest.mark.parametrize("early", [True, False], ids=["failed before", "fails after"])
@pytest.mark.parametrize("mode", ["range", "buffer"])
def test_a_run_that_was_put_back_and_fails(
    start: Start, kafka: Kafka, tmp_path: Path, mode: str, early: bool
) -> None:
    """Its range says all that a reader of it was given: it is tried again, also when it has failed
    before its source was read. No job is sent without the file that the first one had: that run
    waits among the dead for a person, who lets its events be read again."""
    topic, out, gate = kafka.topic(), tmp_path / "out", tmp_path / "gate"
    kafka.produce(topic, 0, [b"value"] * 10)
    wait = f"until [ -e {gate} ]; do sleep 0.05; done"
    script = f'[ "$START" = 0 ] || [ -e {gate}2 ] || {{ {wait}; exit 1; }}'
    orch = start()
    orch.register(
        kafka_shell("logs", topic, kafka.bootstrap, out, script, mode=mode, max_records=10)
    )
    until_done(orch, "logs", {f"{topic}/0": 10})
    backup.create(orch.app.database, tmp_path / "backup.db")
    kafka.produce(topic, 0, [b"value"] * 10)
    until(lambda: ("0", "10", "20") in told(out), "the second run")
    orch.app.stop()

    def fail() -> None:
        if mode == "range":
            Path(f"{gate}2").touch()
        gate.touch()

    backup.restore(tmp_path / "backup.db", tmp_path / "restored", copy=False)
    if early:
        fail()
    again = start(tmp_path / "restored")
    until(lambda: len(again.runs("logs")) == 2, "put back", within=90)
    fail()
    run = again.until_ended(again.runs("logs")[1].id, within=90)
    if mode == "range":
        assert (run.state, run.attempts) == (RunState.SUCCEEDED, 2)
        until_done(again, "logs", {f"{topic}/0": 20})
        assert told(out) == {("0", "0", "10"): 1, ("0", "10", "20"): 2}
        again.audit()
        return
    assert run.state is RunState.DEAD
    assert "set the checkpoint back" in run.reason
    Path(f"{gate}2").touch()
    again.pause("logs")
    positions = {f"{topic}/0": "10"}
    again.app.source_store.set_checkpoints("logs", positions, "read it again", ACTOR)
    again.app.commands.discard(None, [run.id], "read again", ACTOR)
    again.app.timing.resume("logs", skip=False, actor=ACTOR)
    until_done(again, "logs", {f"{topic}/0": 20})
    assert told(out) == {("0", "0", "10"): 1, ("0", "10", "20"): 2}
    again.audit()


def test_a_life_that_the_backup_does_not_know(start: Start, kafka: Kafka, tmp_path: Path) -> None:
    """It is put back beside the order of its partition, and ends there; followers go on from the
    backup's checkpoint, so that no record is left out."""
    topic = kafka.topic()
    orch = start()
    more = {"mode": "follow", "poll": "50ms", "life": "10s", "idle_exit": "3s", "stop_grace": "0s"}
    orch.register(given("kafka", "logs", topic, kafka.bootstrap, **more))
    until(lambda: places(orch, "logs"), "the partition", within=30)
    backup.create(orch.app.database, tmp_path / "backup.db")
    kafka.produce(topic, 0, [b"value"] * 10)
    until_done(orch, "logs", {f"{topic}/0": 10})
    [first] = orch.runs("logs")
    orch.app.stop()

    backup.restore(tmp_path / "backup.db", tmp_path / "restored", copy=False)
    again = start(tmp_path / "restored")
    until_done(again, "logs", {f"{topic}/0": 10})
    again.pause("logs")
    runs = {run.id: run for run in again.drained()}
    assert runs.pop(first.id).origin is Origin.RESTORED
    [second] = runs.values()
    assert (second.range_start, second.range_end) == ("0", "10")
    assert {run.state for run in again.runs("logs")} == {RunState.SUCCEEDED}
    again.audit()
