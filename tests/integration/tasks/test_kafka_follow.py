"""The follower against a real broker: what it commits, and when it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import specs
from specs.tasks.kafka_follow.task import main
from tests.integration.tasks.conftest import Run
from tests.support.kafka import Kafka
from tests.support.waiting import until

Make = Callable[..., dict[str, str]]
VALUES = [f"{n:>200}".encode() for n in range(1_000)]


@contextmanager
def group(kafka: Kafka, topic: str) -> Iterator[Callable[[], tuple[int, str] | None]]:
    """Asks what the trigger's group has committed for partition 0: offset and metadata."""
    from kafka import KafkaConsumer
    from kafka.structs import TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=f"group-of-{topic}")

    def committed() -> tuple[int, str] | None:
        found = consumer.committed(TopicPartition(topic, 0), metadata=True)
        return (found.offset, found.metadata) if found else None

    try:
        yield committed
    finally:
        consumer.close()


def test_progress_is_committed_under_its_name(kafka: Kafka, environment: Make, told: Run):
    """The commit says how far, and whose it is; an idle follower leaves with everything done."""
    topic = kafka.topic()
    kafka.produce(topic, 0, VALUES)
    code, line, error = told(main, environment(topic, 400, KAFKA_IDLE_EXIT="1"))
    assert code == 0, error
    assert (line["count"], line["first"], line["last"]) == (600, 400, 999)
    assert (line["left"], line["end"]) == ("idle", 1_000)
    with group(kafka, topic) as committed:
        assert committed() == (1_000, "r1/1")


def test_the_store_is_the_truth(kafka: Kafka, environment: Make, told: Run):
    """A life begins where it is told, not where its group was; its own commits count again."""
    topic = kafka.topic()
    kafka.produce(topic, 0, VALUES)
    told(main, environment(topic, 0, KAFKA_IDLE_EXIT="1"))
    again = environment(topic, 700, KAFKA_IDLE_EXIT="1", ORCH_ATTEMPT="2")
    assert told(main, again)[1]["count"] == 300
    with group(kafka, topic) as committed:
        assert committed() == (1_000, "r1/2")


def test_markers_are_progress(kafka: Kafka, environment: Make, told: Run):
    """Aborted records and markers at the end leave no lag behind."""
    topic = kafka.topic()
    kafka.produce(topic, 0, VALUES[:10])
    with kafka.transaction() as transaction:
        transaction.send(topic, 0, VALUES[:5])
    code, line, error = told(main, environment(topic, 0, KAFKA_IDLE_EXIT="1"))
    assert code == 0, error
    assert (line["count"], line["end"]) == (10, 16)


def test_lost_records(kafka: Kafka, environment: Make, told: Run):
    """A life whose beginning is gone says so."""
    topic = kafka.topic()
    kafka.produce(topic, 0, VALUES)
    kafka.delete_records(topic, 0, 500)
    assert told(main, environment(topic, 100))[0] == 64


def test_it_leaves_when_asked(kafka: Kafka, environment: Make):
    """A stopped job gets SIGTERM: what it has done is committed, and it ends well."""
    topic = kafka.topic()
    kafka.produce(topic, 0, VALUES)
    program = specs.task_images()["orch/kafka-follow:1"]
    process = subprocess.Popen(
        [sys.executable, program],
        env={"PATH": os.environ["PATH"], **environment(topic, 0)},
        stdout=subprocess.PIPE,
    )
    try:
        with group(kafka, topic) as committed:
            until(lambda: committed() == (1_000, "r1/1"), "it is at the end", show=committed)
            kafka.produce(topic, 0, VALUES[:1])
            until(lambda: committed() == (1_001, "r1/1"), "it goes on", show=committed)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert b'"left": "asked"' in out
