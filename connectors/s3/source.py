"""The new objects of a bucket: listed, told of by notifications, or both."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from threading import Event

from connectors.aws.queue import Queue
from connectors.payloads import Payloads
from connectors.queues import (
    Delivery,
    Described,
    Gathering,
    Inbox,
    Message,
    Polled,
    QueueSource,
)
from connectors.s3.bucket import Bucket
from connectors.s3.cursor import parse
from connectors.s3.listing import Listing
from connectors.s3.notices import Notices
from connectors.s3.objects import REMEMBER, message, shared, sources, values
from connectors.s3.settings import S3Settings
from connectors.streams import SourceContext, SourceError
from connectors.times import SECOND

_LISTED = 96 * 1024
"""Bytes of a run's list whose objects are its inputs, too: both are part of the job."""
_AGAIN = 60.0  # seconds after a listing that failed, while notifications come in
_SLICE = 0.5  # seconds after which a wait looks whether it is to end


class S3Source(QueueSource):
    """Objects of one bucket."""

    def __init__(self, settings: S3Settings, context: SourceContext, inbox: Inbox) -> None:
        self._settings = settings
        self._context = context
        self._inbox = inbox
        self._bucket = Bucket(settings)
        self._listing = Listing(settings, self._bucket, inbox.cursor)
        self._notices = _notices(settings, context)
        self._payloads = Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep)
        self._waiting: deque[Message] = deque()
        self._cursor: str | None = None
        self._due: float | None = time.monotonic() if settings.pause is not None else None
        self._closed = Event()

    @property
    def interval(self) -> float:
        """Until the next listing; 0 while one is under way or notifications are waited for."""
        if self._notices is not None or self._waiting or self._due is None:
            return 0
        return max(0.0, self._due - time.monotonic())

    def poll(self, room: int, wait: float) -> Polled:
        if room < 1:
            self._closed.wait(min(wait, _SLICE))
            return Polled()
        deadline = time.monotonic() + wait
        while not self._waiting and not self._ends():
            self._look(room, deadline)
            if time.monotonic() >= deadline:
                break
        if self._closed.is_set():
            # A call that began in between has opened it once more.
            self._bucket.close()
        return self._handed_over(room)

    @property
    def gathering(self) -> Gathering:
        size = self._settings.batch_size
        return Gathering(
            size=size,
            bytes=_LISTED if self._settings.input == "source" else 0,
            weight=self._settings.batch_bytes or 0,
            window=self._settings.window if size > 1 else 0,
        )

    def describe(self, messages: Sequence[Message]) -> Described:
        settings = self._settings
        about = dict(shared(settings))
        if settings.batch_size == 1 and messages:
            about.update(values(messages[0].body, settings))
        bodies = [one.body for one in messages] if settings.input == "source" else []
        return Described(values={"object": about}, inputs=sources(bodies, settings))

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    def forget_before(self, cursor: str | None) -> int | None:
        if self._settings.pause is None:
            return None
        try:
            mark = None if cursor is None else parse(cursor).mark
        except ValueError:
            return 0  # listing says so
        return 0 if mark is None else mark + REMEMBER

    @property
    def acknowledges_on_intake(self) -> bool:
        return True

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        if self._notices is None:
            return super().acknowledge(deliveries)
        return self._notices.acknowledge(deliveries)

    def lag(self) -> int | None:
        return None if self._notices is None else self._notices.waiting

    def close(self) -> None:
        self._closed.set()
        self._bucket.close()
        if self._notices is not None:
            self._notices.close()
        self._payloads.close()

    def _handed_over(self, room: int) -> Polled:
        """As much as there is room for. What was looked at counts when nothing of it is left."""
        count = min(len(self._waiting), room)
        messages = _once(self._waiting.popleft() for _ in range(count))
        if self._waiting:
            return Polled(messages=messages)
        cursor, self._cursor = self._cursor, None
        return Polled(messages=messages, cursor=cursor)

    def _look(self, room: int, deadline: float) -> None:
        """One page and one answer of the queue, or a wait for what comes first."""
        # A pass may take hours, and the queue be unreadable: neither keeps the other back.
        now = time.monotonic()
        if self._due is not None and now >= self._due:
            self._list()
            pause = 0.0
        else:
            until = deadline if self._due is None else min(deadline, self._due)
            pause = min(max(0.0, until - now), _SLICE)
        if self._notices is not None:
            self._waiting.extend(self._notices.receive(room, pause))
        elif pause:
            self._closed.wait(pause)

    def _list(self) -> None:
        try:
            step = self._listing.look()
        except SourceError:
            if self._notices is not None:
                self._due = time.monotonic() + _AGAIN
            raise
        now = time.time_ns() // 1000
        known = self._inbox.known([found.id for found in step.found]) if step.found else set[str]()
        self._waiting.extend(
            message(found, self._settings, now) for found in step.found if found.id not in known
        )
        self._listing.take(step)
        self._cursor = str(step.cursor)
        if step.last:
            self._due = time.monotonic() + (self._settings.pause or 0) / SECOND

    def _ends(self) -> bool:
        return self._closed.is_set() or self._context.stop.is_set()


def _once(messages: Iterable[Message]) -> Sequence[Message]:
    """Of each event one: that which there is something to acknowledge for."""
    found: dict[str, Message] = {}
    for one in messages:
        if one.receipt or one.id not in found:
            found[one.id] = one
    return list(found.values())


def _notices(settings: S3Settings, context: SourceContext) -> Notices | None:
    """The queue that the settings name, if they name one."""
    given = settings.notifications
    if given is None:
        return None
    # The address tells its own region; a queue that is given by its name is beside the bucket.
    region = given.region or (None if given.address.region else settings.region)
    queue = Queue(given.address, region=region, endpoint=given.endpoint)
    return Notices(settings, queue, context.stop)
