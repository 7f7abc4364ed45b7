"""Foreign failures and error answers become this package's exceptions, here and nowhere else."""

import html
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import requests
from urllib3.exceptions import LocationValueError, MaxRetryError, NewConnectionError

from bacalhau_client._errors import (
    AlreadyThere,
    Ambiguous,
    Answered,
    BacalhauError,
    CannotStop,
    Conflict,
    Forbidden,
    GatewayFault,
    NotFound,
    Refused,
    ServerFault,
    Throttled,
    Unauthorized,
    Unavailable,
    UnexpectedStatus,
    Unreachable,
)
from bacalhau_client._parse import clean

MAX_MESSAGE = 2000
MAX_DETAILS = 20
MAX_RETRY_AFTER = 3600.0

_BY_STATUS: dict[int, type[Answered]] = {
    400: Refused,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: Refused,
    429: Throttled,
    503: Unavailable,
}
_ALREADY_THERE = re.compile(
    r"no changes detected(?:.*?Job Name: '(?P<name>.*)', Job Id: '(?P<id>[^']*)')?", re.DOTALL
)
_CANNOT_STOP = re.compile(r"cannot stop job in state (\w+)")
_TITLE = re.compile(r"<(title|h1)\b[^>]*>(.{1,500}?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]{0,500}>")
_UNPRINTABLE = re.compile(
    r"[^\S\n]|[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


class HandshakeError(NewConnectionError):
    """A TLS handshake that failed, caused by what made it fail; nothing was sent."""


def shorten(text: str, limit: int = MAX_MESSAGE) -> str:
    """Text from outside made fit for a terminal and a log: no control characters, bounded."""
    text = _UNPRINTABLE.sub(" ", clean(text[: 4 * limit])).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def translate_failure(error: Exception, place: str) -> BacalhauError:
    """The error for a request that got no whole answer.

    Unreachable only where no connection came about; everything else may have been sent.
    """
    reason: object = error.args[0] if error.args else None
    if isinstance(reason, MaxRetryError):
        reason = reason.reason
    if isinstance(error, requests.ConnectTimeout):
        return Unreachable("no connection within the connect timeout; is the node up?", place=place)
    if isinstance(reason, NewConnectionError):
        stage = "TLS: " if isinstance(reason, HandshakeError) else ""
        cause = describe(reason.__cause__ or reason)
        return Unreachable(f"no connection: {stage}{cause}", place=place)
    if isinstance(error, LocationValueError | requests.exceptions.InvalidURL):
        return Unreachable(f"no connection: {describe(error)}; check the host's name", place=place)
    if isinstance(error, requests.Timeout):
        return Ambiguous("no answer within the read timeout", place=place)
    return Ambiguous(f"connection lost before a whole answer: {describe(error)}", place=place)


def describe(error: object) -> str:
    """The innermost reason of a foreign error, in one line."""
    text = shorten(str(error) or type(error).__name__, 300)
    return " ".join(text.split())


def translate_response(
    status: int, headers: Mapping[str, str], body: bytes, place: str
) -> BacalhauError:
    """The error for an answer whose status is not 2xx. ``body`` may be cut off."""
    fields = _error_fields(body)
    raw_message = fields.get("Message") or fields.get("message") or fields.get("error")
    message = raw_message if isinstance(raw_message, str) else _readable(body)
    if status in (502, 504):
        text = shorten(message) or "no word about why"
        return GatewayFault(
            f"{status} from in front of the node: {text}", place=place, status=status
        )
    cls = _BY_STATUS.get(status) or (ServerFault if status >= 500 else UnexpectedStatus)
    state = _CANNOT_STOP.search(message) if status == 500 else None
    known = _ALREADY_THERE.match(message) if status == 500 else None
    cls = CannotStop if state else AlreadyThere if known else cls
    if 300 <= status < 400:
        target = shorten(headers.get("Location", ""), 300) or "nowhere"
        message = f"redirected to {target}, which is not followed; give that address itself"
    error = cls(
        shorten(message) or "no message",
        place=place,
        status=status,
        code=_word(fields.get("Code")),
        hint=_word(fields.get("Hint"), 500),
        details=_details(fields.get("Details")),
        request_id=_word(headers.get("X-Request-Id") or fields.get("RequestID")),
    )
    if isinstance(error, AlreadyThere) and known:
        error.job_name, error.job_id = known["name"] or "", known["id"] or ""
    elif isinstance(error, CannotStop) and state:
        error.state = state[1]
    elif isinstance(error, Throttled | Unavailable):
        error.retry_after = parse_retry_after(headers.get("Retry-After"), headers.get("Date"))
    return error


def parse_retry_after(value: str | None, date: str | None = None) -> float | None:
    """Seconds of a ``Retry-After`` in either form, between 0 and an hour; None for nonsense.

    A date is held against the answer's own ``Date``, where there is one: clocks differ.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER)
    until = _http_date(value)
    if until is None:
        return None
    now = _http_date(date or "") or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _error_fields(body: bytes) -> Mapping[str, Any]:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}


def _readable(body: bytes) -> str:
    """What a person would read of a body that is not this API's, such as a gateway's page."""
    text = body[:16384].decode("utf-8", "replace")
    if "<" not in text:
        return " ".join(text.split())
    titles = list(dict.fromkeys(" ".join(match[2].split()) for match in _TITLE.finditer(text)))
    visible = ": ".join(titles) if titles else text
    return " ".join(html.unescape(_TAG.sub(" ", visible)).split())


def _word(value: object, limit: int = 200) -> str:
    return shorten(value, limit) if isinstance(value, str) else ""


def _details(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    pairs = list(cast("dict[str, object]", value).items())[:MAX_DETAILS]
    return {_word(key): _word(text, 500) for key, text in pairs if isinstance(text, str)}
