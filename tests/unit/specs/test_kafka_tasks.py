"""The sample tasks for Kafka with a scripted consumer; the real broker is in tests/integration."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    OffsetOutOfRangeError,
    TopicAuthorizationFailedError,
)
from kafka.structs import OffsetAndMetadata, TopicPartition

from specs.tasks.kafka_follow import task as follow
from specs.tasks.kafka_range import task as ranged

PARTITION = TopicPartition("logs", 3)
BEGIN = 1_774_742_400.0  # 2026-03-29T00:00:00Z
ENVIRONMENT = {
    "KAFKA_BROKERS": "127.0.0.1:9092,127.0.0.1:9093",
    "KAFKA_TOPIC": "logs",
    "KAFKA_PARTITION": "3",
    "KAFKA_START": "100",
    "KAFKA_END": "110",
    "ORCH_TRIGGER": "logs",
    "ORCH_RUN_ID": "r1",
    "ORCH_ATTEMPT": "2",
    "ORCH_DEADLINE": "2026-03-29T00:05:00Z",
}
LIFE = {**ENVIRONMENT, "KAFKA_GROUP": "orch.i.logs.u", "ORCH_DEADLINE": "2026-03-29T00:01:04Z"}


class Scripted:
    """A consumer of a log with gaps; each poll passes over `step` offsets and takes `takes` s."""

    def __init__(
        self,
        offsets: Sequence[int],
        *,
        begin: int = 0,
        end: int = 0,
        step: int = 4,
        takes: float = 1,
    ) -> None:
        self.offsets = offsets
        self.begin = begin
        self.end = end or (offsets[-1] + 1 if offsets else 0)
        self.step = step
        self.takes = takes
        self.clock = BEGIN
        self.at = -1
        self.options: Mapping[str, Any] = {}
        self.partitions: set[int] | None = {0, 1, 2, 3}
        self.commits: list[tuple[int, str]] = []
        self.closed = False
        self.on_poll: Callable[[], None] = lambda: None
        self.on_commit: Callable[[], None] = lambda: None

    def connect(self, options: Mapping[str, Any]) -> Scripted:
        self.options = options
        return self

    def now(self) -> float:
        return self.clock

    def assign(self, partitions: Sequence[Any]) -> None:
        assert partitions == [PARTITION]

    def seek(self, partition: Any, offset: int) -> None:
        self.at = offset

    def position(self, partition: Any) -> int:
        return self.at

    def poll(self, *, timeout_ms: int, max_records: int) -> Mapping[Any, Sequence[Any]]:
        self.clock += self.takes
        self.on_poll()
        if not self.begin <= self.at <= self.end:
            raise OffsetOutOfRangeError({PARTITION: self.at})
        until = min(self.at + self.step, self.end)
        found = [o for o in self.offsets if self.at <= o < until]
        self.at = until
        if not found:
            return {}
        return {PARTITION: [SimpleNamespace(offset=o, key=None, value=b"12345") for o in found]}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self.partitions

    def beginning_offsets(self, partitions: Sequence[Any]) -> Mapping[Any, int]:
        return {PARTITION: self.begin}

    def commit(self, offsets: Mapping[Any, OffsetAndMetadata], timeout_ms: int) -> None:
        self.on_commit()
        self.commits.append((offsets[PARTITION].offset, offsets[PARTITION].metadata))

    def close(self) -> None:
        self.closed = True


def run_range(consumer: Scripted, environment: Mapping[str, str] = ENVIRONMENT) -> int:
    """The range task's exit code."""
    return ranged.main(environment, connect=consumer.connect, now=consumer.now)


