"""Reading records with confluent-kafka, which is librdkafka: fast, with threads of its own."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from connectors.kafka.cluster import TIMEOUT, TopicPartition
from connectors.kafka.connection import Connection, librdkafka_options
from connectors.kafka.faults import from_librdkafka
from connectors.kafka.reader import (
    FETCH_BYTES,
    FETCH_WAIT_MS,
    PARTITION_BYTES,
    QUEUE_BYTES,
    Chunk,
    Headers,
    Isolation,
    Reader,
)
from connectors.streams import SourceError, SourceRefused

try:
    import confluent_kafka
except ImportError as _missing:
    raise SourceRefused(
        "`client: confluent` needs the library confluent-kafka: install orch-bacalhau[kafka-fast]"
    ) from _missing

_Message: Any = confluent_kafka.Message
_Error: Any = confluent_kafka.KafkaError
# Methods as functions: with map() a column of 10,000 is made without a step of the interpreter.
_offset, _partition, _topic = _Message.offset, _Message.partition, _Message.topic
_value, _key, _headers, _timestamp = (
    _Message.value,
    _Message.key,
    _Message.headers,
    _Message.timestamp,
)
_error = _Message.error

_OUT_OF_RANGE = (_Error._AUTO_OFFSET_RESET, _Error.OFFSET_OUT_OF_RANGE, _Error._LOG_TRUNCATION)
_log = logging.getLogger(__name__)


def _place(message: Any) -> tuple[str, int]:
    return _topic(message), _partition(message)


def _failed(message: Any) -> bool:
    return _error(message) is not None


class ConfluentChunk(Chunk):
    """Of confluent-kafka's ``Message``."""

    __slots__ = ()

    def offsets(self) -> list[int]:
        if self.messages:
            span = range(_offset(self.messages[0]), _offset(self.messages[-1]) + 1)
            if len(span) == len(self.messages):
                return list(span)
        return list(map(_offset, self.messages))

    def timestamps(self) -> list[int]:
        if not self.messages:
            return []
        kinds, stamps = zip(*map(_timestamp, self.messages), strict=True)
        if all(kinds):
            return list(stamps)
        return [at if kind else -1 for kind, at in zip(kinds, stamps, strict=True)]

    def keys(self) -> list[bytes | None]:
        return list(map(_key, self.messages))

    def values(self) -> list[bytes | None]:
        return list(map(_value, self.messages))

    def headers(self) -> list[Headers | None]:
        return list(map(_headers, self.messages))


