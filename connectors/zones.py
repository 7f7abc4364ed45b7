"""Local time as arithmetic: the offset changes of an IANA zone, and what they do to a wall time.

``zoneinfo`` answers "which offset at this instant" but not "when does it change next", so the
changes are found by sampling and bisection, once per stretch of about a year, in a bounded
cache. Instants here are whole *seconds* since the epoch; a *wall* time is the instant plus the
offset, that is, what a clock on the wall would show if it were read as UTC.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal
from zoneinfo import ZoneInfo

DAY = 86_400
_STRETCH = 25  # 2**25 s, about 388 days
_SAMPLE = DAY  # the closest changes since 1970 that cancel each other are some weeks apart
_REACH = 26 * 3600  # more than any two offsets differ (-12 h to +14 h)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall time has no zone


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """The clocks of a zone are set at ``at`` from ``before`` to ``after`` (offsets, seconds)."""

    at: int
    before: int
    after: int

    @property
    def skipped(self) -> int:
        """How many seconds the clocks jump forward; negative when they are set back."""
        return self.after - self.before


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a wall time falls.

    ``skipped``: the clocks never show it, ``instant`` is that of the change. ``repeated``: they
    show it twice, ``instant`` is the first. ``change`` is the change that is to blame.
    """

    instant: int
    how: Literal["plain", "skipped", "repeated"] = "plain"
    change: Change | None = None


@cache
def names() -> frozenset[str]:
    """The zones of the IANA database. Machine-dependent names (``localtime``) are not in it."""
    listed = files("tzdata").joinpath("zones").read_text("ascii").split()
    return frozenset(listed) - {"Factory"}


@cache
def _folded() -> dict[str, str]:
    return {name.casefold(): name for name in names()}


def nearest(name: str) -> str | None:
    """The zone that was probably meant: by case, by its city alone, or by likeness."""
    wanted = name.strip().replace(" ", "_").casefold()
    if wanted in _folded():
        return _folded()[wanted]
    by_city = {folded.rsplit("/", 1)[-1]: zone for folded, zone in sorted(_folded().items())}
    if wanted in by_city:
        return by_city[wanted]
    near = difflib.get_close_matches(wanted, _folded(), n=1, cutoff=0.75)
    if near:
        return _folded()[near[0]]
    near = difflib.get_close_matches(wanted.rsplit("/", 1)[-1], by_city, n=1, cutoff=0.8)
    return by_city[near[0]] if near else None


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def offset_at(name: str, at: int) -> int:
    """The zone's offset from UTC in seconds at an instant."""
    if name == "UTC":
        return 0
    offset = (_EPOCH + timedelta(seconds=at)).astimezone(_zone(name)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


@lru_cache(maxsize=2048)
def _stretch(name: str, number: int) -> tuple[Change, ...]:
    """The changes in ``(number * 2**25, (number + 1) * 2**25]``."""
    found: list[Change] = []
    low, end = number << _STRETCH, (number + 1) << _STRETCH
    before = offset_at(name, low)
    while low < end:
        high = min(low + _SAMPLE, end)
        after = offset_at(name, high)
        if after != before:
            lower, upper = low, high
            while upper - lower > 1:
                middle = (lower + upper) // 2
                if offset_at(name, middle) == before:
                    lower = middle
                else:
                    upper = middle
            found.append(Change(at=upper, before=before, after=after))
        low, before = high, after
    return tuple(found)


def _each_change(name: str, after: int, until: int) -> Iterator[Change]:
    if name == "UTC":
        return
    for number in range(after >> _STRETCH, ((until - 1) >> _STRETCH) + 1):
        for change in _stretch(name, number):
            if after < change.at <= until:
                yield change


def changes(name: str, after: int, until: int) -> list[Change]:
    """The zone's changes in ``(after, until]``, in order."""
    return list(_each_change(name, after, until))


def next_change(name: str, after: int, until: int) -> Change | None:
    """The zone's first change in ``(after, until]``."""
    return next(_each_change(name, after, until), None)


def repeating(name: str, at: int) -> Change | None:
    """The change that makes ``at`` lie in the second pass of a repeated time, if it does."""
    for change in changes(name, at - _REACH, at):
        if change.skipped < 0 and at < change.at - change.skipped:
            return change
    return None


def place(name: str, wall: int) -> Place:
    """Where a wall time falls in a zone."""
    low = wall - _REACH
    offset = offset_at(name, low)
    for change in changes(name, low, wall + _REACH):
        at = wall - offset
        if at < change.at:
            if change.skipped < 0 and at >= change.at + change.skipped:
                return Place(instant=at, how="repeated", change=change)
            return Place(instant=at)
        if wall < change.at + change.after:
            return Place(instant=change.at, how="skipped", change=change)
        offset = change.after
    return Place(instant=wall - offset)


def to_wall(name: str, at: int) -> int:
    return at + offset_at(name, at)


def naive(wall: int) -> datetime:
    """A wall time as a ``datetime`` without a zone."""
    return _NAIVE_EPOCH + timedelta(seconds=wall)


def wall_of(local: datetime) -> int:
    """The wall time of a ``datetime`` without a zone; microseconds are cut off."""
    return (local - _NAIVE_EPOCH) // timedelta(seconds=1)


def show_clock(wall: int) -> str:
    """``02:30``, or ``02:30:15`` where there are seconds."""
    return naive(wall).strftime("%H:%M:%S" if wall % 60 else "%H:%M")


def show_offset(offset: int) -> str:
    """``+02:00``; with seconds where a zone still had them (Monrovia until 1972)."""
    sign = "-" if offset < 0 else "+"
    hours, rest = divmod(abs(offset), 3600)
    text = f"{sign}{hours:02d}:{rest // 60:02d}"
    return f"{text}:{rest % 60:02d}" if rest % 60 else text
