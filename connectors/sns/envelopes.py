"""What SNS posts: an envelope of JSON, and the text in it that is signed.

The signed text joins names and values with newlines and nothing else. So every value but the first,
the message itself, must be a single line: otherwise one signature would fit two envelopes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from connectors import jsontext
from connectors.abc import JSON
from connectors.push import PushRefused
from connectors.times import HORIZON

Kind: TypeAlias = Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: Mapping[str, Kind] = {
    "Notification": "Notification",
    "SubscriptionConfirmation": "SubscriptionConfirmation",
    "UnsubscribeConfirmation": "UnsubscribeConfirmation",
}
_ID = re.compile(r"[A-Za-z0-9-]{1,100}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,2048}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_SUBJECT = 1000
_MAX_LINE = 4096


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """An envelope of the right form. Nothing in it is true before its signature is."""

    kind: Kind
    id: str
    topic: str
    message: str
    subject: str | None
    time: str
    at: int
    """The same, in microseconds since the epoch."""
    token: str
    """Of confirmations; "" in a notification."""
    subscribe_url: str
    """The same."""
    version: str
    """Of the signature."""
    signature: str
    """As it was sent, in Base64."""
    certificate_url: str
    attributes: Mapping[str, JSON]
    """Not signed."""

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        lines = ["Message", self.message, "MessageId", self.id]
        if self.kind == "Notification":
            if self.subject is not None:
                lines += ["Subject", self.subject]
            lines += ["Timestamp", self.time]
        else:
            lines += ["SubscribeURL", self.subscribe_url, "Timestamp", self.time]
            lines += ["Token", self.token]
        lines += ["TopicArn", self.topic, "Type", self.kind]
        return "".join(f"{line}\n" for line in lines).encode()


def parse(body: bytes, *, with_signature: bool = True) -> Envelope:
    """Read an envelope. Raises PushRefused (400)."""
    try:
        document = jsontext.parse(body)
    except jsontext.NotJson as error:
        raise PushRefused(400, f"the body is not taken: {error}") from error
    if not isinstance(document, Mapping):
        raise PushRefused(400, "the body is no notification")
    kind = _KINDS.get(_text(document, "Type"))
    if kind is None:
        raise PushRefused(400, "Type is not one of those that are known")
    time = _line(document, "Timestamp")
    confirms = kind != "Notification"
    subject = document.get("Subject")
    return Envelope(
        kind=kind,
        id=_like(document, "MessageId", _ID),
        topic=_line(document, "TopicArn"),
        message=_text(document, "Message"),
        subject=None if confirms or subject is None else _line(document, "Subject", _MAX_SUBJECT),
        time=time,
        at=_instant(time),
        token=_like(document, "Token", _TOKEN) if confirms else "",
        subscribe_url=_line(document, "SubscribeURL") if confirms else "",
        version=_line(document, "SignatureVersion") if with_signature else "",
        signature=_line(document, "Signature") if with_signature else "",
        certificate_url=_line(document, "SigningCertURL") if with_signature else "",
        attributes=_attributes(document),
    )


def _text(document: Mapping[str, JSON], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise PushRefused(400, f"{name} is no text")
    return value


def _line(document: Mapping[str, JSON], name: str, limit: int = _MAX_LINE) -> str:
    value = _text(document, name)
    # No control character, nor whatever else some reader takes for the end of a line.
    lines = value.splitlines()
    if len(value) > limit or lines not in ([], [value]) or _CONTROL.search(value):
        raise PushRefused(400, f"{name} is no single line")
    return value


def _like(document: Mapping[str, JSON], name: str, form: re.Pattern[str]) -> str:
    value = _text(document, name)
    if not form.fullmatch(value):
        raise PushRefused(400, f"{name} does not look as it should")
    return value


def _instant(time: str) -> int:
    try:
        if _TIME.fullmatch(time):
            instant = (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1)
            if 0 <= instant < HORIZON:
                return instant
    except ValueError:
        pass
    raise PushRefused(400, "Timestamp cannot be read")


def _attributes(document: Mapping[str, JSON]) -> Mapping[str, JSON]:
    """Values by name, as SNS writes them: all types are text, binary ones in Base64."""
    given = document.get("MessageAttributes")
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise PushRefused(400, "MessageAttributes is no object")
    found: dict[str, JSON] = {}
    for name, attribute in given.items():
        match attribute:
            case {"Value": str(value)}:
                found[name] = value
            case _:
                raise PushRefused(400, "MessageAttributes holds something without a value")
    return found
