"""A queue of SQS, while a trigger consumes it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from connectors.aws.queue import Queue, QueueState, Received
from connectors.aws.source import SqsReader
from connectors.payloads import Payloads
from connectors.queues import Delivery, Described, Gathering, Inbox, Message
from connectors.sqs.messages import Reading
from connectors.sqs.settings import SqsSettings
from connectors.streams import SourceContext, SourceError, SourceRefused
from connectors.times import SECOND

_log = logging.getLogger(__name__)


class SqsSource(SqsReader):
    """Messages as they come."""

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
        self._reading = Reading(
            parsed=settings.body == "json", ordered=address.fifo, wanted=settings.filter
        )
        self.filtered = 0
        """Messages that the filter did not want."""
        super().__init__(
            queue or Queue(address, region=settings.region, endpoint=settings.endpoint),
            context,
            inbox,
            Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep),
            name=address.name,
            pollers=settings.max_pollers,
            wait=settings.wait // SECOND,
            visibility=None if settings.visibility is None else settings.visibility // SECOND,
            gathers=-(-settings.batch_window // SECOND),
        )

    @property
    def gathering(self) -> Gathering:
        return self.settings.gathering

    @property
    def acknowledges_on_intake(self) -> bool:
        return self.settings.ack == "on_intake"

    @property
    def returns_dead(self) -> bool:
        return self.settings.dead == "return"

    @property
    def remember_for(self) -> int:
        return self.settings.dedup_window

    def describe(self, messages: Sequence[Message]) -> Described:
        state = self.pollers.state
        region = self.settings.region or self.settings.address.region
        if region is None and state is not None:
            region = state.arn.split(":")[3] if state.arn.count(":") == 5 else None
        return Described(
            values={"sqs": {"queue": self.settings.address.name, "region": region or ""}}
        )

    def check(self, state: QueueState) -> None:
        super().check(state)
        if self.returns_dead and not state.redrives:
            raise SourceRefused(
                f"the queue {self.settings.address.name!r} has no redrive policy, so messages of"
                " dead runs would come for ever: give it one, or write dead: keep"
            )

    def take(self, received: Sequence[Received]) -> Sequence[Message]:
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
                self.receipts.delete(unwanted)
            except SourceError as error:  # what is wanted goes on; these come again
                _log.warning("%d messages that are not wanted stay: %s", len(unwanted), error)
        return messages
