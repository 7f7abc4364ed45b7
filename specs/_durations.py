"""Durations as people write them: `200ms`, `10s`, `5m`, `1h30m`, `7d`. Inside: microseconds."""

from __future__ import annotations

import re

_UNITS = {
    "w": 604_800_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_ORDER = {unit: size for unit, size in _UNITS.items() if unit != "w"}
_PART = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?(ms|us|[wdhms])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")

MAX_DURATION = 100 * 365 * _UNITS["d"]
"""A hundred years in microseconds: more is a mistake and would overflow times."""


def duration(value: object) -> int:
    """Read a duration such as `1h30m` into microseconds.

    Units are w, d, h, m, s, ms and us, each at most once, from large to small; a fraction
    (`1.5s`) is taken down to the microsecond. A bare `0` is a duration too, any other number
    without its unit is not. Raises ValueError with the remedy.
    """
    if value == 0 and not isinstance(value, bool):
        return 0
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(  # noqa: TRY004 (one kind of error, whatever is wrong with the text)
            f"{value} is not a duration without a unit. Write {value}s for seconds"
        )
    text = value.strip() if isinstance(value, str) else repr(value)
    if text == "0":
        return 0
    if len(text) > 100 or _WHOLE.fullmatch(text) is None:
        hint = ": it cannot be negative" if text.startswith("-") else ""
        raise ValueError(
            f"{text[:40]!r} is not a duration{hint}. Write it as 200ms, 10s, 5m, 1h30m or 7d"
        )
    total = 0
    smallest = MAX_DURATION
    for match in _PART.finditer(text):
        size = _UNITS[match[3]]
        if size >= smallest:
            raise ValueError(
                f"{text!r} repeats or mixes up its units. Write them from large to small: 1h30m"
            )
        smallest = size
        total += int(match[1]) * size
        if match[2]:
            scaled = int(match[2]) * size
            if scaled % 10 ** len(match[2]):
                raise ValueError(f"{text!r} is finer than a microsecond. Leave out digits")
            total += scaled // 10 ** len(match[2])
    if total > MAX_DURATION:
        raise ValueError(f"{text!r} is longer than a hundred years. Write a shorter one")
    return total


def format_duration(micros: int) -> str:
    """Write microseconds in the form that `duration` reads, as short as it goes: `1h30m`."""
    if micros < 0:
        raise ValueError(f"a duration cannot be negative: {micros}")
    text = ""
    for unit, size in _ORDER.items():
        count, micros = divmod(micros, size)
        if count:
            text += f"{count}{unit}"
    return text or "0s"
