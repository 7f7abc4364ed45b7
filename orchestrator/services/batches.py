"""Batches: what the inbox gets of messages that one run is for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from connectors.payloads import Payloads, object_name
from connectors.queues import MAX_GROUP, MAX_ID, Described, Message
from orchestrator.services.gathering import Line, to_line
from orchestrator.store.inbox import Event, EventBatch, event_key


def batch_of(
    describe: Callable[[Sequence[Message]], Described],
    payloads: Payloads,
    lines: Sequence[Line],
    now: int,
) -> EventBatch:
    """What the run for some messages gets. Writes an object where they are large."""
    messages = [line.message for line in lines]
    described = describe(messages)
    name = object_name(event_key([(message.id, 0) for message in messages]), now)
    inputs = payloads.pack(name, b"".join(line.text for line in lines))
    values = {**described.values, "batch": {"count": len(messages)}}
    if len(messages) == 1:
        values = {"event": messages[0].body, **values}
    return EventBatch(
        events=[event_of(message) for message in messages],
        group=messages[0].group,
        values=values,
        inputs=[*inputs, *described.inputs],
        at=min(now if message.at is None else message.at for message in messages),
    )


def checked(message: Message) -> Message:
    """The message itself. Raises ValueError for an id that cannot be one."""
    if not 0 < len(message.id) <= MAX_ID or not message.id.isprintable():
        shown = message.id[:60].encode("unicode_escape").decode()
        raise ValueError(f"the connector gave a message the id {shown!r}")
    if len(message.group) > MAX_GROUP or not message.group.isprintable():
        shown = message.group[:60].encode("unicode_escape").decode()
        raise ValueError(f"the connector gave a message the group {shown!r}")
    return message


def lines_of(messages: Collection[Message]) -> list[Line]:
    """Messages with their lines."""
    return [to_line(message) for message in messages]


def event_of(message: Message) -> Event:
    """A message as the inbox knows it."""
    return Event(id=message.id, receipt=message.receipt, expires=message.expires or 0)
