"""Makes an event of each request that is what it says it is."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import cast

from connectors import times
from connectors.abc import JSON
from connectors.payloads import Payloads
from connectors.push import PushRefused, PushRequest, Receiver, Taken
from connectors.queues import Message
from connectors.streams import SourceContext
from connectors.webhook import content, signatures
from connectors.webhook.settings import KeyPlace, WebhookSettings

_OFTEN_SENT = "Idempotency-Key"
_KEYS = {
    "github": KeyPlace(header="X-GitHub-Delivery"),
    "stripe": KeyPlace(field="id"),
}
_BODY = ("body", "body_base64")
_MAX_KEY = 255
_MAX_HEADER = 4096


class WebhookReceiver(Receiver):
    """Takes the requests of one trigger."""

    def __init__(self, settings: WebhookSettings, context: SourceContext) -> None:
        self._settings = settings
        self._secrets = context.secrets
        self._payloads = Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep)
        self.max_body = settings.body_bytes

    def receive(self, request: PushRequest) -> Taken:
        if len(request.body) > self.max_body:
            raise PushRefused(413, f"the body has more than {self.max_body} bytes")
        place = self._settings.idempotency or _KEYS.get(self._settings.signature)
        key: str | None = None
        if isinstance(place, KeyPlace) and place.header is not None:
            key = _key(request.headers.get(place.header.lower()), place.header)
        # Nothing of the body is read before it is known who wrote it.
        signatures.verify(self._settings, self._secrets, request, key)
        kind = request.headers.get("content-type")
        event = content.read(kind, request.body)
        if key is None:
            key = _key_of(place, request, event)
        found: dict[str, JSON] = {
            "id": key,
            "received_at": times.key(request.at),
            "content_type": content.media_type(kind)[0],
            "headers": self._handed_on(request.headers),
            **event,
        }
        message = Message(id=key, body=found, at=request.at)
        return Taken(messages=(message,), answer={"id": key}, fixed=self._fixed(place, request))

    def _fixed(self, place: KeyPlace | str | None, request: PushRequest) -> Sequence[str]:
        # What a sender chooses for its request means that request. Others name an event by their
        # key, and what they say of it may differ from one delivery to the next.
        by_header = place is None or (
            isinstance(place, KeyPlace) and (place.header or "").lower() == _OFTEN_SENT.lower()
        )
        return _BODY if by_header and _OFTEN_SENT.lower() in request.headers else ()

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def remember_for(self) -> int:
        return self._settings.dedup_window

    def close(self) -> None:
        self._payloads.close()

    def _handed_on(self, headers: Mapping[str, str]) -> dict[str, JSON]:
        found: dict[str, JSON] = {}
        for name in self._settings.headers_on:
            value = headers.get(name)
            if value is None:
                continue
            if len(value) > _MAX_HEADER or not value.isprintable():
                raise PushRefused(400, f"the header {name} cannot be handed on")
            found[name] = value
        return found


def _key_of(place: KeyPlace | str | None, request: PushRequest, event: Mapping[str, JSON]) -> str:
    """The id of an event whose key is in no header that the settings name."""
    if isinstance(place, KeyPlace):
        return _field(str(place.field), event.get("body"))
    if place == "body":
        return f"sha256:{hashlib.sha256(request.body).hexdigest()}"
    sent = request.headers.get(_OFTEN_SENT.lower())
    if place is None and sent is not None:
        return _key(sent, _OFTEN_SENT)
    return str(uuid.uuid4())


def _field(path: str, body: JSON) -> str:
    found: JSON = body
    for name in path.split("."):
        found = cast(Mapping[str, JSON], found).get(name) if isinstance(found, Mapping) else None
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    return _key(found if isinstance(found, str) else None, path)


def _key(value: str | None, name: str) -> str:
    if value is None:
        raise PushRefused(400, f"there is no {name}, which tells events apart")
    text = value.strip()
    if not (text and len(text) <= _MAX_KEY and text.isprintable()):
        raise PushRefused(400, f"{name} does not tell events apart: up to 255 printable characters")
    return text
