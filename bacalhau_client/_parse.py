"""Reading the node's JSON: lenient about what is missing, null or unknown, strict about types."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,18}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class ShapeError(ValueError):
    """A body that is not of the expected shape; the message names the place in it."""


class Fields:
    """One JSON object of an answer, with its place in the answer for messages.

    Every reader gives its type's empty value for what is missing or null and raises ShapeError
    for another type.
    """

    __slots__ = ("raw", "where")

    def __init__(self, raw: object, where: str) -> None:
        if not isinstance(raw, dict):
            raise ShapeError(f"{where}: expected an object, got {_kind(raw)}")
        self.raw = cast("dict[str, Any]", raw)
        self.where = where

    def _wrong(self, key: str, expected: str) -> ShapeError:
        return ShapeError(f"{self.where}.{key}: expected {expected}, got {_kind(self.raw[key])}")

    def text(self, key: str) -> str:
        """A string; lone surrogates, which no UTF-8 can hold, become U+FFFD."""
        value = self.raw.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(key, "a string")
        return value if value.isascii() else clean(value)

    def needed(self, key: str) -> str:
        """A word that must be there: an id, a state. None has control characters."""
        value = self.text(key)
        if not value:
            raise ShapeError(f"{self.where}.{key}: missing")
        if not value.isprintable():
            raise ShapeError(f"{self.where}.{key}: control characters")
        return value

    def integer(self, key: str) -> int:
        value = self.raw.get(key)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, "an integer")
        return value

    def number(self, key: str) -> float:
        value = self.raw.get(key)
        if value is None:
            return 0.0
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(key, "a number")
        try:
            return float(value)
        except OverflowError:
            raise self._wrong(key, "a number of ordinary size") from None

    def flag(self, key: str) -> bool:
        value = self.raw.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def time(self, key: str) -> int:
        """An RFC 3339 time as nanoseconds since the epoch; 0 for none and for Go's zero time."""
        value = self.text(key)
        if not value:
            return 0
        nanoseconds = parse_time(value)
        if nanoseconds is None:
            raise ShapeError(f"{self.where}.{key}: not an RFC 3339 time")
        return nanoseconds

    def child(self, key: str) -> "Fields":
        """A nested object; an empty one where there is none."""
        value = self.raw.get(key)
        return Fields({} if value is None else value, f"{self.where}.{key}")

    def optional(self, key: str) -> "Fields | None":
        """A nested object, or None where there is none."""
        return None if self.raw.get(key) is None else self.child(key)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A nested object as it stands."""
        return self.child(key).raw

    def texts(self, key: str) -> Mapping[str, str]:
        """An object whose values are strings."""
        inner = self.child(key)
        return {name: inner.text(name) for name in inner.raw}

    def items(self, key: str) -> list[Any]:
        value = self.raw.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, "a list")
        return cast("list[Any]", value)

    def words(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(key, "a list of strings")
        return tuple(clean(value) for value in values)

    def each(self, key: str, build: "Callable[[Fields], T]") -> tuple[T, ...]:
        """A list of objects, each built."""
        place = f"{self.where}.{key}"
        return tuple(build(Fields(item, f"{place}[{n}]")) for n, item in enumerate(self.items(key)))


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case _:
            return "a number"


def clean(text: str) -> str:
    """The text without lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return text


def parse_time(text: str) -> int | None:
    """Nanoseconds since the epoch of an RFC 3339 time, 0 for Go's zero time, None for no time."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{zone.upper()}")
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    if moment.year == 1:
        return 0
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0")[:9])


def as_datetime(nanoseconds: int) -> datetime | None:
    """The time in UTC, cut to microseconds; None for 0 and for what no calendar holds."""
    if not nanoseconds:
        return None
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None
