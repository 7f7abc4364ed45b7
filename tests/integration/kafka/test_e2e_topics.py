"""From a real broker to jobs: topics that grow, are made again, and lose what nobody has read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.domain.states import AttemptState, RunState
from orchestrator.store.sources import SourceState
from tests.support.inprocess import ACTOR, Orch, lines
from tests.support.kafka import Kafka
from tests.support.kafkajobs import given, kafka_shell
from tests.support.ranges import ranges_tile
from tests.support.streamview import places, shown, until_done, until_source
from tests.support.waiting import until

Start = Callable[..., Orch]
MODES = ["range", "buffer"]


def numbered(count: int) -> list[bytes | None]:
    return [b"v%d" % number for number in range(count)]


def told(out: Path) -> list[tuple[str, int, int]]:
    """Partition, start and end of what tasks were given, in order."""
    found = [line.split()[2:] for line in lines(out)]
    return sorted((part, int(start), int(end)) for part, start, end in found)


@pytest.mark.parametrize("mode", MODES)
def test_partitions_that_are_added(start: Start, kafka: Kafka, tmp_path: Path, mode: str) -> None:
    """They are found while the trigger runs, and read from their beginning, whatever `start`."""
    topic, out = kafka.topic(), tmp_path / "out"
    kafka.produce(topic, 0, numbered(10))
    orch = start()
    orch.register(
        kafka_shell("logs", topic, kafka.bootstrap, out, mode=mode, start="latest", max_records=5)
    )
    until(lambda: places(orch, "logs") == {f"{topic}/0": ("10", "10")}, "partition 0", within=30)
    kafka.add_partitions(topic, 3)
    kafka.produce(topic, 1, numbered(5))
    kafka.produce(topic, 2, numbered(10))
    kafka.produce(topic, 0, numbered(5))
    until_done(orch, "logs", {f"{topic}/0": 15, f"{topic}/1": 5, f"{topic}/2": 10})
    assert told(out) == [("0", 10, 15), ("1", 0, 5), ("2", 0, 5), ("2", 5, 10)]
    orch.audit()


@pytest.mark.parametrize("mode", MODES)
def test_a_topic_that_is_made_again(start: Start, kafka: Kafka, tmp_path: Path, mode: str) -> None:
    """Another topic under the same name is not read until a person has said so; then it is read
    by `start`, and nothing of it is skipped."""
    topic, out = kafka.topic(), tmp_path / "out"
    kafka.produce(topic, 0, numbered(20))
    orch = start()
    orch.register(kafka_shell("logs", topic, kafka.bootstrap, out, mode=mode, max_records=10))
    until_done(orch, "logs", {f"{topic}/0": 20})
    _make_again(orch, kafka, topic)
    assert len(orch.runs("logs")) == 2, "nothing of the new topic is planned"
    _restart(orch)
    until_done(orch, "logs", {f"{topic}/0": 30})
    assert told(out) == [("0", 0, 10), ("0", 0, 10), ("0", 10, 20), ("0", 10, 20), ("0", 20, 30)]
    orch.audit()


def test_a_topic_that_is_made_again_under_a_follower(start: Start, kafka: Kafka) -> None:
    """What a follower that is still there commits in the new topic is not believed: the new topic
    is consumed from its beginning once a person has said so."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(20))
    orch = start()
    orch.register(
        given(
            *("kafka", "logs", topic, kafka.bootstrap),
            mode="follow",
            poll="50ms",
            life="10s",
            idle_exit="6s",
            stop_grace="0s",
        )
    )
    until(lambda: places(orch, "logs") == {f"{topic}/0": ("20", "20")}, "consumed", within=40)
    assert orch.open_runs()
    _make_again(orch, kafka, topic)
    assert places(orch, "logs") == {f"{topic}/0": ("20", "20")}
    _restart(orch)
    until_done(orch, "logs", {f"{topic}/0": 30})
    orch.pause("logs")
    runs = orch.drained(within=60)
    ended = {
        run.id: json.loads(attempt.stdout)
        for run in runs
        for attempt in orch.attempts(run)
        if attempt.state is AttemptState.SUCCEEDED
    }
    last = max((run for run in runs if run.id in ended), key=lambda run: run.created_at)
    assert (ended[last.id]["start"], ended[last.id]["count"]) == (0, 30)
    orch.audit()


def _make_again(orch: Orch, kafka: Kafka, topic: str) -> None:
    """Delete the topic and make it again, with more records; wait until that was seen."""
    kafka.delete_topic(topic)
    kafka.topic(name=topic)
    kafka.produce(topic, 0, numbered(30))
    assert "checkpoints restart" in until_source(orch, "logs", SourceState.CHANGED)


def _restart(orch: Orch) -> None:
    """What a person does then."""
    orch.pause("logs")
    orch.app.source_store.ask_restart("logs", "a new topic", ACTOR)
    orch.app.timing.resume("logs", skip=False, actor=ACTOR)
    until_source(orch, "logs", SourceState.OK)


