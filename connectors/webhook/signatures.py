"""Whether a request was signed by somebody who knows the secret, and when."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence

from connectors.fields import reveal
from connectors.push import PushRefused, PushRequest
from connectors.times import SECOND
from connectors.webhook.settings import WebhookSettings

_SIZES = {"sha256": 32, "sha512": 64}
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_MILLISECONDS = re.compile(r"[0-9]{13,15}", re.ASCII)
_PIECE = re.compile(r"\{(body|timestamp|key)\}")
_MAX_SIGNATURES = 16

_WRONG = "the signature is not right"


def verify(
    settings: WebhookSettings, secrets: Mapping[str, str], request: PushRequest, key: str | None
) -> None:
    """Raises PushRefused where it was not. `key` is what `{key}` stands for."""
    match settings.signature:
        case "none":
            return
        case "github":
            content, given, moment = _github(request)
            algorithm = "sha256"
        case "stripe":
            content, given, moment = _stripe(request)
            algorithm = "sha256"
        case "generic":
            content, given, moment = _generic(settings, request, key)
            algorithm = settings.algorithm
    _check(settings, secrets, algorithm, content, given)
    if moment is not None and abs(request.at - moment) > settings.tolerance:
        raise PushRefused(401, "the signed time is too far from now")


def _github(request: PushRequest) -> tuple[list[bytes], list[bytes], None]:
    value = _header(request, "X-Hub-Signature-256")
    return [request.body], [_decoded(value, "sha256=", "hex", "sha256")], None


def _stripe(request: PushRequest) -> tuple[list[bytes], list[bytes], int]:
    items = [item.strip().partition("=") for item in _split(_header(request, "Stripe-Signature"))]
    times = [value for name, _, value in items if name == "t"]
    if len(times) != 1:
        raise PushRefused(401, "the signature has no time, or more than one")
    given = [
        decoded
        for name, _, value in items
        if name == "v1" and (decoded := _hex(value)) is not None and len(decoded) == 32
    ]
    if not given:
        raise PushRefused(401, _WRONG)
    return [times[0].encode(), b".", request.body], given, _moment(times[0])


def _generic(
    settings: WebhookSettings, request: PushRequest, key: str | None
) -> tuple[list[bytes], list[bytes], int | None]:
    value = _header(request, settings.signature_header or "")
    given = _decoded(value, settings.prefix, settings.encoding, settings.algorithm)
    time = ""
    moment: int | None = None
    if settings.timestamp_header is not None:
        time = _header(request, settings.timestamp_header)
        moment = _moment(time)
    content: list[bytes] = []
    pieces = _PIECE.split(settings.signed_as)
    for at, piece in enumerate(pieces):
        if at % 2 == 0:
            content.append(piece.encode())
        elif piece == "body":
            content.append(request.body)
        elif piece == "timestamp":
            content.append(time.encode())
        else:
            # With what follows it within it, one signature would fit two requests.
            if key is None or pieces[at + 1][0] in key:
                raise PushRefused(401, _WRONG)
            content.append(key.encode())
    return content, [given], moment


def _check(
    settings: WebhookSettings,
    secrets: Mapping[str, str],
    algorithm: str,
    content: Sequence[bytes],
    given: Sequence[bytes],
) -> None:
    keys, missing = _keys(settings, secrets)
    right = False
    for key in keys:
        mac = hmac.new(key, digestmod=algorithm)
        for part in content:
            mac.update(part)
        for signature in given:
            right |= hmac.compare_digest(mac.digest(), signature)
    if right:
        return
    if missing is not None:
        # Perhaps it is signed with the one that is missing: the sender should try again.
        raise PushRefused(503, "signatures cannot be checked here now") from missing
    raise PushRefused(401, _WRONG)


def _keys(
    settings: WebhookSettings, secrets: Mapping[str, str]
) -> tuple[list[bytes], LookupError | None]:
    """The secrets that there are, and what is to be said of one that there is not."""
    found: list[bytes] = []
    missing: LookupError | None = None
    for name in settings.secret:
        try:
            value = reveal(name, secrets)
            if not value.strip():
                raise LookupError(f"the secret {name.secret!r} is empty")
            found.append(value.encode())
        except LookupError as error:
            missing = error
    return found, missing


def _header(request: PushRequest, name: str) -> str:
    value = request.headers.get(name.lower())
    if value is None:
        raise PushRefused(401, f"there is no {name}")
    return value.strip()


def _split(value: str) -> list[str]:
    items = value.split(",")
    if len(items) > _MAX_SIGNATURES:
        raise PushRefused(401, "there are too many signatures")
    return items


def _decoded(value: str, prefix: str, encoding: str, algorithm: str) -> bytes:
    if value.startswith(prefix):
        written = value[len(prefix) :]
        content = _hex(written) if encoding == "hex" else _base64(written)
        if content is not None and len(content) == _SIZES[algorithm]:
            return content
    raise PushRefused(401, _WRONG)


def _hex(written: str) -> bytes | None:
    return bytes.fromhex(written) if _HEX.fullmatch(written) else None


def _base64(written: str) -> bytes | None:
    try:
        return base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError):
        return None


def _moment(written: str) -> int:
    """Microseconds since the epoch."""
    if _SECONDS.fullmatch(written):
        return int(written) * SECOND
    if _MILLISECONDS.fullmatch(written):
        return int(written) * (SECOND // 1000)
    raise PushRefused(401, "the signed time cannot be read")
