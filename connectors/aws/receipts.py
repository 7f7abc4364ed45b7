"""Tells a queue about messages: done with, not wanted now, still being worked on.

In tens, several calls side by side. What a queue says no to for good, because the delivery is over
and the message comes again or is gone, needs no further try.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import TypeVar

from connectors.aws.queue import AT_ONCE, Fault, Queue, QueueGone
from connectors.queues import Delivery
from connectors.streams import SourceError

_log = logging.getLogger(__name__)
THREADS = 4
"""Calls that are made at the same moment."""
_OVER = {
    *("ReceiptHandleIsInvalid", "InvalidParameterValue", "InvalidParameterValueException"),
    *("MessageNotInflight", "InvalidIdFormat", "NonExistentQueue", "QueueDoesNotExist"),
}
_LIMIT = "Total VisibilityTimeout"  # how SQS's words on twelve hours begin

_Entry = TypeVar("_Entry")


class Receipts:
    """The deliveries of one queue."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._pool: ThreadPoolExecutor | None = None
        self.over = 0
        """Deliveries about which there was nothing to be done any more."""

    def delete(self, deliveries: Sequence[Delivery]) -> set[str]:
        """Delete messages; returns the ids that need no further try."""
        receipts = [delivery.receipt for delivery in deliveries]
        faults = self._in_tens(self._queue.delete, receipts)
        return self._settled(deliveries, faults, "deleted")

    def give_back(self, deliveries: Sequence[Delivery]) -> set[str]:
        """Let the queue deliver messages at once; returns ids as `delete` does."""
        entries = [(delivery.receipt, 0) for delivery in deliveries]
        return self._settled(deliveries, self._in_tens(self._queue.change, entries), "given back")

    def extend(self, deliveries: Sequence[tuple[Delivery, int]]) -> set[str]:
        """Keep messages from others for so many seconds; returns the ids of those that the queue
        has kept for as long as it does."""
        entries = [(delivery.receipt, seconds) for delivery, seconds in deliveries]
        faults = self._in_tens(self._queue.change, entries)
        known = [delivery for delivery, _ in deliveries]
        self._settled(known, faults, "extended")
        return {
            delivery.id
            for delivery, fault in zip(known, faults, strict=True)
            if isinstance(fault, Fault) and fault.said.find(_LIMIT) >= 0
        }

    def close(self) -> None:
        """Let go of threads. May be called twice."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _settled(
        self, deliveries: Sequence[Delivery], faults: Sequence[Fault | SourceError | None], how: str
    ) -> set[str]:
        """Raises the queue's own trouble, unless some of it went well."""
        settled: set[str] = set()
        trouble: SourceError | None = None
        for delivery, fault in zip(deliveries, faults, strict=True):
            if isinstance(fault, SourceError) and not isinstance(fault, QueueGone):
                trouble = fault
            elif fault is None:
                settled.add(delivery.id)
            elif isinstance(fault, QueueGone) or fault.code.rpartition(".")[2] in _OVER:
                self.over += 1
                settled.add(delivery.id)
                said = fault.said if isinstance(fault, Fault) else fault
                _log.info("message %s cannot be %s any more: %s", delivery.id, how, said)
            else:
                _log.warning("message %s was not %s: %s", delivery.id, how, fault.said)
        if trouble is not None and not settled:
            raise trouble
        return settled

    def _in_tens(
        self, call: Callable[[Sequence[_Entry]], list[Fault | None]], entries: Sequence[_Entry]
    ) -> list[Fault | SourceError | None]:
        tens = [entries[at : at + AT_ONCE] for at in range(0, len(entries), AT_ONCE)]
        if len(tens) < 2:
            return [fault for ten in tens for fault in _tried(call, ten)]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sqs-receipts")
        return [fault for faults in self._pool.map(_tried, repeat(call), tens) for fault in faults]


def _tried(
    call: Callable[[Sequence[_Entry]], list[Fault | None]], ten: Sequence[_Entry]
) -> Sequence[Fault | SourceError | None]:
    try:
        return call(ten)
    except SourceError as error:
        return [error] * len(ten)
