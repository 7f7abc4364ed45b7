"""Due times against a slow model of Debian's cron that looks at every minute."""

from __future__ import annotations

import importlib.resources
import struct
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors import zones
from connectors.abc import Schedule, SettingsError
from connectors.cron import CronConnector
from connectors.times import SECOND, due_between

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]

# Changes of every sort: an hour, half an hour, two and three hours, at midnight, a day that is
# not there, a new standard time, Ramadan.
CHANGES = {
    "Europe/Berlin": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "America/New_York": ["2026-03-08T07:00", "2026-11-01T06:00"],
    "Australia/Lord_Howe": ["2026-04-04T15:00", "2026-10-03T15:30"],
    "America/Santiago": ["2025-09-07T04:00", "2026-04-05T03:00"],
    "Africa/Casablanca": ["2026-02-15T02:00", "2026-03-22T02:00"],
    "Asia/Beirut": ["2024-03-30T22:00", "2024-10-26T21:00"],
    "America/Sao_Paulo": ["2018-11-04T03:00", "2019-02-17T02:00"],
    "America/Havana": ["2024-03-10T05:00", "2024-11-03T05:00"],
    "Pacific/Apia": ["2011-12-30T10:00", "2012-03-31T14:00"],
    "Antarctica/Casey": ["2009-10-17T18:00", "2010-03-04T15:00", "2019-03-16T20:00"],
    "Antarctica/Troll": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "Asia/Pyongyang": ["2015-08-14T15:00", "2018-05-04T15:00"],
    "America/Caracas": ["2007-12-09T07:00", "2016-05-01T07:00"],
    "Asia/Kathmandu": ["1985-12-31T18:30"],
    "Asia/Kolkata": ["2026-01-01T00:00"],
    "UTC": ["2024-02-29T00:00", "2100-02-28T00:00"],
}


def seconds(text: str) -> int:
    return int((datetime.fromisoformat(text + "+00:00") - EPOCH).total_seconds())


# --- the model -----------------------------------------------------------------------------


def field(text: str, index: int) -> set[int]:
    """The numbers that a field of an expression stands for, as crontab(5) says."""
    low, high = RANGES[index]
    names = {3: {n: i + 1 for i, n in enumerate(MONTHS)}, 4: {n: i for i, n in enumerate(DAYS)}}
    named = names.get(index, {})

    def number(word: str) -> int:
        return named[word.lower()] if word.lower() in named else int(word)

    found: set[int] = set()
    for term in text.split(","):
        span, _, step = term.partition("/")
        if span == "*":
            a, b = low, high
        else:
            first, _, last = span.partition("-")
            a = number(first)
            b = number(last) if last else a
        found |= {n for n in range(a, b + 1) if (n - a) % int(step or 1) == 0}
    if index == 4 and found & {0, 7}:
        found |= {0, 7}
    return found


class DebianCron:
    """One job in Debian's cron, whose clock shows local minutes."""

    def __init__(self, expression: str) -> None:
        parts = expression.split()
        self.fields = [field(part, index) for index, part in enumerate(parts)]
        self.star = [part.startswith("*") for part in parts]
        self.wild = self.star[0] or self.star[1]

    def matches(self, minute: int) -> bool:
        minutes, hours, days, months, weekdays = self.fields
        if minute % 60 not in minutes or minute // 60 % 24 not in hours:
            return False
        local = EPOCH + timedelta(minutes=minute)
        by_day = local.day in days
        by_weekday = local.isoweekday() in weekdays
        either = self.star[2] or self.star[4]
        return local.month in months and (
            (by_day and by_weekday) if either else (by_day or by_weekday)
        )

    def runs(self, clock: list[int]) -> list[int]:
        """Indexes into ``clock`` (what cron reads, minute after minute) at which the job runs."""
        found: list[int] = []
        virtual = clock[0]
        for index in range(1, len(clock)):
            now = clock[index]
            ahead = now - virtual
            if 0 < ahead <= 5:  # woke up late: nothing is special
                due = any(self.matches(m) for m in range(virtual + 1, now + 1))
                virtual = now
            elif 5 < ahead <= 180:  # set forward: fixed jobs are made up for
                missed = range(virtual + 1, now + 1)
                due = self.matches(now) if self.wild else any(map(self.matches, missed))
                virtual = now
            elif -180 < ahead <= 0:  # set back: fixed jobs wait until cron has caught up
                due = self.wild and self.matches(now)
            else:  # a correction
                due = self.matches(now)
                virtual = now
            if due:
                found.append(index)
        return found


