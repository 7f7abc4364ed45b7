"""Time. An instant is an integer: microseconds since the epoch, UTC.

Integers compare exactly, sort in every database alike and never carry a time zone by mistake.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))"
)


class Clock(Protocol):
    """Where the orchestrator reads the time; tests bring their own."""

    def now(self) -> int:
        """Return the wall clock's instant (it may step back)."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back, for waiting and measuring."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


def to_rfc3339(instant: int) -> str:
    """Write an instant as RFC 3339 in UTC, with a fraction only where it has one."""
    whole, micros = divmod(instant, SECOND)
    text = (_EPOCH + timedelta(seconds=whole)).isoformat()[:-6]  # without its "+00:00"
    return f"{text}.{micros:06d}".rstrip("0") + "Z" if micros else f"{text}Z"


def from_rfc3339(text: str) -> int:
    """Read an RFC 3339 instant; it must say its offset. Raises ValueError."""
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2026-03-29T01:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    offset = 0
    if match[8]:
        offset = (int(match[9]) * 60 + int(match[10])) * MINUTE * (1 if match[8] == "+" else -1)
    micros = int((match[7] or "0").ljust(6, "0")[:6])
    return (moment - _EPOCH) // timedelta(microseconds=1) + micros - offset
