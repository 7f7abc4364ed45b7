"""Reading records with kafka-python."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import kafka
import kafka.errors

from connectors.kafka.cluster import TIMEOUT, TopicPartition
from connectors.kafka.cluster_python import Network
from connectors.kafka.connection import Connection, kafka_python_options
from connectors.kafka.faults import from_kafka_python
from connectors.kafka.reader import (
    FETCH_BYTES,
    FETCH_WAIT_MS,
    PARTITION_BYTES,
    Chunk,
    Headers,
    Isolation,
    Reader,
)

# What type checkers know of this library is another version of it.
_kafka: Any = kafka
_errors: Any = kafka.errors
_Assigned: Any = _kafka.TopicPartition


class PythonChunk(Chunk):
    """Of kafka-python's ``ConsumerRecord``, a named tuple."""

    __slots__ = ()

    def offsets(self) -> list[int]:
        return [message.offset for message in self.messages]

    def timestamps(self) -> list[int]:
        return [message.timestamp for message in self.messages]

    def keys(self) -> list[bytes | None]:
        return [message.key for message in self.messages]

    def values(self) -> list[bytes | None]:
        return [message.value for message in self.messages]

    def headers(self) -> list[Headers | None]:
        return [message.headers for message in self.messages]


class PythonReader(Reader):
    """One consumer: a thread of its own, a connection to each broker."""

    def __init__(self, connection: Connection, *, isolation: Isolation) -> None:
        self._connection = connection
        self._isolation = isolation
        self._consumer: Any = None
        self._positions: dict[TopicPartition, int] = {}
        self._out_of_range: dict[TopicPartition, int] = {}

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        consumer = self._connected()
        self._positions |= positions
        self._assign(consumer)
        for partition, offset in positions.items():
            self._out_of_range.pop(partition, None)
            consumer.seek(_Assigned(*partition), offset)
        consumer.resume(*(_Assigned(*partition) for partition in positions))

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        gone = [self._positions.pop(partition, None) for partition in partitions]
        for partition in partitions:
            self._out_of_range.pop(partition, None)
        if any(position is not None for position in gone):
            self._assign(self._connected())

    def _assign(self, consumer: Any) -> None:
        consumer.assign([_Assigned(*partition) for partition in self._positions])

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self._connected().pause(*self._known(partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self._connected().resume(*self._known(p for p in partitions if p not in self._out_of_range))

    def _known(self, partitions: Any) -> list[Any]:
        return [_Assigned(*partition) for partition in partitions if partition in self._positions]

    def read(self, max_records: int, timeout: float) -> Sequence[Chunk]:
        consumer = self._connected()
        found: Mapping[Any, list[Any]] = {}
        try:
            found = consumer.poll(timeout_ms=round(timeout * 1000), max_records=max_records)
        except _errors.OffsetOutOfRangeError as error:
            self._stand_still(error.args[0])
        except _errors.LogTruncationError as error:
            self._stand_still(error.divergent_offsets)
        except _errors.KafkaError as error:
            raise from_kafka_python("reading", self._connection, error) from error
        return self._chunks(consumer, found)

    def _chunks(self, consumer: Any, found: Mapping[Any, list[Any]]) -> list[Chunk]:
        chunks: list[Chunk] = []
        for partition, start in self._positions.items():
            if partition in self._out_of_range:
                continue
            messages = found.get(_Assigned(*partition), [])
            position = self._position(consumer, partition)
            if position > start or messages:
                end = max(position, messages[-1].offset + 1) if messages else position
                chunks.append(PythonChunk(partition, messages, start, end))
        for chunk in chunks:
            self._positions[chunk.partition] = chunk.next
        return chunks

    def _position(self, consumer: Any, partition: TopicPartition) -> int:
        """Where the client stands, past what it has passed over in silence."""
        try:
            position: int | None = consumer.position(_Assigned(*partition), timeout_ms=0)
        except _errors.LogTruncationError as error:
            self._stand_still(error.divergent_offsets)
            position = None
        return self._positions[partition] if position is None else position

    def _stand_still(self, partitions: Collection[Any]) -> None:
        for assigned in partitions:
            partition = TopicPartition(assigned.topic, assigned.partition)
            if partition in self._positions:
                self._out_of_range[partition] = self._positions[partition]
                self._consumer.pause(assigned)

    @property
    def out_of_range(self) -> Mapping[TopicPartition, int]:
        return self._out_of_range

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        return self._positions

    def _connected(self) -> Any:
        if self._consumer is None:
            network = Network()
            try:
                self._consumer = _kafka.KafkaConsumer(
                    **kafka_python_options(self._connection),
                    client_rack=self._connection.rack,
                    isolation_level=self._isolation,
                    auto_offset_reset="none",
                    enable_auto_commit=False,
                    allow_auto_create_topics=False,
                    fetch_max_wait_ms=FETCH_WAIT_MS,
                    fetch_max_bytes=FETCH_BYTES,
                    max_partition_fetch_bytes=PARTITION_BYTES,
                    bootstrap_timeout_ms=round(TIMEOUT * 1000),
                    reconnect_backoff_max_ms=1000,
                    metadata_max_age_ms=30_000,
                    metrics_enabled=False,
                    kafka_client=network.make,
                )
            except (_errors.KafkaError, OSError, ValueError) as error:
                network.close()
                cause = network.failure or error
                raise from_kafka_python("connecting", self._connection, cause) from error
        return self._consumer

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._positions.clear()
        self._out_of_range.clear()
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=1000)