def run_follow(consumer: Scripted, environment: Mapping[str, str] = LIFE, **options: Any) -> int:
    """The follow task's exit code."""
    return follow.main(environment, connect=consumer.connect, now=consumer.now, **options)


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one line that a task has written."""
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert len(out.encode()) < 2048
    return json.loads(out)


@pytest.mark.parametrize("step", [1, 3, 4, 7, 100])
def test_a_range_is_read_exactly(step: int, capsys: pytest.CaptureFixture[str]):
    """Nothing before the start, nothing from the end on, however the records come."""
    consumer = Scripted(range(50, 200), step=step)
    assert run_range(consumer) == 0
    assert consumer.closed
    assert printed(capsys) == {
        "topic": "logs",
        "partition": 3,
        "start": 100,
        "end": 110,
        "count": 10,
        "first": 100,
        "last": 109,
        "bytes": 50,
    }


def test_gaps_are_no_losses(capsys: pytest.CaptureFixture[str]):
    """Compaction and transaction markers leave offsets without a record, also at both edges."""
    assert run_range(Scripted([40, 102, 105, 180])) == 0
    told = printed(capsys)
    assert (told["count"], told["first"], told["last"]) == (2, 102, 105)
    assert run_range(Scripted([40, 180])) == 0
    told = printed(capsys)
    assert (told["count"], told["first"], told["last"], told["bytes"]) == (0, None, None, 0)


def test_an_empty_range_asks_nobody(capsys: pytest.CaptureFixture[str]):
    """What begins where it ends is done."""
    consumer = Scripted([])
    assert run_range(consumer, {**ENVIRONMENT, "KAFKA_END": "100"}) == 0
    assert not consumer.options
    assert printed(capsys)["count"] == 0


@pytest.mark.parametrize("gone", [101, 105, 110, 500])
def test_a_range_whose_start_is_gone_is_lost(gone: int, capsys: pytest.CaptureFixture[str]):
    """Exit code 64 says that no attempt will ever do it; nothing is jumped over in silence."""
    assert run_range(Scripted(range(600), begin=gone)) == 64
    got = capsys.readouterr()
    assert got.out == ""
    assert f"the log begins at {gone}, and 100 was to be read" in got.err


def test_retention_may_come_while_a_range_is_read(capsys: pytest.CaptureFixture[str]):
    """The rest of a range can be lost, too: a part of it is not the range."""
    consumer = Scripted(range(200))

    def remove() -> None:
        consumer.begin = 150 if consumer.at > 104 else 0

    consumer.on_poll = remove
    assert run_range(consumer) == 64
    assert "the log begins at 150, and 108 was to be read" in capsys.readouterr().err


def test_a_log_that_was_cut_off(capsys: pytest.CaptureFixture[str]):
    """Offsets behind the log's end are no lost range: other records will have them one day."""
    assert run_range(Scripted(range(50))) == 1
    assert "cut off" in capsys.readouterr().err


def test_a_range_that_does_not_come_in_time(capsys: pytest.CaptureFixture[str]):
    """Past ORCH_DEADLINE another attempt may be under way: this one ends."""
    consumer = Scripted(range(105), takes=30)
    assert run_range(consumer) == 75
    assert consumer.clock == BEGIN + 300
    assert "ORCH_DEADLINE" in capsys.readouterr().err


