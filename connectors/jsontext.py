"""JSON from outside, read so that whatever comes out can be written again, by anybody.

Stricter than the standard library: no ``NaN``, nothing that a float or a text in UTF-8 cannot hold,
no key twice in one object (two readers would see two documents), no depth that ends another
reader.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

from connectors.abc import JSON

MAX_DEPTH = 64
MAX_VALUES = 2_000_000
"""Of a document: an empty list takes three bytes to write, and sixty to hold."""
_MAX_DIGITS = 100


class NotJson(ValueError):
    """Content that is no JSON, or more than this takes. The text holds nothing of the content."""


def parse(content: bytes | str) -> JSON:
    """The document. Raises NotJson, and nothing else."""
    text = content if isinstance(content, str) else _decoded(content)
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise NotJson(f"it may hold more than {MAX_VALUES:,} values")
    try:
        document = cast(
            JSON,
            json.loads(
                text,
                object_pairs_hook=_object,
                parse_int=_integer,
                parse_float=_float,
                parse_constant=_constant,
            ),
        )
    except NotJson:
        raise
    except RecursionError as error:
        raise NotJson(f"it is deeper than {MAX_DEPTH}") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"it is no JSON: {error.msg} at {error.pos}") from error
    _check(document)
    return document


def text_fault(text: str) -> str | None:
    """What keeps a text from being written anywhere; None: nothing does."""
    if "\0" in text:
        return "a text holds the character NUL"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a text holds half a surrogate pair"
    return None


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(f"it is not UTF-8, at {error.start}") from error


def _object(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("an object has a key twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise NotJson(f"a number has more than {_MAX_DIGITS} digits")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > _MAX_DIGITS:
        raise NotJson(f"a number has more than {_MAX_DIGITS} digits")
    value = float(digits)
    if not math.isfinite(value):
        raise NotJson("a number is too large")
    return value


def _constant(name: str) -> JSON:
    raise NotJson(f"{name} is no JSON")


def _check(document: JSON) -> None:
    level: list[JSON] = [document]
    for depth in itertools.count():
        below: list[JSON] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, Mapping):
                for key in value:
                    _check_text(key)
                below.extend(value.values())
            elif isinstance(value, Sequence):
                below.extend(value)
            else:
                continue
            if depth == MAX_DEPTH and not isinstance(value, str):
                raise NotJson(f"it is deeper than {MAX_DEPTH}")
        if not below:
            return
        level = below


def _check_text(text: str) -> None:
    fault = text_fault(text)
    if fault is not None:
        raise NotJson(fault)