class ConfluentReader(Reader):
    """One consumer: librdkafka's main thread and one for each broker."""

    stride = 500  # more of its messages do not stay in a processor's cache: half as fast

    def __init__(self, connection: Connection, *, isolation: Isolation, group: str) -> None:
        self._connection = connection
        self._isolation = isolation
        self._group = group or connection.client_id
        self._consumer: Any = None
        self._positions: dict[TopicPartition, int] = {}
        self._out_of_range: dict[TopicPartition, int] = {}
        self._failure: SourceError | None = None

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        # A new assignment rather than a seek: what was read ahead is surely gone with the old one.
        self.drop(positions)
        self._connected().incremental_assign(
            [confluent_kafka.TopicPartition(p.topic, p.partition, o) for p, o in positions.items()]
        )
        self._positions |= positions

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        known = self._known(partitions)
        if known:
            # A pause would outlive the assignment.
            self._connected().resume(known)
            self._connected().incremental_unassign(known)
        for partition in partitions:
            self._positions.pop(partition, None)
            self._out_of_range.pop(partition, None)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        if known := self._known(partitions):
            self._connected().pause(known)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        if known := self._known(partitions):
            self._connected().resume(known)

    def _known(self, partitions: Collection[TopicPartition]) -> list[Any]:
        return [confluent_kafka.TopicPartition(*p) for p in partitions if p in self._positions]

    def read(self, max_records: int, timeout: float) -> Sequence[Chunk]:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        consumer = self._connected()
        # A call with a timeout waits until all are there, so only the first one is waited for.
        messages: list[Any] = consumer.consume(max_records, 0)
        if not messages:
            messages = consumer.consume(1, timeout)
            if messages and max_records > 1:
                messages += consumer.consume(max_records - 1, 0)
        if not messages:
            return ()
        if not any(map(_error, messages)):
            return self._chunks(messages)
        chunks: list[Chunk] = []
        for failed, run in itertools.groupby(messages, _failed):
            if failed:
                for message in run:
                    chunks += self._event(message)
            else:
                chunks += self._chunks(list(run))
        return chunks

    def _chunks(self, messages: list[Any]) -> list[Chunk]:
        """Runs of one partition. Two runs of the same one may follow each other."""
        chunks: list[Chunk] = []
        partitions: list[int] = list(map(_partition, messages))
        several = len({p.topic for p in self._positions}) > 1
        if not several and partitions.count(partitions[0]) == len(partitions):
            self._add(chunks, messages)
            return chunks
        for _, run in itertools.groupby(messages, _place if several else _partition):
            self._add(chunks, list(run))
        return chunks

    def _add(self, chunks: list[Chunk], messages: list[Any]) -> None:
        first = messages[0]
        partition = TopicPartition(_topic(first), _partition(first))
        start = self._positions.get(partition)
        if start is not None:
            end = _offset(messages[-1]) + 1
            self._positions[partition] = end
            chunks.append(ConfluentChunk(partition, messages, start, end))

    def _event(self, message: Any) -> list[Chunk]:
        """What stands among the messages without being one."""
        error = _error(message)
        partition = TopicPartition(_topic(message) or "", _partition(message))
        code = error.code()
        start = self._positions.get(partition)
        if code == _Error._PARTITION_EOF:
            # The end lies behind markers and aborted records, of which nothing else tells.
            end = _offset(message)
            if start is not None and end > start:
                self._positions[partition] = end
                return [ConfluentChunk(partition, [], start, end)]
        elif code in _OUT_OF_RANGE:
            if start is not None:
                self._out_of_range[partition] = start
        else:
            self._note(error)
        return []

    def _note(self, error: Any) -> None:
        """Keep an error for the next call: what this one has read must get out."""
        mapped = from_librdkafka("reading", self._connection, error)
        if isinstance(mapped, SourceRefused) or error.code() == _Error._BAD_MSG:
            self._failure = mapped
        elif error.code() == _Error._ALL_BROKERS_DOWN or error.fatal():
            # After a refusal all brokers are down, too: the refusal says more.
            self._failure = self._failure or mapped
        else:
            _log.info("kafka: %s (tried again by the client)", error.str())

    @property
    def out_of_range(self) -> Mapping[TopicPartition, int]:
        return self._out_of_range

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        return self._positions

    def _connected(self) -> Any:
        if self._consumer is None:
            self._consumer = confluent_kafka.Consumer(
                {
                    **librdkafka_options(self._connection),
                    "group.id": self._group,
                    "isolation.level": self._isolation,
                    "auto.offset.reset": "error",
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "enable.partition.eof": True,
                    "allow.auto.create.topics": False,
                    "check.crcs": True,
                    "fetch.wait.max.ms": FETCH_WAIT_MS,
                    "fetch.max.bytes": FETCH_BYTES,
                    "message.max.bytes": FETCH_BYTES,
                    "fetch.message.max.bytes": PARTITION_BYTES,
                    "queued.max.messages.kbytes": QUEUE_BYTES // 1024,
                    "queued.min.messages": 1_000_000,  # the bytes are the bound
                    # By default it does nothing for a second once its queue was full.
                    "fetch.queue.backoff.ms": 10,
                    "reconnect.backoff.max.ms": 1000,
                    "topic.metadata.refresh.interval.ms": 30_000,
                    "socket.connection.setup.timeout.ms": round(TIMEOUT * 1000),
                    "error_cb": self._note,
                    "log_level": 2,  # what concerns us comes through the callback
                },
                logger=_log,
            )
        return self._consumer

    def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._positions.clear()
        self._out_of_range.clear()
        self._failure = None
        if consumer is not None:
            consumer.close()
