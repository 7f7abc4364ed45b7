"""Records of Kafka in each mode, with a real broker: the connector passes the kit."""

from __future__ import annotations

import base64
import gc
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.kafka import KafkaConnector
from connectors.kafka.cluster import TopicPartition
from connectors.kafka.connection import Connection
from connectors.kafka.naming import commit_metadata
from connectors.kafka.reader import open_reader
from connectors.kafka.scan import scan
from connectors.streams import Batch
from connectors.testing import (
    Bad,
    LifeConformance,
    LifeHarness,
    StreamConformance,
    StreamHarness,
)
from tests.support.kafka import Kafka
from tests.support.waiting import until


class _Topic:
    """A topic of its own, and what all modes have in common."""

    connector = KafkaConnector()
    patience = 60.0
    mode = "range"
    more: Mapping[str, JSON] = {}

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.topic = kafka.topic()

    def settings(self) -> Mapping[str, JSON]:
        given: dict[str, JSON] = {"topic": self.topic, "brokers": self.kafka.bootstrap}
        return {**given, "mode": self.mode, **self.more}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"topic": "a b"}, "topic"),
            ({"brokers": "host"}, "brokers"),
            ({"mode": "all"}, "mode"),
            ({"max_records": 0, "mode": "range"}, "max_records"),
            ({"security": {"sasl": {"mechanism": "x"}}}, "security.sasl.mechanism"),
            ({"rack": "a b"}, "rack"),
        ]

    def put(self, events: Sequence[str]) -> None:
        if events:
            self.kafka.produce(self.topic, 0, [event.encode() for event in events])

    def unreachable(self) -> Mapping[str, JSON]:
        return {**self.settings(), "topic": f"{self.topic}-absent"}

    def close(self) -> None:
        gc.collect()


class RangeHarness(_Topic, StreamHarness):
    more: Mapping[str, JSON] = {"poll": "50ms", "max_records": 3, "max_wait": 0}

    def read(self, batch: Batch) -> Sequence[str]:
        reader = open_reader(
            Connection(brokers=tuple(self.kafka.bootstrap.split(","))), isolation="read_committed"
        )
        place = TopicPartition(self.topic, int(batch.partition.rpartition("/")[2]))
        try:
            chunks = scan(reader, place, int(batch.start), int(batch.end), threading.Event())
            values = [record.value for chunk in chunks for record in chunk.records()]
        finally:
            reader.close()
        return [value.decode() for value in values if value is not None]


class BufferHarness(_Topic, StreamHarness):
    mode = "buffer"
    more: Mapping[str, JSON] = {"max_age": "100ms", "max_records": 3}

    def __init__(self, kafka: Kafka, directory: Path) -> None:
        super().__init__(kafka)
        self.more = {**self.more, "storage": str(directory)}

    def read(self, batch: Batch) -> Sequence[str]:
        lines = [line for source in batch.inputs for line in _content(source).splitlines()]
        return [json.loads(line)["value"] for line in lines]


class FollowHarness(_Topic, LifeHarness):
    mode = "follow"
    more: Mapping[str, JSON] = {"poll": "50ms"}

    def consume(self, batch: Batch, run_id: str, attempt: int, count: int) -> Sequence[str]:
        from confluent_kafka import Consumer
        from confluent_kafka import TopicPartition as Assigned

        values: Any = batch.values["kafka"]
        consumer = Consumer(
            {
                "bootstrap.servers": values["brokers"],
                "group.id": values["group"],
                "enable.auto.commit": False,
            }
        )
        consumer.assign([Assigned(values["topic"], values["partition"], values["start"])])
        found: list[str] = []

        def read() -> bool:
            came = consumer.consume(count - len(found), 0.2)
            found.extend((message.value() or b"").decode() for message in came)
            return len(found) >= count

        until(read, f"{count} records", within=60)
        name = commit_metadata(run_id, attempt)
        place = Assigned(values["topic"], values["partition"], values["start"] + count, name)

        def committed() -> bool:
            taken = consumer.commit(offsets=[place], asynchronous=False)
            return taken is not None and taken[0].error is None

        until(committed, "a commit", within=60)
        consumer.close()
        return found


def _content(source: Mapping[str, JSON]) -> bytes:
    whole: Any = source["Source"]
    params = whole["Params"]
    if whole["Type"] == "inline":
        return base64.b64decode(params["URL"].partition(",")[2])
    return Path(params["SourcePath"]).read_bytes()


class TestRange(StreamConformance):
    """Kind kafka, mode range."""

    @pytest.fixture
    def harness(self, kafka: Kafka) -> RangeHarness:
        return RangeHarness(kafka)


class TestBuffer(StreamConformance):
    """Kind kafka, mode buffer."""

    @pytest.fixture
    def harness(self, kafka: Kafka, tmp_path: Path) -> BufferHarness:
        return BufferHarness(kafka, tmp_path / "files")


class TestFollow(LifeConformance):
    """Kind kafka, mode follow."""

    @pytest.fixture
    def harness(self, kafka: Kafka) -> FollowHarness:
        return FollowHarness(kafka)
