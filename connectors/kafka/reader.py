"""Reading the records of partitions from given offsets on: the seam to both Kafka clients.

Partitions are assigned by hand, no group is joined, no offset is stored or reset: where reading
goes on is the caller's business. Records come as :class:`Chunk`, columns of one partition; a chunk
also covers the offsets that hold nothing to see (compacted records, aborted transactions, markers
of transactions), so that the chunks of a partition follow each other without a gap.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Literal, NamedTuple, Self, TypeAlias

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.connection import Connection, Flavour

Isolation: TypeAlias = Literal["read_committed", "read_uncommitted"]
Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

FETCH_BYTES = 8 * 2**20
"""What a broker may put into one answer. One record larger than that still comes, alone."""
PARTITION_BYTES = 2**20
"""What one partition may put into one answer."""
FETCH_WAIT_MS = 100
"""How long a broker may wait for the first record. Meanwhile it is asked for nothing else: a
partition that joins those that are read waits so long."""
QUEUE_BYTES = 4 * 2**20
"""What a client may read ahead, beyond one answer of each broker."""


class Record(NamedTuple):
    """A record in full."""

    offset: int
    timestamp: int
    """Milliseconds since the epoch; -1: the record has none."""
    key: bytes | None
    value: bytes | None
    headers: Headers


class Chunk(ABC):
    """Records of one partition in order, and the offsets that they cover: ``[start, next)``.

    Columns are made when asked for and not kept. A chunk may hold no record at all.
    """

    __slots__ = ("messages", "next", "partition", "start")

    def __init__(
        self, partition: TopicPartition, messages: Sequence[Any], start: int, next: int
    ) -> None:
        self.partition = partition
        self.messages = messages
        """As the client made them."""
        self.start = start
        self.next = next
        """Where the chunk after this one starts; past the last record, and past gaps behind it."""

    def __len__(self) -> int:
        """How many records."""
        return len(self.messages)

    @abstractmethod
    def offsets(self) -> list[int]:
        """The offset of each record."""

    @abstractmethod
    def timestamps(self) -> list[int]:
        """Milliseconds since the epoch of each record; -1 where it has none."""

    @abstractmethod
    def keys(self) -> list[bytes | None]:
        """The key of each record."""

    @abstractmethod
    def values(self) -> list[bytes | None]:
        """The value of each record; None is a tombstone."""

    @abstractmethod
    def headers(self) -> list[Headers | None]:
        """The headers of each record; None or empty where there are none."""

    def records(self) -> Iterator[Record]:
        """The records in full, one after the other."""
        columns = zip(
            self.offsets(),
            self.timestamps(),
            self.keys(),
            self.values(),
            self.headers(),
            strict=True,
        )
        for offset, timestamp, key, value, headers in columns:
            yield Record(offset, timestamp, key, value, headers or ())

    def split(self, count: int) -> tuple[Self, Self]:
        """The first ``count`` records, ending right behind the last of them, and the rest.

        ``0 < count < len(self)``.
        """
        make = type(self)
        last = self.messages[count - 1 : count]
        middle = make(self.partition, last, self.start, self.next).offsets()[0] + 1
        return (
            make(self.partition, self.messages[:count], self.start, middle),
            make(self.partition, self.messages[count:], middle, self.next),
        )

    def first(self, count: int, next: int) -> Self:
        """The first ``count`` records, covering the offsets up to ``next``."""
        return type(self)(self.partition, self.messages[:count], self.start, next)

    def only(self, wanted: Iterable[bool]) -> Self:
        """The records that are wanted, covering the same offsets."""
        chosen = list(compress(self.messages, wanted))
        return type(self)(self.partition, chosen, self.start, self.next)


class Reader(ABC):
    """Reads assigned partitions. Used by one thread at a time; connects on first use.

    All methods raise :class:`connectors.streams.SourceUnavailable` and
    :class:`connectors.streams.SourceRefused`. Nothing is lost by that: what was read before is
    given out by the call after it. A broker that is away need not be an error here: there are just
    no records until it is back.
    """

    stride = 10_000
    """How many records one `read` hands out at best, where there are more."""

    @abstractmethod
    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets on, beside those that are read already.

        A partition that is read already goes on from there instead. What was paused is no longer.
        """

    @abstractmethod
    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Read them no longer. Those that were not read are no error."""

    @abstractmethod
    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Hand out nothing of these until `resume`. What was read ahead may be read again then."""

    @abstractmethod
    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Go on with these where they stopped."""

    @abstractmethod
    def read(self, max_records: int, timeout: float) -> Sequence[Chunk]:
        """At most so many records, waiting up to ``timeout`` seconds for the first one.

        The chunks of a partition begin where its last one ended. May return early with nothing.
        """

    @property
    @abstractmethod
    def out_of_range(self) -> Mapping[TopicPartition, int]:
        """Partitions that stand still because the log does not hold the offset they are at, which
        is the value: retention removed it, or the log was truncated. Until they are assigned again
        or dropped."""

    @property
    @abstractmethod
    def positions(self) -> Mapping[TopicPartition, int]:
        """The next offset of each assigned partition: where its next chunk will start. No I/O."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections and threads. May be called twice."""


def open_reader(
    connection: Connection,
    flavour: Flavour = "kafka-python",
    *,
    isolation: Isolation = "read_committed",
    group: str = "",
) -> Reader:
    """A reader of its own, never shared. No I/O.

    ``group`` names the reader where a broker insists on a name; it is never joined. Raises
    SourceRefused when the library of the flavour is not installed.
    """
    # Heavy libraries: a daemon without such a trigger never loads them.
    if flavour == "confluent":
        from connectors.kafka.reader_confluent import ConfluentReader

        return ConfluentReader(connection, isolation=isolation, group=group)
    from connectors.kafka.reader_python import PythonReader

    return PythonReader(connection, isolation=isolation)
