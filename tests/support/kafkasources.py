"""Plays whoever runs a Kafka source: discovers, takes batches in, and checks that they tile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from connectors.kafka import KafkaConnector, parse_settings
from connectors.kafka.cluster import TopicPartition
from connectors.kafka.connection import Connection
from connectors.kafka.reader import Record, open_reader
from connectors.kafka.scan import scan
from connectors.streams import (
    Batch,
    Discovery,
    Place,
    RunRef,
    SourceUnavailable,
    Want,
)
from tests.support.kafka import Kafka
from tests.support.scriptedkafka import stream_context
from tests.support.waiting import until


class Played:
    """A source and the positions that whoever runs it would keep."""

    def __init__(self, kafka: Kafka, data_dir: Path, topic: str, **settings: Any) -> None:
        self._kafka = kafka
        self.topic = topic
        given = {"topic": topic, "brokers": kafka.bootstrap, "poll": "50ms", **settings}
        self.settings = parse_settings(given)
        self.context = stream_context(data_dir)
        self.source = KafkaConnector().open(given, self.context)
        self.planned: dict[str, int] = {}
        self.taken: list[Batch] = []
        self.unavailable = 0

    def discover(self) -> Discovery:
        """Take new partitions in."""
        known = {
            name: Place(planned=str(position), done=str(position))
            for name, position in self.planned.items()
        }
        found = self.source.discover(known)
        self.planned |= {name: int(at) for name, at in found.partitions.items()}
        return found

    def poll(self, room: int = 10, wait: float = 0.2, **want: Any) -> list[Batch]:
        """Poll all partitions once, and take in what comes."""
        wants = [
            Want(partition=name, position=str(at), room=room, **want)
            for name, at in self.planned.items()
        ]
        batches = list(self.source.poll(wants, wait))
        for batch in batches:
            assert int(batch.start) == self.planned[batch.partition]
            assert int(batch.end) > int(batch.start)
            self.planned[batch.partition] = int(batch.end)
        assert all(sum(b.partition == name for b in batches) <= room for name in self.planned)
        self.taken += batches
        return batches

    def until(self, ends: dict[int, int], within: float = 30, room: int = 10) -> list[Batch]:
        """Poll until partitions are planned up to these offsets; the batches that came."""
        before = len(self.taken)
        wanted = {f"{self.topic}/{number}": end for number, end in ends.items()}

        def planned() -> bool:
            try:
                self.poll(room)
            except SourceUnavailable:
                self.unavailable += 1
                self.context.stop.wait(0.2)  # nobody asks on and on who was not answered
            return all(self.planned[name] >= end for name, end in wanted.items())

        until(planned, f"planned up to {wanted}", within=within, show=lambda: self.planned)
        assert {name: self.planned[name] for name in wanted} == wanted
        return self.taken[before:]

    def read(self, batch: Batch) -> list[Record]:
        """What the job of a batch would read."""
        connection = Connection(brokers=tuple(self._kafka.bootstrap.split(",")))
        reader = open_reader(connection, isolation=self.settings.isolation)
        number = int(batch.partition.rpartition("/")[2])
        place = TopicPartition(self.topic, number)
        try:
            chunks = scan(reader, place, int(batch.start), int(batch.end), threading.Event())
            return [record for chunk in chunks for record in chunk.records()]
        finally:
            reader.close()

    def dead(self, batch: Batch) -> RunRef:
        """The run of a batch, when it needs its source once more."""
        return RunRef(
            run_id="r1",
            partition=batch.partition,
            start=batch.start,
            end=batch.end,
            values=batch.values,
            inputs=batch.inputs,
        )

    def close(self) -> None:
        """Let go of the source."""
        self.source.close()


def spans(batches: list[Batch]) -> list[tuple[str, int, int]]:
    """What came: outcome, start and end of each."""
    return [(batch.outcome, int(batch.start), int(batch.end)) for batch in batches]


def numbered(count: int, start: int = 0) -> list[bytes | None]:
    """Values that tell their place."""
    return [b"v%d" % n for n in range(start, start + count)]
