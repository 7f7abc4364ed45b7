"""What holds for everything that a source hands over: AssertionError where it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from connectors.abc import JSON, Connector
from connectors.payloads import INLINE_ALONE, Payloads
from connectors.queues import MAX_GROUP, MAX_ID, Delivery, Message
from connectors.streams import Batch, RunRef

_POSITION = re.compile(r"[A-Za-z0-9:._]+", re.ASCII)
_COMMON = frozenset({"event.*", "batch.count", "batch.uri"})


def is_json(value: object) -> None:
    """AssertionError for what is no JSON, or has text that is no UTF-8."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def run_of(batch: Batch) -> RunRef:
    """The run that a batch has become."""
    return RunRef(
        run_id="r0123456789abcdef01234567",
        partition=batch.partition,
        start=batch.start,
        end=batch.end,
        values=batch.values,
        inputs=batch.inputs,
    )


def check_position(position: str) -> None:
    """AssertionError for a text that is no position."""
    assert _POSITION.fullmatch(position), (
        f"{position!r} is no position: letters, digits and : . _ only"
    )


def check_values(connector: Connector, values: Mapping[str, JSON]) -> None:
    """Values are JSON, and below roots that a job may name."""
    is_json(values)
    roots = {path.partition(".")[0] for path in connector.value_paths | _COMMON}
    assert values.keys() <= roots, (
        f"no path of value_paths begins with {', '.join(sorted(values.keys() - roots))}"
    )


def check_message(message: Message) -> None:
    """AssertionError for what is no message as the contract says."""
    assert 0 < len(message.id) <= MAX_ID, f"the id {message.id[:60]!r} is empty or too long"
    assert message.id.isprintable(), f"{message.id!r} has characters that nobody can print"
    assert len(message.group) <= MAX_GROUP
    assert not message.group or message.group.isprintable()
    is_json(message.body)


def check_ids(taken: Collection[str], given: Sequence[Message]) -> None:
    """AssertionError if a source speaks of messages that it was not told of."""
    strange = set(taken) - {message.id for message in given}
    assert not strange, f"nobody spoke of {strange}"


def delivery_of(message: Message, at: int = 0) -> Delivery:
    """The message, as its source is told about it."""
    return Delivery(id=message.id, receipt=message.receipt, group=message.group, at=at)


def unusable(message: Message) -> Message:
    """The message with a receipt that acknowledges nothing."""
    return replace(message, receipt=f"no-receipt-{message.receipt[:20]}")


def check_payloads(payloads: Payloads) -> None:
    """What travels within a job comes back as it was, also a second time."""
    content = b'{"kit": 1}\n'
    inputs = payloads.pack("kit", content)
    assert payloads.content(inputs) == content
    assert 0 < payloads.inline <= payloads.limit


def one_object(first: Payloads, second: Payloads) -> None:
    """Where there is a storage, its connections are kept for as long as the source is open."""
    assert first is second or first.limit <= INLINE_ALONE, "payloads is made anew by each call"
