"""From what a broker delivers to what a task gets."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from connectors import jsontext
from connectors.abc import JSON
from connectors.mqtt.filter import Filter
from connectors.mqtt.settings import IdPlace

_PLAIN = 200  # characters of an id that is kept as it is
_MAX_PROPERTIES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message as it was delivered."""

    packet: int
    """The id of its packet; 0 at QoS 0."""
    qos: int
    again: bool
    """Whether the broker says that it may have been delivered before (DUP)."""
    retained: bool
    topic: str
    content: bytes
    properties: Sequence[tuple[str, str]] = ()
    """User properties; a name may come several times."""
    headers: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    """What else MQTT 5 tells: content_type, response_topic, correlation (Base64)."""

    def digest(self) -> str:
        """Of all that makes one message differ from another."""
        parts = (self.topic, str(self.qos), repr(self.properties), repr(self.headers))
        head = "\0".join(parts).encode(errors="replace")
        return hashlib.blake2b(head + b"\0" + self.content, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a message says."""

    body: dict[str, JSON]
    """What a task gets."""
    id: str | None
    """The one that it carries, within its topic."""


class Reading:
    """How the messages of one trigger are read. Thread-safe."""

    def __init__(self, *, parsed: bool, place: IdPlace | None, wanted: Filter | None) -> None:
        """`parsed`: bodies that are JSON are handed over as what they say."""
        self._parsed, self._place, self._wanted = parsed, place, wanted
        in_body = place is not None and place.field is not None
        self._parses = parsed or in_body or (wanted is not None and wanted.reads_body)

    def read(self, received: Received) -> Content | None:
        """What a message says; None for one that the filter does not want."""
        levels = received.topic.split("/")
        properties = _properties(received.properties)
        text = _text(received.content)
        document = _document(text) if self._parses and text is not None else text
        if self._wanted is not None and not self._wanted.matches(levels, properties, document):
            return None
        body: dict[str, JSON] = {
            "topic": received.topic,
            "levels": levels,
            "qos": received.qos,
            "retained": received.retained,
            "properties": properties,
            **received.headers,
        }
        if text is None:
            body["body_base64"] = base64.b64encode(received.content).decode()
        else:
            body["body"] = document if self._parsed else text
        carried = self._carried(properties, document)
        if carried is not None:
            body["id"] = carried
        return Content(body=body, id=None if carried is None else _id(received.topic, carried))

    def _carried(self, properties: Mapping[str, JSON], document: JSON) -> str | None:
        if self._place is None:
            return None
        found: JSON = None
        if self._place.property_ is not None:
            found = properties.get(self._place.property_)
        elif self._place.field is not None:
            found = _at(document, self._place.field)
        if isinstance(found, bool) or not isinstance(found, str | int):
            return None
        return str(found) or None


def _id(topic: str, carried: str) -> str:
    """Two topics may count alike, so that an id is one of its topic."""
    plain = f"{topic} {carried}"
    if len(plain) <= _PLAIN and plain.isprintable() and " " not in topic:
        return plain
    return "sha256:" + hashlib.sha256(f"{topic}\0{carried}".encode()).hexdigest()


def _properties(pairs: Sequence[tuple[str, str]]) -> dict[str, JSON]:
    found: dict[str, JSON] = {}
    for name, value in pairs[:_MAX_PROPERTIES]:
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, str):
            found[name] = [before, value]
        else:
            found[name] = [*cast(list[JSON], before), value]
    return found


def _text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _document(text: str) -> JSON:
    try:
        return jsontext.parse(text)
    except jsontext.NotJson:
        return text


def _at(document: JSON, path: str) -> JSON:
    found = document
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found
