"""What the author of a connector tells the kit about theirs: a *harness*.

A harness speaks to the system behind the connector past the connector itself: it puts events
there, and says what is left. One is made for each test, on a place of its own (a directory, a
topic, a queue) in which nothing is yet.

Events are short texts without line breaks, each another one. How an event carries its text is the
harness's business: what `put` was given, `read` or `text` gives back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from connectors.abc import JSON, Connector, SourceConnector, TimeConnector
from connectors.push import PushConnector, PushRequest
from connectors.queues import Message, QueueConnector
from connectors.streams import Batch, StreamConnector

C = TypeVar("C", bound=Connector)
S = TypeVar("S", bound=SourceConnector)
Bad: TypeAlias = tuple[Mapping[str, JSON], str]
"""Changes to good settings that make them bad, and the path of the problem that is told."""


class Harness(ABC, Generic[C]):
    """What every kind of connector needs."""

    connector: C
    """The connector under test."""

    secrets: Mapping[str, str] = {}
    """Values of secrets that the settings name. The kit looks for them in what people see."""
    shared_threads: Sequence[str] = ()
    """Parts of the names of threads that outlive a source, because all sources of a process share
    them; empty for most."""
    lingers: float = 15.0
    """Seconds that a thread may still take to end once its source is closed. More only where a call
    to a service cannot be broken off."""

    @abstractmethod
    def settings(self) -> Mapping[str, JSON]:
        """Good settings, of the place that this harness puts events into. The same each time."""

    @abstractmethod
    def bad_settings(self) -> Sequence[Bad]:
        """What is refused beyond what the kit tries by itself: at least one for each key that has
        a rule of its own. None as a value takes the key away."""

    def close(self) -> None:
        """Remove what the test has made. Its sources are closed by then."""
        return


class SourceHarness(Harness[S]):
    """What connectors need whose sources are opened."""

    patience: float = 20.0
    """Seconds within which an event that was put is handed over, on a slow machine."""

    @abstractmethod
    def put(self, events: Sequence[str]) -> None:
        """Let these events happen, in order. They can be read when this returns."""

    def unreachable(self) -> Mapping[str, JSON] | None:
        """Settings of a source that is not there, or does not answer; None where there is no such
        thing."""
        return None


class StreamHarness(SourceHarness[StreamConnector]):
    """For :class:`connectors.streams.StreamConnector`."""

    @abstractmethod
    def read(self, batch: Batch) -> Sequence[str]:
        """The events that the run for a batch finds, in order."""


class LifeHarness(SourceHarness[StreamConnector]):
    """For stream connectors whose batches are long-lived consumers."""

    @abstractmethod
    def consume(self, batch: Batch, run_id: str, attempt: int, count: int) -> Sequence[str]:
        """Do what the job of a batch does: read so many events from where its values say, and
        commit that as its progress; returns them."""


class QueueHarness(SourceHarness[QueueConnector]):
    """For :class:`connectors.queues.QueueConnector`."""

    beyond_room: int = 0
    """How many messages more than asked for may come, because the source gives so many at once."""
    redelivers: bool = True
    """Whether a message that is given back comes again. Not where events only happen once, such as
    a new object in a bucket: the inbox knows them, and they need no acknowledgement."""

    @abstractmethod
    def text(self, message: Message) -> str:
        """The text of the event that a message is for."""

    def expire(self) -> None:
        """Let the source deliver again, at once, what it has delivered and nobody has acknowledged.
        Nothing to do where it always does."""
        return

    def left(self) -> int | None:
        """How many events nobody has acknowledged; None where nothing is acknowledged."""
        return None


class PushHarness(Harness[PushConnector]):
    """For :class:`connectors.push.PushConnector`."""

    knows_repeats: bool = True
    """Whether a request that comes twice brings the same event."""

    @abstractmethod
    def request(self, event: str) -> PushRequest:
        """A request that brings an event, and is what it says it is."""

    @abstractmethod
    def forged(self) -> Mapping[str, PushRequest]:
        """Requests that must be refused, by what is wrong with each: altered, signed by somebody
        else, old, not signed."""

    @abstractmethod
    def text(self, message: Message) -> str:
        """The text of the event that a message is for."""


class TimeHarness(Harness[TimeConnector]):
    """For :class:`connectors.abc.TimeConnector`."""

    def examples(self) -> Sequence[Mapping[str, JSON]]:
        """All settings whose schedules are looked at: schedules that end, begin late, are rare."""
        return [self.settings()]


AnyHarness: TypeAlias = Harness[Any]
