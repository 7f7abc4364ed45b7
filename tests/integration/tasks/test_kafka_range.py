"""The range reader against a real broker: exactly its range, whatever the log looks like."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import specs
from specs.tasks.kafka_range.task import main
from tests.integration.tasks.conftest import Run
from tests.support.kafka import Kafka
from tests.support.waiting import until

Make = Callable[..., dict[str, str]]


def records(count: int, size: int = 200) -> list[bytes]:
    """Values of one size."""
    return [f"{n:>{size}}".encode() for n in range(count)]


def test_ranges_tile(kafka: Kafka, environment: Make, told: Run):
    """Ranges that follow each other hold every record once, over many fetches."""
    topic = kafka.topic()
    kafka.produce(topic, 0, records(30_000))
    counts: list[tuple[int, int, int]] = []
    for start, end in ((0, 1), (1, 10_000), (10_000, 10_000), (10_000, 29_999), (29_999, 30_000)):
        code, line, error = told(main, environment(topic, start, end))
        assert code == 0, error
        counts.append((line["count"], line["first"], line["last"]))
        assert line["bytes"] == line["count"] * 200
    assert counts == [
        (1, 0, 0),
        (9_999, 1, 9_999),
        (0, None, None),
        (19_999, 10_000, 29_998),
        (1, 29_999, 29_999),
    ]


def test_aborted_transactions(kafka: Kafka, environment: Make, told: Run):
    """What was aborted is not counted, and neither markers nor aborted records are waited for."""
    topic = kafka.topic()
    kafka.produce(topic, 0, records(10))  # 0 to 9
    with kafka.transaction() as transaction:
        transaction.send(topic, 0, records(5))  # 10 to 14
        transaction.abort()  # 15
        transaction.begin()
        transaction.send(topic, 0, records(5))  # 16 to 20
        transaction.commit()  # 21
        transaction.begin()
        transaction.send(topic, 0, records(5))  # 22 to 26
        transaction.abort()  # 27
    seen = {
        (0, 28): (15, 0, 20),
        (10, 16): (0, None, None),
        (15, 16): (0, None, None),
        (12, 18): (2, 16, 17),
        (21, 28): (0, None, None),
    }
    for (start, end), wanted in seen.items():
        code, line, error = told(main, environment(topic, start, end))
        assert code == 0, error
        assert (line["count"], line["first"], line["last"]) == wanted
    raw = environment(topic, 0, 28, KAFKA_ISOLATION="read_uncommitted")
    assert told(main, raw)[1]["count"] == 25


def test_compaction_leaves_gaps(kafka: Kafka, environment: Make, told: Run):
    """A compacted log has fewer records than offsets, and that is no loss."""
    configs = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "100",
    }
    topic = kafka.topic(configs=configs)
    rounds = 0

    def compacted() -> bool:
        nonlocal rounds
        rounds += 1
        kafka.produce(topic, 0, records(100), keys=[b"same"] * 100)
        code, line, error = told(main, environment(topic, 0, rounds * 100))
        assert code == 0, error
        return line["count"] < rounds * 100

    until(compacted, "the log is compacted", within=60)
    _, line, _ = told(main, environment(topic, 0, rounds * 100))
    assert line["last"] == rounds * 100 - 1


def test_a_lost_range(kafka: Kafka, environment: Make, told: Run):
    """What retention has removed is said by exit code 64; what is left can be read."""
    topic = kafka.topic()
    kafka.produce(topic, 0, records(100))
    kafka.delete_records(topic, 0, 40)
    code, line, error = told(main, environment(topic, 30, 60))
    assert (code, line) == (64, {})
    assert "the log begins at 40, and 30 was to be read" in error
    assert told(main, environment(topic, 40, 60))[1]["count"] == 20
    kafka.delete_records(topic, 0, 100)
    assert told(main, environment(topic, 40, 60))[0] == 64


def test_behind_the_end(kafka: Kafka, environment: Make, told: Run):
    """Offsets that the log does not have are no lost range."""
    topic = kafka.topic()
    kafka.produce(topic, 0, records(10))
    code, _, error = told(main, environment(topic, 20, 30))
    assert code == 1
    assert "the log ends before offset 20" in error


def test_a_range_that_is_not_there_yet(kafka: Kafka, environment: Make, told: Run):
    """It waits for records until its deadline, then another attempt may have them."""
    topic = kafka.topic()
    kafka.produce(topic, 0, records(10))
    late = environment(topic, 0, 11, ORCH_DEADLINE="2026-01-01T00:00:00Z")
    assert told(main, late)[0] == 75


def test_a_topic_that_is_not_there(kafka: Kafka, environment: Make, told: Run):
    """Asking for it neither makes it nor waits for it."""
    code, _, error = told(main, environment("no-such-topic", 0, 1))
    assert code == 1
    assert "no partition 0 of no-such-topic" in error
    with kafka.admin() as admin:
        assert "no-such-topic" not in admin.list_topics()


def test_a_broker_that_is_away(environment: Make):
    """Nobody there is a reason to try again."""
    done = subprocess.run(
        [sys.executable, specs.task_images()["orch/kafka-range:1"]],
        env=environment("t", 0, 1, KAFKA_BROKERS="127.0.0.1:1"),
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (75, b"")
    assert b"Timeout" in done.stderr
