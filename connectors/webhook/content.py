"""What a task gets of a request's body: JSON as what it says, a form as its fields, all else as
text, or in Base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import parse_qsl

from connectors import jsontext
from connectors.abc import JSON
from connectors.push import PushRefused

_MAX_FIELDS = 1000


def media_type(value: str | None) -> tuple[str, str]:
    """The type and the character set of a Content-Type header, in lower case; "" where there is
    none."""
    kind, *parameters = (value or "").lower().split(";")
    charset = ""
    for parameter in parameters:
        name, _, written = parameter.strip().partition("=")
        if name == "charset":
            charset = written.strip('"')
    return kind.strip(), charset


def read(content_type: str | None, body: bytes) -> Mapping[str, JSON]:
    """The part of an event that holds the body: under ``body``, or ``body_base64``.

    Raises PushRefused for a body that is not of the type that it is said to be.
    """
    kind, charset = media_type(content_type)
    if is_json(kind):
        _need_utf8(charset)
        try:
            return {"body": jsontext.parse(body)}
        except jsontext.NotJson as error:
            raise PushRefused(400, f"the body is not taken: {error}") from error
    if kind == "application/x-www-form-urlencoded":
        _need_utf8(charset)
        return {"body": _form(body)}
    if charset in ("", "utf-8", "utf8", "us-ascii"):
        try:
            text = body.decode()
        except UnicodeDecodeError:
            pass
        else:
            if "\0" not in text:
                return {"body": text}
    return {"body_base64": base64.b64encode(body).decode()}


def is_json(kind: str) -> bool:
    """Whether a media type is JSON, or made of it."""
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _need_utf8(charset: str) -> None:
    if charset not in ("", "utf-8", "utf8"):
        raise PushRefused(415, "the body has to be UTF-8")


def _form(body: bytes) -> Mapping[str, JSON]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError as error:
        raise PushRefused(400, "the body is not taken: it is no form in UTF-8") from error
    found: dict[str, str | list[str]] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise PushRefused(400, "the body is not taken: a text holds the character NUL")
        before = found.get(name)
        if before is None:
            found[name] = value
        elif isinstance(before, list):
            before.append(value)
        else:
            found[name] = [before, value]
    return found
