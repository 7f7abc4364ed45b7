"""A source that crashes on purpose: it works, until a call of which nobody hears the end.

Whoever runs it does what a machine does that went down: throws the source away and opens another
from what was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypeVar

from connectors.abc import JSON
from connectors.payloads import Payloads
from connectors.queues import Delivery, Described, Gathering, Message, Polled, QueueSource
from connectors.streams import (
    Batch,
    Discovery,
    LifeRef,
    Place,
    Progress,
    RunRef,
    StreamSource,
    Want,
)

T = TypeVar("T")
When: TypeAlias = Literal["before", "after"]


class Crash(Exception):
    """The process has died right here."""


@dataclass(kw_only=True)
class Fuse:
    """When to crash: before a call does anything, or after it has done all. Once."""

    call: str
    """The name of a method."""
    when: When
    nth: int = 1
    """At which of its calls, counted over all sources that share this."""
    blown: bool = False
    calls: dict[str, int] = field(default_factory=dict[str, int])
    """How often each method was called."""

    def around(self, call: str, act: Callable[[], T]) -> T:
        """Raises Crash if this is the call."""
        self.calls[call] = self.calls.get(call, 0) + 1
        due = not self.blown and call == self.call and self.calls[call] >= self.nth
        if due and self.when == "before":
            self._blow()
        result = act()
        if due:
            self._blow()
        return result

    def _blow(self) -> None:
        self.blown = True
        raise Crash(f"{self.when} {self.call}, call {self.calls[self.call]}")


class CrashingStream(StreamSource):
    """Wraps a source of a stream."""

    def __init__(self, source: StreamSource, fuse: Fuse) -> None:
        self._source = source
        self._fuse = fuse

    @property
    def interval(self) -> float:
        return self._source.interval

    @property
    def stale(self) -> bool:
        return self._source.stale

    @property
    def keep_for(self) -> int:
        return self._source.keep_for

    def discover(self, known: Mapping[str, Place]) -> Discovery:
        return self._fuse.around("discover", lambda: self._source.discover(known))

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        return self._fuse.around("poll", lambda: self._source.poll(wants, wait))

    def lag(self) -> Mapping[str, int]:
        return self._source.lag()

    def starts(self) -> Mapping[str, str]:
        return self._source.starts()

    def gone(self, partition: str, start: str) -> bool:
        return self._source.gone(partition, start)

    def progress(self, lives: Sequence[LifeRef]) -> Mapping[str, Progress]:
        return self._fuse.around("progress", lambda: self._source.progress(lives))

    def split(self, run: RunRef) -> Sequence[Batch]:
        return self._fuse.around("split", lambda: self._source.split(run))

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        return self._fuse.around("keep", lambda: self._source.keep(run))

    def forget(self, inputs: Sequence[Mapping[str, JSON]]) -> None:
        self._fuse.around("forget", lambda: self._source.forget(inputs))

    def commit(self, done: Mapping[str, str]) -> None:
        self._fuse.around("commit", lambda: self._source.commit(done))

    def close(self) -> None:
        self._source.close()


class CrashingQueue(QueueSource):
    """Wraps a source of messages."""

    def __init__(self, source: QueueSource, fuse: Fuse) -> None:
        self._source = source
        self._fuse = fuse

    @property
    def interval(self) -> float:
        return self._source.interval

    @property
    def gathering(self) -> Gathering:
        return self._source.gathering

    @property
    def payloads(self) -> Payloads:
        return self._source.payloads

    @property
    def acknowledges_on_intake(self) -> bool:
        return self._source.acknowledges_on_intake

    @property
    def returns_dead(self) -> bool:
        return self._source.returns_dead

    @property
    def remember_for(self) -> int:
        return self._source.remember_for

    @property
    def extend_every(self) -> int:
        return self._source.extend_every

    def poll(self, room: int, wait: float) -> Polled:
        return self._fuse.around("poll", lambda: self._source.poll(room, wait))

    def describe(self, messages: Sequence[Message]) -> Described:
        return self._source.describe(messages)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._fuse.around("acknowledge", lambda: self._source.acknowledge(deliveries))

    def give_back(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._fuse.around("give_back", lambda: self._source.give_back(deliveries))

    def extend(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._fuse.around("extend", lambda: self._source.extend(deliveries))

    def lag(self) -> int | None:
        return self._source.lag()

    def close(self) -> None:
        self._source.close()