@pytest.mark.parametrize("on_lost", ["stop", "continue"])
@pytest.mark.parametrize("mode", MODES)
def test_offsets_that_are_gone_before_they_were_planned(
    start: Start, kafka: Kafka, tmp_path: Path, mode: str, on_lost: str
) -> None:
    """They are a dead run of exactly what is gone; `on_lost` says whether the partition waits for
    a person."""
    topic, out = kafka.topic(), tmp_path / "out"
    kafka.produce(topic, 0, numbered(10))
    orch = start()
    orch.register(
        kafka_shell("logs", topic, kafka.bootstrap, out, mode=mode, on_lost=on_lost, max_records=10)
    )
    until_done(orch, "logs", {f"{topic}/0": 10})
    orch.app.stop()
    kafka.produce(topic, 0, numbered(20))
    kafka.delete_records(topic, 0, 25)
    orch = start()
    if on_lost == "stop":
        dead = until(
            lambda: [r for r in orch.runs() if r.state is RunState.DEAD], "lost", within=40
        )
        assert not dead[0].released
        assert places(orch, "logs")[f"{topic}/0"][1] == "10"
        orch.app.commands.discard(None, [dead[0].id], "seen", ACTOR)
    until_done(orch, "logs", {f"{topic}/0": 30})
    runs = shown(orch, "logs")
    ranges_tile(runs, {f"{topic}/0": 30}, states={"succeeded", "dead"})
    [dead] = [run for run in runs if run["state"] == "dead"]
    assert dead["range"] == {"start": "10", "end": "25"}
    assert dead["reason"].startswith("lost range: ")
    assert told(out) == [("0", 0, 10), ("0", 25, 30)]
    orch.audit()


@pytest.mark.parametrize("on_lost", ["stop", "continue"])
def test_offsets_that_are_gone_between_two_attempts(
    start: Start, kafka: Kafka, tmp_path: Path, on_lost: str
) -> None:
    """The log's start is looked at before each attempt: a range that is gone is not sent again."""
    topic, out = kafka.topic(), tmp_path / "out"
    kafka.produce(topic, 0, numbered(20))
    orch = start()
    retry = {"max_attempts": 5, "backoff": {"initial": "2s", "max": "2s"}}
    script = "[ $START != 0 ]"
    orch.register(
        kafka_shell(
            *("logs", topic, kafka.bootstrap, out, script),
            on_lost=on_lost,
            max_records=10,
            retry=retry,
        )
    )
    until(lambda: told(out) == [("0", 0, 10)], "the first attempt", within=30)
    kafka.delete_records(topic, 0, 5)
    run = orch.until_ended(orch.runs("logs")[0].id, within=40)
    assert (run.state, run.released) == (RunState.DEAD, on_lost == "continue")
    assert run.reason.startswith("lost range: "), run.reason
    if on_lost == "stop":
        orch.app.commands.discard(None, [run.id], "seen", ACTOR)
    until_done(orch, "logs", {f"{topic}/0": 20})
    assert ("0", 10, 20) in told(out)
    orch.audit()


def test_a_buffered_file_outlives_its_records(start: Start, kafka: Kafka, tmp_path: Path) -> None:
    """What is in a file does not go with the log: its run is tried again."""
    topic, out = kafka.topic(), tmp_path / "out"
    kafka.produce(topic, 0, numbered(10))
    orch = start()
    retry = {"max_attempts": 3, "backoff": {"initial": "1s", "max": "1s"}}
    script = "[ $ORCH_ATTEMPT = 2 ] && [ $(wc -l < /orch/batch.ndjson) = 10 ]"
    orch.register(
        kafka_shell(
            *("logs", topic, kafka.bootstrap, out, script),
            mode="buffer",
            max_records=10,
            retry=retry,
        )
    )
    until(lambda: told(out) == [("0", 0, 10)], "the first attempt", within=30)
    kafka.delete_records(topic, 0, 10)
    until_done(orch, "logs", {f"{topic}/0": 10})
    assert orch.runs("logs")[0].state is RunState.SUCCEEDED
    orch.audit()


@pytest.mark.parametrize("mode", MODES)
def test_a_log_that_is_shorter_than_it_was(
    start: Start, kafka: Kafka, tmp_path: Path, mode: str
) -> None:
    """A broker that lost a disk gives offsets away again that were read before: nothing is read
    until a person has said where, and then nothing of what is new is left out."""
    topic, out = kafka.topic(), tmp_path / "out"
    kafka.produce(topic, 0, numbered(20))
    orch = start()
    orch.register(kafka_shell("logs", topic, kafka.bootstrap, out, mode=mode, max_records=10))
    until_done(orch, "logs", {f"{topic}/0": 20})
    with kafka.down():
        until_source(orch, "logs", SourceState.UNAVAILABLE)
        shutil.rmtree(kafka.brokers[0].directory / "data" / f"{topic}-0")
    kafka.produce(topic, 0, numbered(5))
    said = until_source(orch, "logs", SourceState.CHANGED, within=60)
    assert "truncated" in said
    assert len(orch.runs("logs")) == 2
    orch.pause("logs")
    orch.app.source_store.set_checkpoints("logs", {f"{topic}/0": "0"}, "a lost disk", ACTOR)
    orch.app.timing.resume("logs", skip=False, actor=ACTOR)
    until_done(orch, "logs", {f"{topic}/0": 5})
    assert told(out) == [("0", 0, 5), ("0", 0, 10), ("0", 10, 20)]
    orch.audit()
