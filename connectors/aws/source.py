"""What sources on a queue of SQS have in common: receiving, acknowledging, waiting longer."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from connectors.aws.polling import Pollers
from connectors.aws.queue import Queue, QueueState, Received
from connectors.aws.receipts import Receipts
from connectors.payloads import Payloads
from connectors.queues import Delivery, Inbox, Message, Polled, QueueSource
from connectors.streams import SourceChanged, SourceContext
from connectors.times import MINUTE, SECOND

LONGEST = 11 * 60 * MINUTE
"""How long a message is kept from others, microseconds. SQS ends it an hour later, wherever its run
is then."""
_SQS_ENDS = LONGEST + 59 * MINUTE


class SqsReader(QueueSource):
    """A queue, while a trigger consumes it; the cursor tells which queue messages came from."""

    def __init__(
        self,
        queue: Queue,
        context: SourceContext,
        inbox: Inbox,
        payloads: Payloads,
        *,
        name: str,
        pollers: int,
        wait: int,
        visibility: int | None = None,
        gathers: int = 0,
    ) -> None:
        """`name` is the queue's; `wait`, `visibility` and `gathers` are seconds, as `Pollers`
        takes them."""
        self._name = name
        self._known = inbox.cursor
        self._payloads = payloads
        self.receipts = Receipts(queue)
        self.pollers: Pollers[Message] = Pollers(
            queue,
            context.stop,
            most=pollers,
            wait=wait,
            visibility=visibility,
            gathers=gathers,
            take=self.take,
            check=self.check,
            name=f"sqs-{context.trigger}",
        )

    def take(self, received: Sequence[Received]) -> Sequence[Message]:
        """The messages in what was received. Called by the threads that receive."""
        raise NotImplementedError

    def check(self, state: QueueState) -> None:
        """Raises SourceChanged for another queue under the name of the one that was registered."""
        if self._known is not None and state.identity != self._known:
            raise SourceChanged(
                f"the queue {self._name!r} is not the one that was registered: that was"
                f" {self._known}, this is {state.identity} (ARN, and when it was made)"
            )

    @property
    def interval(self) -> float:
        return 0

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def extend_every(self) -> int:
        """A third of the time for which a message is kept from others, as far as that is known:
        two tries may fail. Never so seldom that the eleventh hour is missed."""
        return min(self.pollers.visibility * SECOND // 3, 30 * MINUTE)

    def poll(self, room: int, wait: float) -> Polled:
        messages = self.pollers.poll(room, wait)
        state = self.pollers.state
        if state is None or state.identity == self._known:
            return Polled(messages=messages)
        self._known = state.identity
        return Polled(messages=messages, cursor=state.identity)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self.receipts.delete(deliveries)

    def give_back(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self.receipts.give_back(deliveries)

    def extend(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        now = time.time_ns() // 1000
        late = {delivery.id for delivery in deliveries if now - delivery.at >= LONGEST}
        wanted = [
            (delivery, min(self.pollers.visibility, (_SQS_ENDS - (now - delivery.at)) // SECOND))
            for delivery in deliveries
            if delivery.id not in late
        ]
        return late | self.receipts.extend(wanted)

    def lag(self) -> int | None:
        state = self.pollers.state
        return None if state is None else state.waiting

    def close(self) -> None:
        self.pollers.close()
        self.receipts.close()
        self._payloads.close()
