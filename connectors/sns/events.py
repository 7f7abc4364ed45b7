"""What a task gets of a notification, whichever way it came."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from connectors import jsontext, times
from connectors.abc import JSON
from connectors.aws.queue import Received
from connectors.queues import Message
from connectors.sns.envelopes import Envelope
from connectors.sns.settings import SnsSettings


def of_envelope(envelope: Envelope, settings: SnsSettings) -> Message:
    """The event of a notification in SNS's envelope. SNS's own id is the same in every delivery,
    also where it sends a notification to a queue twice."""
    return _message(
        settings,
        name=envelope.id,
        topic=envelope.topic,
        subject=envelope.subject or "",
        text=envelope.message,
        at=envelope.at,
        attributes=envelope.attributes,
    )


def of_raw(received: Received, settings: SnsSettings) -> Message:
    """The event of a message of a queue that is all that was published."""
    return _message(
        settings,
        name=received.id,
        topic=settings.topics[0],
        subject="",
        text=received.body,
        at=received.sent * 1000,
        attributes={name: _text(value) for name, value in received.attributes.items()},
    )


def _message(
    settings: SnsSettings,
    *,
    name: str,
    topic: str,
    subject: str,
    text: str,
    at: int,
    attributes: Mapping[str, JSON],
) -> Message:
    body: JSON = text
    if settings.body == "json":
        try:
            body = jsontext.parse(text)
        except jsontext.NotJson:
            body = text
    event: dict[str, JSON] = {
        "id": name,
        "topic": topic,
        "subject": subject,
        "body": body,
        "sent_at": times.key(at),
    }
    if settings.attributes:
        event["attributes"] = attributes
    return Message(id=name, body=event, at=at)


def _text(value: Mapping[str, Any]) -> str:
    raw = value.get("BinaryValue")
    if isinstance(raw, bytes):
        return base64.b64encode(raw).decode()
    return str(value.get("StringValue", ""))