@lru_cache(maxsize=64)
def clock_of(zone: str, first: int, last: int) -> tuple[int, ...]:
    """The local minute at every UTC minute of ``[first, last)``, asked from zoneinfo."""
    tz = ZoneInfo(zone)
    return tuple(
        (at + int((EPOCH + timedelta(seconds=at)).astimezone(tz).utcoffset().total_seconds()))  # type: ignore[union-attr]
        // 60
        for at in range(first, last, 60)
    )


# --- random expressions --------------------------------------------------------------------


@st.composite
def terms(draw: st.DrawFn, index: int, near: tuple[int, ...]) -> str:
    low, high = RANGES[index]
    number = st.sampled_from(near) | st.integers(low, high)
    shape = draw(st.sampled_from(["one", "one", "range", "range step"]))
    a = draw(number)
    if shape == "one":
        return str(a)
    b = draw(st.integers(a, high))
    step = f"/{draw(st.integers(1, 20 if index < 3 else high - low))}"
    return f"{a}-{b}{step if shape == 'range step' else ''}"


@st.composite
def fields(draw: st.DrawFn, index: int, near: tuple[int, ...]) -> str:
    low, high = RANGES[index]
    shape = draw(st.sampled_from(["star", "star step", "list", "list", "starry list"]))
    star_step = f"*/{draw(st.integers(1, high - low + 1))}"
    if shape == "star":
        return "*"
    if shape == "star step":
        return star_step
    listed = draw(st.lists(terms(index, near), min_size=1, max_size=3))
    if shape == "starry list":
        listed.insert(draw(st.integers(0, len(listed))), star_step)
    return ",".join(listed)


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, str, int]:
    """An expression, a zone and a moment near which the clocks of that zone change."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = draw(st.sampled_from(CHANGES[zone]))
    local = (EPOCH + timedelta(seconds=seconds(change))).astimezone(ZoneInfo(zone))
    hours = tuple(h % 24 for h in range(local.hour - 3, local.hour + 3))
    days = tuple((local + timedelta(days=n)).day for n in (-1, 0, 1))
    weekdays = tuple((local + timedelta(days=n)).isoweekday() for n in (-1, 0, 1))
    dates = st.just("*") | fields(2, days)
    months = st.just("*") | fields(3, (local.month, local.month % 12 + 1))
    week = st.just("*") | fields(4, weekdays)
    expression = " ".join(
        [
            draw(fields(0, (0, 15, 30, 45, 59))),
            draw(fields(1, hours)),
            draw(dates),
            draw(months),
            draw(week),
        ]
    )
    return expression, zone, seconds(change)


def schedule_or_never(expression: str, zone: str) -> Schedule | None:
    """The schedule; ``None`` for a date that the calendar does not have."""
    try:
        return CronConnector().schedule({"schedule": expression, "timezone": zone})
    except SettingsError as error:
        if "never comes" not in str(error):
            raise
        return None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
@example(("30 * * * *", "Australia/Lord_Howe", seconds("2026-10-03T15:30")))
@example(("*/15 3 * * *", "Australia/Lord_Howe", seconds("2026-10-03T15:30")))
@example(("0 9 30 12 *", "Pacific/Apia", seconds("2011-12-30T10:00")))
@example(("0,30 2 * * *", "Europe/Berlin", seconds("2026-03-29T01:00")))
@example(("0 0-5 * * *", "Europe/Berlin", seconds("2026-10-25T01:00")))
@example(("* 12-12/1 * * *", "UTC", seconds("2024-02-29T00:00")))
@example(("0 0 13 * 5", "UTC", seconds("2024-02-29T00:00")))
def test_due_times_are_those_of_debian_cron(case: tuple[str, str, int]) -> None:
    """Around every sort of clock change, the same minutes as the model, no other, none twice."""
    expression, zone, change = case
    first, last = change - 3 * DAY, change + 2 * DAY
    schedule = schedule_or_never(expression, zone)
    if schedule is None:
        assert DebianCron(expression).runs(list(clock_of(zone, first, last))) == []
        return
    model = [
        (first + 60 * index) * SECOND
        for index in DebianCron(expression).runs(list(clock_of(zone, first, last)))
        if first + 60 * index >= change - 2 * DAY
    ]
    found = list(due_between(schedule, (change - 2 * DAY) * SECOND, last * SECOND, limit=100_000))
    assert found == model


@settings(max_examples=200, deadline=None)
@given(cases(), st.lists(st.integers(-2 * DAY * SECOND, 2 * DAY * SECOND), min_size=2, max_size=12))
def test_next_after_is_strictly_later_and_monotone(
    case: tuple[str, str, int], shifts: list[int]
) -> None:
    """From any instant: later than it, in the order of the instants, nothing between left out."""
    expression, zone, change = case
    schedule = schedule_or_never(expression, zone)
    if schedule is None:
        return
    instants = sorted(change * SECOND + shift for shift in shifts)
    dues = [schedule.next_after(instant) for instant in instants]
    assert all(due is not None for due in dues)
    found = [due for due in dues if due is not None]
    assert found == sorted(found)
    for instant, due in zip(instants, found, strict=True):
        assert due > instant
        assert schedule.next_after(due - 1) == due
        assert schedule.next_after((instant + due) // 2) == due


@settings(max_examples=100, deadline=None)
@given(cases())
def test_a_schedule_describes_and_marks_whatever_it_takes(case: tuple[str, str, int]) -> None:
    """Every expression that is taken has a phrase, and every due time its marks."""
    expression, zone, change = case
    schedule = schedule_or_never(expression, zone)
    if schedule is None:
        return
    assert schedule.describe().endswith(f" in {zone}")
    for due in due_between(schedule, (change - DAY) * SECOND, (change + DAY) * SECOND, limit=50):
        assert all(isinstance(mark, str) for mark in schedule.marks(due))


def tzif_changes(name: str, first: int, last: int) -> list[tuple[int, int, int]]:
    """The offset changes that a zone's compiled file lists, read without zoneinfo."""
    system = [path for folder in TZPATH if (path := Path(folder, name)).is_file()]
    package = importlib.resources.files("tzdata").joinpath("zoneinfo", *name.split("/"))
    data = (system[0] if system else package).read_bytes()
    header = ">4s1c15x6I"
    size = struct.calcsize(header)
    _, _, utc, std, leap, times, types, chars = struct.unpack(header, data[:size])
    start = size + times * 5 + types * 6 + chars + leap * 8 + std + utc
    _, _, utc, std, leap, times, types, chars = struct.unpack(header, data[start : start + size])
    at = start + size
    instants = struct.unpack(f">{times}q", data[at : at + 8 * times])
    at += 8 * times
    indexes = data[at : at + times]
    at += times
    offsets = [struct.unpack(">i", data[at + 6 * n : at + 6 * n + 4])[0] for n in range(types)]
    found: list[tuple[int, int, int]] = []
    before = offsets[0]
    for instant, index in zip(instants, indexes, strict=True):
        if offsets[index] != before and first < instant <= last:
            found.append((instant, before, offsets[index]))
        before = offsets[index]
    return found


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_changes_of_a_zone_are_those_of_its_file(name: str) -> None:
    """Sampling finds every change that the compiled zone lists, at the right second."""
    first, last = 0, seconds("2037-01-01T00:00")
    listed = tzif_changes(name, first, last)
    known_until = max([instant for instant, _, _ in listed], default=first)
    found = [(c.at, c.before, c.after) for c in zones.changes(name, first, known_until)]
    assert found == listed
