"""Notifications that come by way of a queue."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from connectors.aws.queue import MAX_WAIT, Queue, Received
from connectors.aws.source import SqsReader
from connectors.payloads import Payloads
from connectors.push import PushRefused
from connectors.queues import Gathering, Inbox, Message, Polled
from connectors.sns import envelopes, events, topics
from connectors.sns.settings import SnsSettings
from connectors.sns.subscription import subscribe
from connectors.sns.topics import Topic
from connectors.streams import SourceContext

_log = logging.getLogger(__name__)
_SLICE = 0.1  # seconds between two looks at the stop signal


class SnsSource(SqsReader):
    """A queue that topics send to."""

    def __init__(self, settings: SnsSettings, context: SourceContext, inbox: Inbox) -> None:
        self._settings = settings
        self._stop = context.stop
        parsed = [topics.parse(arn, settings.endpoint) for arn in settings.topics]
        self._topics = {topic.arn: topic for topic in parsed if topic is not None}
        self._subscribed = not settings.subscribe
        self._answer: queue.SimpleQueue[Exception | None] | None = None
        self._closed = False
        self.strange = 0
        """Messages of the queue that were no notification of a topic on the list: they stay."""
        super().__init__(
            Queue(settings.address, region=settings.region, endpoint=settings.endpoint),
            context,
            inbox,
            Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep),
            name=settings.address.name,
            pollers=settings.max_pollers,
            wait=MAX_WAIT,
        )
        self._trigger = context.trigger

    @property
    def gathering(self) -> Gathering:
        return self._settings.gathering

    @property
    def remember_for(self) -> int:
        return self._settings.dedup_window

    def poll(self, room: int, wait: float) -> Polled:
        return super().poll(room, wait) if self._is_subscribed(wait) else Polled()

    def close(self) -> None:
        self._closed = True
        super().close()

    def _is_subscribed(self, wait: float) -> bool:
        """Subscribes where that is asked for, once. Nobody who is to stop waits for AWS: the
        thread that asks is left alone with its answer."""
        if self._subscribed:
            return True
        if self._answer is None:
            self._answer = queue.SimpleQueue()
            asking = threading.Thread(
                target=_subscribe,
                args=(self._settings, list(self._topics.values()), self._answer),
                name=f"sns-{self._trigger}",
                daemon=True,
            )
            asking.start()
        deadline = time.monotonic() + wait
        while not (self._closed or self._stop.is_set()):
            try:
                trouble = self._answer.get(timeout=_SLICE)
            except queue.Empty:
                if time.monotonic() >= deadline:
                    return False
                continue
            self._answer = None
            if trouble is not None:
                raise trouble
            self._subscribed = True
            return True
        return False

    def take(self, received: Sequence[Received]) -> Sequence[Message]:
        messages: list[Message] = []
        for one in received:
            try:
                raw = self._settings.raw
                message = events.of_raw(one, self._settings) if raw else self._wrapped(one)
            except PushRefused as refusal:
                # It was not made by SNS, so it is not ours to delete: the queue's redrive is.
                self.strange += 1
                said = "%s: message %s of the queue is left there: %s"
                _log.warning(said, self._trigger, one.id, refusal.reason)
                continue
            ordered = one.group if self._settings.address.fifo else ""
            messages.append(replace(message, receipt=one.receipt, group=ordered))
        return messages

    def _wrapped(self, received: Received) -> Message:
        envelope = envelopes.parse(received.body.encode(), with_signature=False)
        if envelope.kind != "Notification" or envelope.topic not in self._topics:
            raise PushRefused(403, "it is no notification of a topic on the list")
        return events.of_envelope(envelope, self._settings)


def _subscribe(
    settings: SnsSettings, wanted: Sequence[Topic], answer: queue.SimpleQueue[Exception | None]
) -> None:
    try:
        subscribe(settings, wanted)
    except Exception as error:  # noqa: BLE001 - raised again by whoever waits for the answer
        answer.put(error)
    else:
        answer.put(None)
