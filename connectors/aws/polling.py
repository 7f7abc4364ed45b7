"""Receives messages of a queue ahead of whoever asks for them, by as many threads as pay off.

One thread waits at a quiet queue. While calls come back full there are more, up to a limit; one
that finds nothing goes away. A call waits at the queue for up to 20 s, so these are threads of
their own that nobody waits for: what they bring after the end is given back.

Order within a group is SQS's doing: while messages of a group are in flight nobody gets more of it,
so what two threads bring is never of one group. What has lain here for half of its time in flight
is not handed over any more, the whole answer at once, because the queue may give it to others soon.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from connectors.aws.errors import Throttled
from connectors.aws.queue import AT_ONCE, Queue, QueueState, Received
from connectors.streams import SourceError, SourceUnavailable

LEAST_VISIBILITY = 30
"""Seconds for which messages are kept from others at least, whatever the queue's own setting."""
LONGEST_VISIBILITY = 12 * 3600
"""What SQS takes."""
AHEAD = 32 * 2**20
"""Characters of messages that lie ready, above which nothing more is received."""
_LOOK = 30.0  # seconds between two looks at the queue itself
_IDLE = 5.0  # seconds after which a thread that has no room goes away
_SLICE = 0.2  # seconds between two looks at the stop signal
_LEAVE = 2.0  # seconds that closing waits until messages are given back

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    """What one call brought, and until when it may be handed over (monotonic seconds)."""

    items: Sequence[T]
    receipts: Sequence[str]
    until: float
    size: int
    """Characters of the messages' bodies."""


