"""Durations as people write them (``200ms``, ``10s``, ``1h30m``, ``7d``), in microseconds."""

from __future__ import annotations

import re

_UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
PATTERN = r"^(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"
_SHAPE = re.compile(PATTERN, re.ASCII)
_MAX_LENGTH = 40


def parse(text: str) -> int:
    """Microseconds of a duration. Raises ``ValueError`` (without a remedy: see the pattern).

    Whole numbers with a unit each, from the largest to the smallest, each unit once.
    """
    match = _SHAPE.match(text) if len(text) <= _MAX_LENGTH else None
    if match is None or match.end() != len(text):
        raise ValueError(f"{text[:_MAX_LENGTH]!r} is not a duration")
    return sum(
        int(part[: -len(unit)]) * size
        for part, (unit, size) in zip(match.groups(), _UNITS.items(), strict=True)
        if part
    )


def show(duration: int) -> str:
    """The phrase for a duration: "15 s", "1 h 30 min", "7 d"."""
    names = ("d", "h", "min", "s", "ms")
    parts: list[str] = []
    rest = duration
    for name, size in zip(names, _UNITS.values(), strict=True):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts) or "0 s"
