"""Instants and local times as people write them, and lists of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors import zones
from connectors.abc import Problem, SettingsError
from connectors.times import HORIZON, SECOND
from connectors.validation import shown

_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<clock>\d\d:\d\d)(?::(?P<seconds>\d\d)(?:\.(?P<fraction>\d{1,6}))?)?"
    r" ?(?P<offset>[Zz]|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
_FORMS = "2026-03-29T01:00:00Z, 2026-03-29T03:00:00+02:00 or 2026-03-29 03:00"


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """An instant that somebody wrote down, in microseconds."""

    instant: int
    mark: str | None = None
    """What a clock change did to it."""


def parse_moment(text: str, zone: str, *, dates: bool = False) -> Moment:
    """RFC 3339, or a local time in ``zone``; with ``dates`` also a date: its first instant.

    A local time that the clocks skip is the instant of the change, one that they show twice is
    the first. Raises :class:`SettingsError` with one problem, without a path.
    """
    forms = f"{_FORMS}, or 2026-03-29" if dates else _FORMS
    match = _TIME.fullmatch(text)
    if match is None or (match["clock"] is None and not dates):
        raise _error(f"{shown(text)} is not a time", f"write {forms}")
    try:
        local = datetime.fromisoformat(
            f"{match['date']}T{match['clock'] or '00:00'}:{match['seconds'] or '00'}"
        )
        offset = _offset(match["offset"])
    except ValueError as error:
        raise _error(f"{shown(text)} is not a time: {error}", f"write {forms}") from error
    fraction = int((match["fraction"] or "0").ljust(6, "0"))
    wall = zones.wall_of(local)
    if not 0 <= wall < HORIZON // SECOND - zones.DAY:
        raise _error(f"{shown(text)} is outside the years 1970 to 8999", "write a time in them")
    if offset is not None:
        moment = Moment(instant=(wall - offset) * SECOND + fraction)
    else:
        moment = _in_zone(wall, zone, fraction)
    if moment.instant < 0:
        raise _error(f"{shown(text)} is before 1970", "write a later time")
    return moment


def _in_zone(wall: int, zone: str, fraction: int) -> Moment:
    found = zones.place(zone, wall)
    clock = zones.show_clock(wall)
    if found.how == "skipped":
        mark = f"moved from {clock}: the clocks skip it"
        return Moment(instant=found.instant * SECOND, mark=mark)
    mark = f"the second {clock} is left out" if found.how == "repeated" else None
    return Moment(instant=found.instant * SECOND + fraction, mark=mark)


def _offset(text: str | None) -> int | None:
    if text is None:
        return None
    if text in "Zz":
        return 0
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(f"{text} is not an offset")
    seconds = hours * 3600 + minutes * 60
    return -seconds if text[0] == "-" else seconds


def show(instant: int, zone: str) -> str:
    """``2026-03-29 03:00:00``: the local time of an instant; a fraction only where there is one."""
    seconds, fraction = divmod(instant, SECOND)
    local = zones.naive(zones.to_wall(zone, seconds)) + timedelta(microseconds=fraction)
    return local.isoformat(sep=" ").rstrip("0") if fraction else local.isoformat(sep=" ")


def _error(message: str, remedy: str) -> SettingsError:
    return SettingsError([Problem("", message, remedy)])