class Pollers(Generic[T]):
    """Receives from one queue. `poll` is for one thread, everything else for any."""

    def __init__(
        self,
        queue: Queue,
        stop: threading.Event,
        *,
        most: int,
        wait: int,
        visibility: int | None,
        gathers: int = 0,
        take: Callable[[Sequence[Received]], Sequence[T]],
        check: Callable[[QueueState], None],
        name: str,
    ) -> None:
        """`most` threads, each of which waits `wait` seconds at the queue. `take` makes of an
        answer what is handed over; `check` may refuse the queue, by an exception. Both are called
        by those threads. `visibility` None: the queue's own; what is received is kept from others
        for `gathers` seconds more, until it is in the ledger and its time is extended. The queue is
        closed at the end."""
        self._queue = queue
        self._stop = stop
        self._most, self._wait, self._name = most, wait, name
        self._wanted_visibility, self._gathers = visibility, gathers
        self._take, self._check = take, check
        self._changed = threading.Condition()
        self._ended = False
        self._threads = 0
        self._target = 1
        self._room = 0
        self._busy = 0
        """How many calls are under way."""
        self._asked = 0
        """How many messages they may bring."""
        self._held: deque[_Answer[T]] = deque()
        self._trouble: Exception | None = None
        self._looking = threading.Lock()
        self._looked = -math.inf
        self._wants_look = False
        """Whether to look at the queue although there is no room: to tell how much waits there."""
        self.state: QueueState | None = None
        """The queue when it was looked at last."""
        self.dropped = 0
        """Messages that waited here too long; the queue delivers them again."""

    @property
    def visibility(self) -> int:
        """Seconds for which messages are kept from others."""
        if self._wanted_visibility is not None:
            return self._wanted_visibility
        own = LEAST_VISIBILITY if self.state is None else self.state.visibility
        return max(LEAST_VISIBILITY, own)

    def poll(self, room: int, wait: float) -> list[T]:
        """What has come, not many more than `room`; waits up to `wait` seconds for the first one.
        Raises what kept the threads from receiving, once there is nothing to hand over."""
        deadline = time.monotonic() + wait
        with self._changed:
            self._room = room
            self._wants_look = self._due()
            self._grow()
            self._changed.notify_all()
            while True:
                if found := self._hand_over(room):
                    self._room = room - len(found)
                    return found
                if self._trouble is not None:
                    trouble, self._trouble = self._trouble, None
                    self._room, self._wants_look = 0, False
                    raise trouble
                left = deadline - time.monotonic()
                if left <= 0 or self._ended or self._stop.is_set():
                    return []
                self._changed.wait(min(left, _SLICE))

    @property
    def threads(self) -> int:
        """How many there are now."""
        return self._threads

    def close(self) -> None:
        """End the threads, and give back what nobody has taken. May be called twice."""
        with self._changed:
            if self._ended:
                return
            self._ended = True
            self._changed.notify_all()
            receipts = [receipt for answer in self._held for receipt in answer.receipts]
            self._held.clear()
            self._threads += 1  # this one, so that the queue stays open
        if not receipts:
            self._leave(receipts)
            return
        # Nobody answers where a queue is away: others get the messages later then.
        leaving = threading.Thread(target=self._leave, args=(receipts,), daemon=True)
        leaving.start()
        leaving.join(_LEAVE)

    def _grow(self) -> None:
        calls = self._busy + max(-(-self._free() // AT_ONCE), int(self._wants_look))
        while self._threads < min(self._target, calls) and not self._over():
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._threads += 1

    def _hand_over(self, room: int) -> list[T]:
        found: list[T] = []
        now = time.monotonic()
        while self._held and len(found) < room:
            answer = self._held.popleft()
            if answer.until < now:
                self.dropped += len(answer.items)
            else:
                found += answer.items
        return found

    def _free(self) -> int:
        """How many messages may be asked for."""
        if sum(answer.size for answer in self._held) >= AHEAD:
            return 0
        return self._room - self._asked - sum(len(answer.items) for answer in self._held)

    def _over(self) -> bool:
        return self._ended or self._stop.is_set()

    def _work(self) -> None:
        attempt = ""
        while (asked := self._next()) is not None:
            attempt = attempt or uuid.uuid4().hex
            try:
                visibility = self._look()
                if asked:
                    hidden = min(visibility + self._gathers, LONGEST_VISIBILITY)
                    received = self._queue.receive(asked, self._wait, hidden, attempt)
                    self._took(asked, received, visibility)
            except Exception as error:  # noqa: BLE001 - `poll` raises it
                lost = isinstance(error, SourceUnavailable)
                self._failed(asked, error)
            else:
                lost = False
            with self._changed:
                self._busy -= 1
            if not lost:
                attempt = ""
        self._close_after_last()

    def _next(self) -> int | None:
        """How many messages to ask for, perhaps none and only to look; None: the thread is not
        needed any more."""
        patience = time.monotonic() + _IDLE
        with self._changed:
            while not self._over() and self._threads <= self._target:
                free = self._free()
                if (free > 0 or self._wants_look) and self._trouble is None:
                    self._wants_look = False
                    asked = max(0, min(AT_ONCE, free))
                    self._asked += asked
                    self._busy += 1
                    return asked
                left = patience - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            self._threads -= 1
            return None

    def _look(self) -> int:
        """Look at the queue now and then, and before anything else. Returns the visibility."""
        with self._looking:
            if self._due():
                state = self._queue.state()
                self._check(state)
                self.state, self._looked = state, time.monotonic()
        return self.visibility

    def _due(self) -> bool:
        return time.monotonic() >= self._looked + _LOOK

    def _took(self, asked: int, received: Sequence[Received], visibility: int) -> None:
        until = time.monotonic() + visibility / 2
        receipts = [message.receipt for message in received]
        with self._changed:
            over = self._over()
        items: Sequence[T] = () if over else self._take(received)
        with self._changed:
            over = self._over()
            self._asked -= asked
            if items and not over:
                size = sum(len(message.body) for message in received)
                self._held.append(_Answer(items, receipts, until, size))
            if len(received) == asked == AT_ONCE:
                self._target = min(self._most, self._threads + 1)
            elif not received:
                self._target = max(1, self._target - 1)
            self._changed.notify_all()
        if over:
            self._give_back(receipts)

    def _failed(self, asked: int, error: Exception) -> None:
        with self._changed:
            self._asked -= asked
            self._trouble = self._trouble or error
            self._target = 1
            if not isinstance(error, Throttled):
                self._looked = -math.inf  # it may be another one when it is there again
            self._changed.notify_all()

    def _leave(self, receipts: Sequence[str]) -> None:
        self._give_back(receipts)
        with self._changed:
            self._threads -= 1
        self._close_after_last()

    def _give_back(self, receipts: Sequence[str]) -> None:
        with suppress(SourceError):
            for at in range(0, len(receipts), AT_ONCE):
                self._queue.change([(receipt, 0) for receipt in receipts[at : at + AT_ONCE]])

    def _close_after_last(self) -> None:
        with self._changed:
            last = self._ended and self._threads == 0
        if last:
            self._queue.close()
