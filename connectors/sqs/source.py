"""A queue of SQS, while a trigger consumes it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence

from connectors.aws.polling import Pollers
from connectors.aws.queue import Queue, QueueState, Received
from connectors.aws.receipts import Receipts
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
from connectors.sqs.messages import Reading
from connectors.sqs.settings import HOUR, SqsSettings
from connectors.streams import SourceChanged, SourceContext, SourceError, SourceRefused
from connectors.times import SECOND

_log = logging.getLogger(__name__)
LONGEST = 11 * HOUR
"""How long a message is kept from others. SQS ends it an hour later, wherever its run is then."""
_SQS_ENDS = 12 * HOUR
_MARGIN = 60 * SECOND


class SqsSource(QueueSource):
    """Messages as they come; the cursor tells which queue they came from."""

    def __init__(
        self,
        settings: SqsSettings,
        context: SourceContext,
        inbox: Inbox,
        queue: Queue | None = None,
    ) -> None:
        """`queue` replaces the one that the settings name."""
        address = settings.address
        self.settings = settings
        self._queue = queue or Queue(address, region=settings.region, endpoint=settings.endpoint)
        self._reading = Reading(
            parsed=settings.body == "json", ordered=address.fifo, wanted=settings.filter
        )
        self._known = inbox.cursor
        self._receipts = Receipts(self._queue)
        self._payloads = Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep)
        self._pollers: Pollers[Message] = Pollers(
            self._queue,
            context.stop,
            most=settings.max_pollers,
            wait=settings.wait // SECOND,
            visibility=None if settings.visibility is None else settings.visibility // SECOND,
            gathers=-(-settings.batch_window // SECOND),
            take=self._take,
            check=self._check,
            name=f"sqs-{context.trigger}",
        )
        self.filtered = 0
        """Messages that the filter did not want."""

    @property
    def interval(self) -> float:
        return 0

    @property
    def gathering(self) -> Gathering:
        return self.settings.gathering

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def acknowledges_on_intake(self) -> bool:
        return self.settings.ack == "on_intake"

    @property
    def returns_dead(self) -> bool:
        return self.settings.dead == "return"

    @property
    def remember_for(self) -> int:
        return self.settings.dedup_window

    @property
    def extend_every(self) -> int:
        """A third of the time for which a message is kept from others, as far as that is known:
        two tries may fail."""
        return self._pollers.visibility * SECOND // 3

    def poll(self, room: int, wait: float) -> Polled:
        messages = self._pollers.poll(room, wait)
        state = self._pollers.state
        if state is None or state.identity == self._known:
            return Polled(messages=messages)
        self._known = state.identity
        return Polled(messages=messages, cursor=state.identity)

    def describe(self, messages: Sequence[Message]) -> Described:
        state = self._pollers.state
        region = self.settings.region or self.settings.address.region
        if region is None and state is not None:
            region = state.arn.split(":")[3] if state.arn.count(":") == 5 else None
        return Described(
            values={"sqs": {"queue": self.settings.address.name, "region": region or ""}}
        )

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._receipts.delete(deliveries)

    def give_back(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._receipts.give_back(deliveries)

    def extend(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        now = time.time_ns() // 1000
        visibility = self._pollers.visibility
        late = {delivery.id for delivery in deliveries if now - delivery.at >= LONGEST}
        wanted = [
            (delivery, min(visibility, (_SQS_ENDS - _MARGIN - (now - delivery.at)) // SECOND))
            for delivery in deliveries
            if delivery.id not in late
        ]
        return late | self._receipts.extend(wanted)

    def lag(self) -> int | None:
        state = self._pollers.state
        return None if state is None else state.waiting

    def close(self) -> None:
        self._pollers.close()
        self._receipts.close()
        self._payloads.close()

    def _check(self, state: QueueState) -> None:
        if self._known is not None and state.identity != self._known:
            raise SourceChanged(
                f"the queue {self.settings.address.name!r} is not the one that was registered:"
                f" that was {self._known}, this is {state.identity} (ARN, and when it was made)"
            )
        if self.returns_dead and not state.redrives:
            raise SourceRefused(
                f"the queue {self.settings.address.name!r} has no redrive policy, so messages of"
                " dead runs would come for ever: give it one, or write dead: keep"
            )

    def _take(self, received: Sequence[Received]) -> Sequence[Message]:
        messages: list[Message] = []
        unwanted: list[Delivery] = []
        for one in received:
            message = self._reading.message(one)
            if message is None:
                unwanted.append(Delivery(id=one.id, receipt=one.receipt))
            else:
                messages.append(message)
        if unwanted:
            self.filtered += len(unwanted)
            try:
                self._receipts.delete(unwanted)
            except SourceError as error:  # what is wanted goes on; these come again
                _log.warning("%d messages that are not wanted stay: %s", len(unwanted), error)
        return messages
