"""The values of a row as a task gets them, whatever types a database has.

Whole numbers, texts, truth values and JSON are what they are. Numbers with a fixed point are texts
(``"12.50"``), because JSON's are not exact; times are texts in ISO 8601; bytes are base64. What a
database knows beyond that is what it writes for it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from connectors import jsontext
from connectors.abc import JSON

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST = 10**100


def plain(value: Any) -> JSON:
    """A value of a driver as JSON."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) < _LARGEST else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal() | UUID():
            return format(value, "f") if isinstance(value, Decimal) else str(value)
        case datetime():
            return _moment(value)
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(cast("bytes", value))).decode()
        case _:
            return _compound(value)


def document(value: Any) -> JSON:
    """What a text that holds JSON says; the text itself where it is none."""
    if not isinstance(value, (str, bytes)):
        return plain(value)
    if isinstance(value, str) and _is_plain_text(value):
        return value[1:-1]
    try:
        return jsontext.parse(value)
    except jsontext.NotJson:
        return plain(value)


def instant(value: Any) -> int | None:
    """Microseconds since 1970 of a time, as `plain` writes it or a database does: without an
    offset it is UTC. None for what is no time."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None


def _is_plain_text(text: str) -> bool:
    """Whether it is the JSON of a text in which nothing is escaped: most often a time."""
    quotes = text.count('"')
    return quotes == 2 and text[0] == text[-1] == '"' and text.isprintable() and "\\" not in text


def _moment(moment: datetime) -> str:
    with suppress(OverflowError):
        moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return moment.isoformat().replace("+00:00", "Z")


def _compound(value: Any) -> JSON:
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in cast("list[Any]", value)]
    if isinstance(value, (set, frozenset)):
        return sorted(str(one) for one in cast("set[Any]", value))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        return {str(key): plain(one) for key, one in pairs.items()}
    return str(value)
