"""The queue in which S3 tells of new objects.

One message may tell of several objects. It is deleted when all of them are in the ledger, or when
it tells of none that counts. What was received and then forgotten, because the orchestrator was
restarted, is delivered again and known by its ids.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from connectors.aws.polling import Pollers
from connectors.aws.queue import AT_ONCE, MAX_WAIT, Queue, QueueState, Received
from connectors.queues import Delivery, Message
from connectors.s3.events import read
from connectors.s3.objects import message
from connectors.s3.settings import S3Settings
from connectors.streams import SourceError
from connectors.times import SECOND

_log = logging.getLogger(__name__)
_VISIBILITY = 120  # seconds until what was not taken in is delivered again
_POLLERS = 4
"""Threads that receive at most, while calls come back full."""
_MAX_OPEN = 100_000


@dataclass(frozen=True, kw_only=True)
class _Open:
    """A message of which something is not in the ledger yet."""

    receipt: str
    ids: set[str] = field(default_factory=set[str])


class Notices:
    """Reads the queue. One thread calls `receive`, another one `acknowledge`."""

    def __init__(self, settings: S3Settings, events: Queue, stop: threading.Event) -> None:
        self._settings = settings
        self._queue = events
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._holders: dict[str, set[str]] = {}
        self._pollers: Pollers[Message] = Pollers(
            events,
            stop,
            most=_POLLERS,
            wait=MAX_WAIT,
            visibility=_VISIBILITY,
            gathers=-(-settings.window // SECOND) if settings.batch_size > 1 else 0,
            take=self._taken,
            check=_any,
            name="s3-notices",
        )
        self.faults = 0
        """Records, or whole messages, that were no events of the bucket, since it was opened."""

    @property
    def waiting(self) -> int | None:
        """About how many messages nobody has received; None: not known yet."""
        state = self._pollers.state
        return None if state is None else state.waiting

    def receive(self, room: int, wait: float) -> Sequence[Message]:
        """Events, not many more than `room`; waits up to so many seconds for the first one."""
        return self._pollers.poll(room, wait)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        """Events that are in the ledger: see `connectors.queues.QueueSource.acknowledge`."""
        whole: list[str] = []
        with self._lock:
            for delivery in deliveries:
                # Another message may tell of the same event, and is then done with it, too.
                for name in self._holders.pop(delivery.id, ()):
                    opened = self._open.get(name)
                    if opened is not None:
                        opened.ids.discard(delivery.id)
                        if not opened.ids:
                            whole.append(opened.receipt)
                            del self._open[name]
        # One that is not deleted after all comes again, and its events are known.
        self._delete(whole)
        return [delivery.id for delivery in deliveries]

    def close(self) -> None:
        """Let go of threads and connections. May be called twice."""
        self._pollers.close()

    def _taken(self, received: Sequence[Received]) -> Sequence[Message]:
        """The events that messages tell of. Called by several threads."""
        now = time.time_ns() // 1000
        messages: list[Message] = []
        useless: list[str] = []
        for one in received:
            told = read(one.body, self._settings.bucket, now)
            if told.faults:
                with self._lock:
                    self.faults += len(told.faults)
                said = "message %s of the queue holds %d that are dropped (%d in all): %s"
                _log.warning(said, one.id, len(told.faults), self.faults, told.faults[0])
            found = {
                found.id: message(found, self._settings, now, receipt=one.id)
                for found in told.objects
                if self._settings.wants(found.key) and not found.is_folder
            }
            messages += found.values()
            if found:
                self._remember(one, set(found))
            else:
                useless.append(one.receipt)
        try:
            self._delete(useless)
        except SourceError as error:
            _log.warning("messages that tell of nothing are still in the queue: %s", error)
        return messages

    def _remember(self, one: Received, ids: set[str]) -> None:
        with self._lock:
            self._open.pop(one.id, None)
            self._open[one.id] = _Open(receipt=one.receipt, ids=ids)
            for event in ids:
                self._holders.setdefault(event, set()).add(one.id)
            if len(self._open) > _MAX_OPEN:
                oldest = next(iter(self._open))
                for event in self._open.pop(oldest).ids:
                    self._holders.pop(event, None)

    def _delete(self, receipts: Sequence[str]) -> None:
        for at in range(0, len(receipts), AT_ONCE):
            for fault in self._queue.delete(receipts[at : at + AT_ONCE]):
                if fault is not None:
                    _log.info("a message was not deleted and comes again: %s", fault.said)


def _any(_: QueueState) -> None:
    """Any queue will do: which one it was does not matter to what it tells."""
