"""Readers of a topic that its owner deletes, on a broker that makes topics for whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.connection import Connection, Flavour
from connectors.kafka.reader import open_reader
from connectors.streams import SourceError
from specs.tasks.kafka_follow import task as follow
from specs.tasks.kafka_range import task as ranged
from tests.integration.tasks.conftest import tidy_consumer
from tests.support.kafka import Kafka
from tests.support.waiting import until


def _stays_away(kafka: Kafka, topic: str, enough: Callable[[], bool]) -> None:
    """Delete a topic and look for it until there was time enough to bring it back."""
    kafka.delete_topic(topic)
    with kafka.admin() as admin:

        def over() -> bool:
            assert topic not in admin.list_topics(), "somebody has made it again"
            return enough()

        until(over, "there was time enough", within=60)


class _Watched:
    """kafka-python's consumer, and whether it has read anything yet."""

    def __init__(self, options: dict[str, Any], has_read: threading.Event) -> None:
        self._consumer = tidy_consumer(options)
        self._has_read = has_read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def poll(self, **options: Any) -> Any:
        """Its records."""
        found = self._consumer.poll(**options)
        if found:
            self._has_read.set()
        return found


@pytest.mark.parametrize("task", [ranged, follow])
def test_a_task_makes_no_topic(
    kafka: Kafka, environment: Callable[..., dict[str, str]], task: ModuleType
) -> None:
    """One that waits for records until its deadline does not bring the topic back."""
    topic, has_read = kafka.topic(), threading.Event()
    kafka.produce(topic, 0, [b"value"] * 20)
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    variables = environment(topic, 0, 30, ORCH_DEADLINE=deadline.isoformat(timespec="seconds"))
    thread = threading.Thread(
        target=task.main,
        args=(variables,),
        kwargs={"connect": lambda options: _Watched(options, has_read)},
    )
    thread.start()
    try:
        assert has_read.wait(15)
        _stays_away(kafka, topic, lambda: not thread.is_alive())
    finally:
        thread.join()


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_reader_makes_no_topic(kafka: Kafka, client: Flavour) -> None:
    """Nor does what the orchestrator reads with."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b"value"] * 20)
    reader = open_reader(Connection(brokers=(kafka.bootstrap,)), client)
    reads = 0

    def read() -> bool:
        nonlocal reads
        reads += 1
        try:
            return any(map(len, reader.read(100, 0.1)))
        except SourceError:
            return False

    try:
        reader.assign({TopicPartition(topic, 0): 0})
        until(read, "it reads")
        begin = reads

        def enough() -> bool:
            read()
            return reads > begin + 40

        _stays_away(kafka, topic, enough)
    finally:
        reader.close()
