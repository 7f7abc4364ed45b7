"""Wake-ups between services. A signal says "look again"; what to do stands in the store."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from enum import StrEnum


class Topic(StrEnum):
    """What there is to look at again."""

    SCHEDULE = "schedule"  # a partition's wake time may be earlier than known
    READY = "ready"  # a run may start
    FUTURE = "future"  # a run may be due sooner than known
    FLIGHT = "flight"  # an attempt was accepted
    DEADLINE = "deadline"  # an attempt's time is over sooner than that of all before it
    ENDED = "ended"  # an attempt has ended and its run is not moved yet
    ADOPTED = "adopted"  # runs of another orchestrator are ours now
    TELL = "tell"  # a source is to be told what became of its events
    CANCEL = "cancel"  # somebody wants a run to end
    OUTBOX = "outbox"  # a callback waits
    CHANGED = "changed"  # a run changed its state (for those who watch)


class Signal:
    """A counter that one thread waits on; raising it twice before a look is raising it once."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def raise_(self) -> None:
        """Wake whoever waits, now or at the next wait."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def seen(self) -> int:
        """The count to pass to `wait`: take it before looking, so that nothing is missed."""
        with self._condition:
            return self._count

    def wait(self, seen: int, timeout: float | None) -> None:
        """Wait until the count differs from `seen`, at most `timeout` seconds.

        It may end earlier, as after centuries: a platform's longest wait is shorter than what a
        calendar can say.
        """
        if timeout is not None:
            timeout = min(timeout, threading.TIMEOUT_MAX / 2)
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, timeout)


class Signals:
    """One signal per listener; several listeners may share a topic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[Topic, list[Signal]] = {}

    def listen(self, signal: Signal, topics: Iterable[Topic]) -> None:
        """Let `signal` be raised by every one of `topics`."""
        with self._lock:
            for topic in topics:
                self._listeners.setdefault(topic, []).append(signal)

    def forget(self, signal: Signal) -> None:
        """Raise `signal` no more."""
        with self._lock:
            for listeners in self._listeners.values():
                if signal in listeners:
                    listeners.remove(signal)

    def raise_(self, topics: Iterable[Topic]) -> None:
        """Wake the listeners of `topics`."""
        with self._lock:
            found = {id(s): s for topic in topics for s in self._listeners.get(topic, ())}
        for signal in found.values():
            signal.raise_()

    def raise_all(self) -> None:
        """Wake everyone, as after a step of the clock. Nobody need read anew what is its own."""
        self.raise_([topic for topic in Topic if topic is not Topic.ADOPTED])
