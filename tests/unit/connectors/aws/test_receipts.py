"""What a queue is told about messages, and what it answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors.aws.errors import Throttled
from connectors.aws.queue import Fault, QueueGone
from connectors.aws.receipts import Receipts
from connectors.queues import Delivery
from connectors.streams import SourceRefused, SourceUnavailable
from tests.support.sqs import ScriptedQueue

EXPIRED = Fault("InvalidParameterValue", "Value r1 for parameter ReceiptHandle is invalid. Expired")
TWELVE = Fault(
    "InvalidParameterValue",
    "Value 60 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the"
    " message is beyond the limit [43200 seconds].",
)


@pytest.fixture
def queue() -> ScriptedQueue:
    return ScriptedQueue()


@pytest.fixture
def receipts(queue: ScriptedQueue) -> Iterator[Receipts]:
    made = Receipts(queue)
    yield made
    made.close()
    made.close()


def _deliveries(count: int) -> list[Delivery]:
    return [Delivery(id=f"m{n}", receipt=f"r{n}") for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 10, 11, 237])
def test_all_are_told(queue: ScriptedQueue, receipts: Receipts, count: int) -> None:
    """In as many calls as it takes."""
    deliveries = _deliveries(count)
    ids = {delivery.id for delivery in deliveries}
    assert receipts.delete(deliveries) == ids
    assert receipts.give_back(deliveries) == ids
    assert receipts.extend([(delivery, 60) for delivery in deliveries]) == set()
    handles = sorted(delivery.receipt for delivery in deliveries)
    assert sorted(queue.deleted) == handles
    assert sorted(queue.changed) == sorted(
        [*((handle, 0) for handle in handles), *((handle, 60) for handle in handles)]
    )


@pytest.mark.parametrize(
    "fault",
    [
        EXPIRED,
        Fault("ReceiptHandleIsInvalid", ""),
        Fault("AWS.SimpleQueueService.MessageNotInflight", ""),
    ],
)
def test_a_delivery_that_is_over_needs_no_further_try(
    queue: ScriptedQueue, receipts: Receipts, fault: Fault
) -> None:
    """The message is gone, or comes again with another receipt."""
    queue.refusals = {"r1": fault}
    assert receipts.delete(_deliveries(3)) == {"m0", "m1", "m2"}
    assert receipts.give_back(_deliveries(3)) == {"m0", "m1", "m2"}
    assert receipts.over == 2
    assert receipts.extend([(one, 60) for one in _deliveries(3)]) == set()


def test_an_entry_that_failed_is_tried_again(queue: ScriptedQueue, receipts: Receipts) -> None:
    """It is left out of what needs no further try; its neighbours are done."""
    queue.refusals = {"r1": Fault("InternalError", "oh")}
    assert receipts.delete(_deliveries(3)) == {"m0", "m2"}


def test_the_twelve_hours_of_sqs(queue: ScriptedQueue, receipts: Receipts) -> None:
    """What it does not keep any longer is to be acknowledged."""
    queue.refusals = {"r1": TWELVE}
    assert receipts.extend([(one, 60) for one in _deliveries(3)]) == {"m1"}


@pytest.mark.parametrize(
    "fault", [SourceUnavailable("away"), SourceRefused("no right"), Throttled("slow")]
)
def test_trouble_with_the_queue_is_raised(
    queue: ScriptedQueue, receipts: Receipts, fault: Exception
) -> None:
    """Where nothing went well; otherwise what did counts, and the rest is tried again."""
    queue.faults = [fault]
    with pytest.raises(type(fault)):
        receipts.delete(_deliveries(3))
    queue.faults = [fault]
    assert len(receipts.delete(_deliveries(20))) == 10


def test_a_queue_that_is_gone_needs_to_be_told_nothing(
    queue: ScriptedQueue, receipts: Receipts
) -> None:
    """Its messages went with it. That it is gone is said by whoever polls."""
    queue.faults = [QueueGone("gone"), QueueGone("gone")]
    assert receipts.delete(_deliveries(2)) == {"m0", "m1"}
    assert receipts.extend([(one, 60) for one in _deliveries(2)]) == set()
