"""What this connector asks of Kinesis, and the values that come back.

The one implementation is :class:`connectors.kinesis.service.Service`; tests script another one.
Every method may raise :class:`connectors.streams.SourceUnavailable` or
:class:`connectors.streams.SourceRefused`, and beyond those what its docstring names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from connectors.aws.errors import Throttled as Throttled
from connectors.kinesis.positions import Position

MAX_LIMIT = 10_000
"""Records that one answer may hold."""


class IteratorExpired(Exception):
    """An iterator was not used for five minutes. A fresh one goes on from the position."""


class ShardGone(Exception):
    """The stream has no shard of this name: it was closed, and all of it has expired."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A stream as it is now."""

    name: str
    arn: str
    endpoint: str
    """Where the service is asked."""
    created: int
    """Milliseconds since 1970."""
    retention: int
    """How long records are kept, milliseconds."""
    now: int
    """The service's clock when it answered, milliseconds since 1970, rounded down to a second."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard of the list; ``last`` is set when it is closed."""

    name: str
    parents: tuple[str, ...] = ()
    last: int | None = None
    """No record of the closed shard has a higher sequence number than this."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. Its members are in the order of the service's answer."""

    sequence: int
    arrived: int
    """About when it arrived, milliseconds since 1970. Not strictly growing within a shard."""
    key: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Page:
    """The answer to one read, which may be empty while there is more to come."""

    records: Sequence[Record]
    next: str | None
    """The iterator to go on with; None: the shard is closed and this was its end."""
    behind: int
    """Milliseconds to the tip of the shard; 0: caught up."""


class Client(ABC):
    """The calls that are made. May be used by several threads at once."""

    @abstractmethod
    def stream(self) -> Stream:
        """The stream itself."""

    @abstractmethod
    def shards(self, open_at: int | None = None) -> Sequence[Shard]:
        """All shards that hold records; with `open_at`, those that were open at that time
        (milliseconds since 1970). A service that cannot tell may return them all."""

    @abstractmethod
    def iterator(self, shard: str, position: Position) -> str:
        """An iterator that stands at the position. Where records have expired it stands at the
        oldest one, and nothing says so. Raises :class:`ShardGone`."""

    @abstractmethod
    def read(self, iterator: str, limit: int) -> Page:
        """At most `limit` records (up to 10,000) and 10 MB. Raises :class:`IteratorExpired`,
        :class:`ShardGone`, and :class:`Throttled`: AWS allows 5 reads and 2 MB a second."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections. May be called twice."""