@pytest.mark.parametrize("task", [run_range, run_follow])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KafkaTimeoutError("nobody"), 75),
        (NodeNotReadyError(), 75),
        (TopicAuthorizationFailedError({"logs"}), 1),
    ],
)
def test_errors_of_the_client(
    task: Callable[..., int],
    error: KafkaError,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Whatever may pass is worth another attempt; a refusal is said in the broker's words."""

    def refuse(*args: Any) -> Any:
        raise error

    consumer = Scripted(range(200))
    consumer.on_poll = refuse
    assert task(consumer) == code
    assert type(error).__name__ in capsys.readouterr().err
    monkeypatch.setattr(consumer, "connect", refuse)
    assert task(consumer) == code


@pytest.mark.parametrize("task", [run_range, run_follow])
@pytest.mark.parametrize("partitions", [None, set(), {0, 1}])
def test_a_partition_that_is_not_there(
    task: Callable[..., int], partitions: set[int] | None, capsys: pytest.CaptureFixture[str]
):
    """A wrong name ends at once instead of waiting for its time to be over."""
    consumer = Scripted(range(200))
    consumer.partitions = partitions
    assert task(consumer) == 1
    assert "no partition 3 of logs" in capsys.readouterr().err


@pytest.mark.parametrize("task", [run_range, run_follow])
def test_the_consumer_never_jumps(task: Callable[..., int]):
    """No reset, no commit by itself, no topic made by asking; only what is committed is read."""
    consumer = Scripted(range(200))
    assert task(consumer) == 0
    options = consumer.options
    assert options["bootstrap_servers"] == ["127.0.0.1:9092", "127.0.0.1:9093"]
    assert options["auto_offset_reset"] == "none"
    assert options["enable_auto_commit"] is False
    assert options["kafka_client"] in (ranged.make_no_topics, follow.make_no_topics)
    assert options["isolation_level"] == "read_committed"
    assert options["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize(("task", "base"), [(run_range, ENVIRONMENT), (run_follow, LIFE)])
def test_security(task: Callable[..., int], base: Mapping[str, str]):
    """User, password and certificates come from the environment."""
    consumer = Scripted(range(200))
    more = {
        "KAFKA_ISOLATION": "read_uncommitted",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "KAFKA_SASL_USER": "me",
        "KAFKA_SASL_PASSWORD": "pw",
        "KAFKA_TLS": "true",
        "KAFKA_TLS_CA": "/in/ca.pem",
    }
    assert task(consumer, {**base, **more}) == 0
    options = consumer.options
    assert options["isolation_level"] == "read_uncommitted"
    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == "SCRAM-SHA-256"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("me", "pw")
    assert (options["ssl_cafile"], options["ssl_certfile"]) == ("/in/ca.pem", None)


@pytest.mark.parametrize(
    ("task", "base", "changed"),
    [
        (run_range, ENVIRONMENT, {"KAFKA_BROKERS": ""}),
        (run_range, ENVIRONMENT, {"KAFKA_TOPIC": " "}),
        (run_range, ENVIRONMENT, {"KAFKA_PARTITION": "-1"}),
        (run_range, ENVIRONMENT, {"KAFKA_START": "x"}),
        (run_range, ENVIRONMENT, {"KAFKA_END": "99"}),
        (run_range, ENVIRONMENT, {"KAFKA_END": ""}),
        (run_range, ENVIRONMENT, {"ORCH_DEADLINE": "soon"}),
        (run_follow, LIFE, {"KAFKA_GROUP": ""}),
        (run_follow, LIFE, {"KAFKA_IDLE_EXIT": "1.5"}),
        (run_follow, LIFE, {"ORCH_DEADLINE": ""}),
        (run_follow, LIFE, {"ORCH_DEADLINE": "soon"}),
        (run_follow, LIFE, {"ORCH_RUN_ID": ""}),
    ],
)
def test_variables_that_make_no_sense(
    task: Callable[..., int],
    base: Mapping[str, str],
    changed: Mapping[str, str],
    capsys: pytest.CaptureFixture[str],
):
    """Exit code 2, and the variable's name."""
    assert task(Scripted(range(200)), {**base, **changed}) == 2
    assert next(iter(changed)) in capsys.readouterr().err


def rows(sink: Path) -> list[tuple[Any, ...]]:
    """What the sink holds."""
    connection = sqlite3.connect(sink)
    try:
        columns = "run, attempt, first, past, records"
        return connection.execute(f"SELECT {columns} FROM ranges ORDER BY first").fetchall()
    finally:
        connection.close()


def sunk(sink: Path, run: str, attempt: int, start: int, end: int) -> None:
    """A run of the range task with a sink."""
    environment = {
        **ENVIRONMENT,
        "SINK": str(sink),
        "ORCH_RUN_ID": run,
        "ORCH_ATTEMPT": str(attempt),
        "KAFKA_START": str(start),
        "KAFKA_END": str(end),
    }
    assert run_range(Scripted(range(200)), environment) == 0


def test_a_repeated_run_is_kept_once(tmp_path: Path):
    """A second attempt takes the place of the first, and an older one changes nothing."""
    sink = tmp_path / "sink.db"
    sunk(sink, "r1", 1, 100, 110)
    sunk(sink, "r2", 1, 110, 120)
    sunk(sink, "r1", 2, 100, 110)
    sunk(sink, "r1", 1, 100, 110)
    assert rows(sink) == [("r1", 2, 100, 110, 10), ("r2", 1, 110, 120, 10)]


def test_a_split_run_is_not_counted_twice(tmp_path: Path):
    """Whichever of a run and its halves came first stands for its offsets."""
    sink = tmp_path / "sink.db"
    sunk(sink, "whole", 5, 100, 120)
    sunk(sink, "left", 1, 100, 110)
    sunk(sink, "right", 1, 110, 120)
    assert rows(sink) == [("whole", 5, 100, 120, 20)]
    late = tmp_path / "late.db"
    sunk(late, "left", 1, 100, 110)
    sunk(late, "whole", 5, 100, 120)
    sunk(late, "right", 1, 110, 120)
    assert rows(late) == [("left", 1, 100, 110, 10), ("right", 1, 110, 120, 10)]


def test_a_sink_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A result that is not kept is no success."""
    environment = {**ENVIRONMENT, "SINK": str(tmp_path / "no" / "sink.db")}
    assert run_range(Scripted(range(200)), environment) == 75
    assert "SINK" in capsys.readouterr().err
    del environment["ORCH_RUN_ID"]
    assert run_range(Scripted(range(200)), environment) == 2


def test_a_life_commits_as_it_goes(capsys: pytest.CaptureFixture[str]):
    """Every second, with who it is; and what was read since, before it leaves in time."""
    consumer = Scripted(range(1000), takes=0.4)
    assert run_follow(consumer) == 0
    told = printed(capsys)
    assert told["left"] == "time"
    assert told["end"] == consumer.at == consumer.commits[-1][0]
    assert told["count"] == told["end"] - 100
    assert {who for _, who in consumer.commits} == {"r1/2"}
    assert [at for at, _ in consumer.commits] == sorted(at for at, _ in consumer.commits)
    assert 20 <= len(consumer.commits) <= 60
    assert consumer.clock - BEGIN == pytest.approx(60, abs=0.5)


def test_many_records_are_committed_at_once(monkeypatch: pytest.MonkeyPatch):
    """A fast reader does not wait for the second to be over."""
    monkeypatch.setattr(follow, "COMMIT_RECORDS", 8)
    consumer = Scripted(range(1000), takes=0.001)
    run_follow(consumer, {**LIFE, "ORCH_DEADLINE": "2026-03-29T00:00:05Z"})
    assert [at for at, _ in consumer.commits][:3] == [108, 116, 124]


def test_a_life_ends_before_its_deadline(capsys: pytest.CaptureFixture[str]):
    """ORCH_DEADLINE leaves time for the last commit."""
    consumer = Scripted(range(9000))
    assert run_follow(consumer, ENVIRONMENT | {"KAFKA_GROUP": "g"}) == 0
    assert consumer.clock == BEGIN + 300 - follow.MARGIN
    assert follow.MARGIN > (follow.COMMIT_TIMEOUT_MS + follow.POLL_MS) / 1000
    assert printed(capsys)["left"] == "time"


def test_a_life_that_begins_too_late(capsys: pytest.CaptureFixture[str]):
    """A job that waited in the queue beyond its time does nothing, and ends well."""
    consumer = Scripted(range(9000))
    assert run_follow(consumer, {**LIFE, "ORCH_DEADLINE": "2026-03-28T00:00:00Z"}) == 0
    told = printed(capsys)
    assert (told["count"], told["end"], consumer.commits) == (0, 100, [])


def test_idle(capsys: pytest.CaptureFixture[str]):
    """Without a record for so long it leaves; markers are no records, but progress."""
    consumer = Scripted(range(120), end=130)
    assert run_follow(consumer, {**LIFE, "KAFKA_IDLE_EXIT": "10"}) == 0
    told = printed(capsys)
    assert (told["left"], told["last"], told["end"]) == ("idle", 119, 130)
    assert consumer.commits[-1] == (130, "r1/2")
    assert consumer.clock == BEGIN + 15


def test_nothing_to_read_commits_nothing(capsys: pytest.CaptureFixture[str]):
    """A commit says that something was done."""
    consumer = Scripted([], end=100)
    assert run_follow(consumer) == 0
    assert consumer.commits == []
    told = printed(capsys)
    assert (told["count"], told["end"]) == (0, 100)


def test_asked_to_leave(capsys: pytest.CaptureFixture[str]):
    """On SIGTERM it commits what it has done, and goes."""
    consumer = Scripted(range(1000))
    assert run_follow(consumer, asked=lambda: consumer.clock >= BEGIN + 3) == 0
    assert consumer.commits[-1] == (112, "r1/2")
    assert printed(capsys)["left"] == "asked"


def test_a_life_whose_next_offset_is_gone(capsys: pytest.CaptureFixture[str]):
    """Lost records are said by exit code 64, as in a range."""
    assert run_follow(Scripted(range(600), begin=500)) == 64
    assert "the log begins at 500, and 100 was next" in capsys.readouterr().err
    assert run_follow(Scripted(range(50))) == 1


def test_a_commit_that_fails(capsys: pytest.CaptureFixture[str]):
    """What could not be committed is read again by the next: the life does not claim it."""

    def refuse() -> None:
        raise KafkaTimeoutError("no coordinator")

    consumer = Scripted(range(1000))
    consumer.on_commit = refuse
    assert run_follow(consumer) == 75
    assert capsys.readouterr().out == ""
