"""What the due times of any time connector share: keys of firings, jitter, windows.

Instants are microseconds since 1970-01-01T00:00:00Z.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connectors.abc import Schedule

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
HORIZON = 221_845_392_000 * SECOND
"""9000-01-01T00:00:00Z: nothing is due from here on, so that no calendar overflows."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)


@lru_cache(maxsize=1024)
def key(due: int) -> str:
    """The firing key of a due time: RFC 3339 in UTC, ``2026-03-29T01:00:00Z``.

    A fraction stands there only where there is one, without trailing zeros. One instant has
    one key, for ever. Raises ``ValueError`` outside 1970 to 8999.
    """
    if not 0 <= due < HORIZON:
        raise ValueError(f"{due} µs is outside 1970 to 8999")
    seconds, fraction = divmod(due, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:06d}".rstrip("0") + "Z" if fraction else f"{text}Z"


def instant(text: str) -> int:
    """The due time of a firing key; the inverse of :func:`key`.

    Raises ``ValueError`` for anything that :func:`key` would not have written.
    """
    problem = f"{text!r} is not the key of a due time (such as 2026-03-29T01:00:00Z)"
    if not _KEY.fullmatch(text):
        raise ValueError(problem)
    try:
        due = (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
        same = key(due) == text
    except ValueError as error:
        raise ValueError(problem) from error
    if not same:
        raise ValueError(problem)
    return due


def jitter_offset(seed: str, jitter: int) -> int:
    """By how many microseconds firing is late: in ``[0, jitter)``, 0 when ``jitter`` is 0.

    A stable hash (SHA-256), so the answer is the same on every machine and for ever. With the
    trigger's uid as seed, triggers spread out while each one keeps its even spacing.
    """
    if jitter <= 0:
        return 0
    digest = hashlib.sha256(f"orch jitter\n{seed}".encode()).digest()
    return int.from_bytes(digest[:16], "big") * jitter >> 128


def due_between(schedule: Schedule, start: int, end: int, limit: int) -> Iterator[int]:
    """The due times in ``[start, end)``, in order, at most ``limit`` of them."""
    due = schedule.next_after(start - 1)
    for _ in range(limit):
        if due is None or due >= end:
            return
        yield due
        due = schedule.next_after(due)
