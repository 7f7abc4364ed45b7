"""Notifications that come by way of a queue."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from connectors.aws.polling import Pollers
from connectors.aws.queue import MAX_WAIT, Queue, QueueState, Received
from connectors.aws.receipts import Receipts
from connectors.payloads import Payloads
from connectors.push import PushRefused
from connectors.queues import Delivery, Gathering, Inbox, Message, Polled, QueueSource
from connectors.sns import envelopes, events, topics
from connectors.sns.settings import SnsSettings
from connectors.sns.subscription import subscribe
from connectors.sns.topics import Topic
from connectors.streams import SourceChanged, SourceContext
from connectors.times import MINUTE, SECOND

_log = logging.getLogger(__name__)
_LONGEST = 11 * 60 * MINUTE
"""How long a message is kept from others. SQS ends it an hour later, wherever its run is then."""
_SLICE = 0.1  # seconds between two looks at the stop signal
_SQS_ENDS = _LONGEST + 59 * MINUTE


class SnsSource(QueueSource):
    """A queue that topics send to."""

    def __init__(self, settings: SnsSettings, context: SourceContext, inbox: Inbox) -> None:
        self._settings = settings
        self._stop = context.stop
        self._name = f"sns-{context.trigger}"
        parsed = [topics.parse(arn, settings.endpoint) for arn in settings.topics]
        self._topics = {topic.arn: topic for topic in parsed if topic is not None}
        self._known = inbox.cursor
        self._subscribed = not settings.subscribe
        self._answer: queue.SimpleQueue[Exception | None] | None = None
        self._closed = False
        self._payloads = Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep)
        read = Queue(settings.address, region=settings.region, endpoint=settings.endpoint)
        self._receipts = Receipts(read)
        self._pollers: Pollers[Message] = Pollers(
            read,
            context.stop,
            most=settings.max_pollers,
            wait=MAX_WAIT,
            visibility=None,
            take=self._take,
            check=self._check,
            name=self._name,
        )
        self.strange = 0
        """Messages of the queue that were no notification of a topic on the list: they stay."""

    @property
    def interval(self) -> float:
        return 0

    @property
    def gathering(self) -> Gathering:
        return self._settings.gathering

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def remember_for(self) -> int:
        return self._settings.dedup_window

    @property
    def extend_every(self) -> int:
        return min(self._pollers.visibility * SECOND // 3, 30 * MINUTE)

    def poll(self, room: int, wait: float) -> Polled:
        if not self._is_subscribed(wait):
            return Polled()
        messages = self._pollers.poll(room, wait)
        state = self._pollers.state
        if state is None or state.identity == self._known:
            return Polled(messages=messages)
        self._known = state.identity
        return Polled(messages=messages, cursor=state.identity)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._receipts.delete(deliveries)

    def give_back(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._receipts.give_back(deliveries)

    def extend(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        now = time.time_ns() // 1000
        late = {delivery.id for delivery in deliveries if now - delivery.at >= _LONGEST}
        wanted = [
            (delivery, min(self._pollers.visibility, (_SQS_ENDS - (now - delivery.at)) // SECOND))
            for delivery in deliveries
            if delivery.id not in late
        ]
        return late | self._receipts.extend(wanted)

    def lag(self) -> int | None:
        state = self._pollers.state
        return None if state is None else state.waiting

    def close(self) -> None:
        self._closed = True
        self._pollers.close()
        self._receipts.close()
        self._payloads.close()

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
                name=self._name,
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

    def _check(self, state: QueueState) -> None:
        if self._known is not None and state.identity != self._known:
            raise SourceChanged(
                f"the queue {self._settings.address.name!r} is not the one that was registered:"
                f" that was {self._known}, this is {state.identity} (ARN, and when it was made)"
            )

    def _take(self, received: Sequence[Received]) -> Sequence[Message]:
        messages: list[Message] = []
        for one in received:
            try:
                raw = self._settings.raw
                message = events.of_raw(one, self._settings) if raw else self._wrapped(one)
            except PushRefused as refusal:
                # It was not made by SNS, so it is not ours to delete: the queue's redrive is.
                self.strange += 1
                said = "%s: message %s of the queue is left there: %s"
                _log.warning(said, self._name, one.id, refusal.reason)
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
