"""From what SQS delivers to what a task gets."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from connectors import jsontext
from connectors.abc import JSON
from connectors.aws.queue import Received
from connectors.queues import Message
from connectors.sqs.filter import Filter
from connectors.times import key


class Reading:
    """How the messages of one trigger are read. Thread-safe."""

    def __init__(self, *, parsed: bool, ordered: bool, wanted: Filter | None) -> None:
        """`parsed`: bodies that are JSON are handed over as what they say. `ordered`: the queue
        keeps an order within groups."""
        self._parsed, self._ordered, self._wanted = parsed, ordered, wanted
        self._parses = parsed or (wanted is not None and wanted.reads_body)

    def message(self, received: Received) -> Message | None:
        """The message; None for one that the filter does not want."""
        attributes = {_plain(name): _text(value) for name, value in received.attributes.items()}
        text = _plain(received.body)
        document = _document(text) if self._parses else text
        if self._wanted is not None and not self._wanted.matches(attributes, document):
            return None
        at = received.sent * 1000 or None
        body: dict[str, JSON] = {
            "id": received.id,
            "body": document if self._parsed else text,
            "attributes": attributes,
            "sent_at": None if at is None else key(at),
            "received": received.deliveries,
        }
        if received.group:
            body["group"] = received.group
        return Message(
            id=received.id,
            body=body,
            receipt=received.receipt,
            # A standard queue may have groups, too, but only to be fair to them.
            group=received.group if self._ordered else "",
            at=at,
        )


def _text(value: Mapping[str, Any]) -> str:
    """Numbers stay as they were written: they may have more digits than a float holds."""
    raw = value.get("BinaryValue")
    if isinstance(raw, bytes):
        return base64.b64encode(raw).decode()
    return _plain(str(value.get("StringValue", "")))


def _plain(text: str) -> str:
    """What can be written anywhere: SQS lets no other text in, but what speaks like it may."""
    if jsontext.text_fault(text) is None:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _document(body: str) -> JSON:
    try:
        return jsontext.parse(body)
    except jsontext.NotJson:
        return body
