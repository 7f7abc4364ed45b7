"""What schedules do on the days when the clocks are set, written out by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from connectors.cron import CronConnector
from connectors.times import due_between, instant

SECOND = 1_000_000


def due(settings: dict[str, object], start: str, end: str, zone: str | None = None) -> list[str]:
    """Due times in a window, as local times with their offset."""
    schedule = CronConnector().schedule(settings)  # type: ignore[arg-type]
    found = due_between(schedule, instant(start), instant(end), limit=1000)
    tz = ZoneInfo(zone or schedule.timezone)
    return [
        datetime.fromtimestamp(at // SECOND, UTC).astimezone(tz).strftime("%d %H:%M %z")
        for at in found
    ]


MOVED = "moved from 02:30: the clocks skip it"
BERLIN_SPRING = ("2026-03-28T22:00:00Z", "2026-03-29T04:00:00Z")
BERLIN_AUTUMN = ("2026-10-24T22:00:00Z", "2026-10-25T04:00:00Z")
NEW_YORK_SPRING = ("2026-03-08T05:00:00Z", "2026-03-08T09:00:00Z")
NEW_YORK_AUTUMN = ("2026-11-01T04:00:00Z", "2026-11-01T09:00:00Z")
LORD_HOWE_SPRING = ("2026-10-03T14:00:00Z", "2026-10-03T17:00:00Z")
LORD_HOWE_AUTUMN = ("2026-04-04T14:00:00Z", "2026-04-04T17:00:00Z")
SANTIAGO_SPRING = ("2025-09-07T03:00:00Z", "2025-09-07T06:00:00Z")
SANTIAGO_AUTUMN = ("2026-04-05T01:30:00Z", "2026-04-05T05:00:00Z")
BEIRUT_SPRING = ("2024-03-30T21:00:00Z", "2024-03-31T00:00:00Z")
BEIRUT_AUTUMN = ("2024-10-26T19:00:00Z", "2024-10-26T23:00:00Z")

FIXED = [
    # zone, window, expression, due
    ("Europe/Berlin", BERLIN_SPRING, "30 2 * * *", ["29 03:00 +0200"]),
    ("Europe/Berlin", BERLIN_SPRING, "0,30 2 * * *", ["29 03:00 +0200"]),
    ("Europe/Berlin", BERLIN_SPRING, "0 2,3 * * *", ["29 03:00 +0200"]),
    ("Europe/Berlin", BERLIN_SPRING, "30 2,3 * * *", ["29 03:00 +0200", "29 03:30 +0200"]),
    ("Europe/Berlin", BERLIN_AUTUMN, "30 2 * * *", ["25 02:30 +0200"]),
    ("Europe/Berlin", BERLIN_AUTUMN, "0 2-3 * * *", ["25 02:00 +0200", "25 03:00 +0100"]),
    ("America/New_York", NEW_YORK_SPRING, "15 2 * * *", ["08 03:00 -0400"]),
    ("America/New_York", NEW_YORK_AUTUMN, "15 1 * * *", ["01 01:15 -0400"]),
    ("Australia/Lord_Howe", LORD_HOWE_SPRING, "10 2 * * *", ["04 02:30 +1100"]),
    ("Australia/Lord_Howe", LORD_HOWE_SPRING, "30 2 * * *", ["04 02:30 +1100"]),
    ("Australia/Lord_Howe", LORD_HOWE_AUTUMN, "45 1 * * *", ["05 01:45 +1100"]),
    ("America/Santiago", SANTIAGO_SPRING, "0 0 * * *", ["07 01:00 -0300"]),
    ("America/Santiago", SANTIAGO_AUTUMN, "30 23 * * *", ["04 23:30 -0300"]),
    ("Asia/Beirut", BEIRUT_SPRING, "@daily", ["31 01:00 +0300"]),
    ("Asia/Beirut", BEIRUT_AUTUMN, "0 23 * * *", ["26 23:00 +0300"]),
]


@pytest.mark.parametrize(("zone", "window", "expression", "expected"), FIXED)
def test_a_fixed_time_runs_once_on_the_day_of_a_change(
    zone: str, window: tuple[str, str], expression: str, expected: list[str]
) -> None:
    """Skipped: once, at the change. Repeated: once, the first."""
    assert due({"schedule": expression, "timezone": zone}, *window) == expected


WILD = [
    (
        "Europe/Berlin",
        ("2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z"),
        "*/30 * * * *",
        ["29 01:00 +0100", "29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200"],
    ),
    (
        "Europe/Berlin",
        ("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"),
        "*/30 * * * *",
        ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100"],
    ),
    ("Europe/Berlin", BERLIN_SPRING, "*/5 2 * * *", []),
    (
        "America/New_York",
        NEW_YORK_AUTUMN,
        "*/30 1 * * *",
        ["01 01:00 -0400", "01 01:30 -0400", "01 01:00 -0500", "01 01:30 -0500"],
    ),
    (
        "Australia/Lord_Howe",
        LORD_HOWE_SPRING,
        "30 * * * *",
        ["04 00:30 +1030", "04 01:30 +1030", "04 02:30 +1100", "04 03:30 +1100"],
    ),
    (
        "Australia/Lord_Howe",
        LORD_HOWE_SPRING,
        "*/15 3 * * *",
        ["04 03:00 +1100", "04 03:15 +1100", "04 03:30 +1100", "04 03:45 +1100"],
    ),
    (
        "Australia/Lord_Howe",
        LORD_HOWE_AUTUMN,
        "30 * * * *",
        ["05 01:30 +1100", "05 01:30 +1030", "05 02:30 +1030"],
    ),
    ("America/Santiago", SANTIAGO_SPRING, "*/20 0 * * *", []),
    ("America/Santiago", SANTIAGO_SPRING, "@hourly", ["06 23:00 -0400", "07 01:00 -0300"]),
    (
        "Asia/Beirut",
        BEIRUT_AUTUMN,
        "@hourly",
        ["26 22:00 +0300", "26 23:00 +0300", "26 23:00 +0200", "27 00:00 +0200"],
    ),
]


@pytest.mark.parametrize(("zone", "window", "expression", "expected"), WILD)
def test_a_wildcard_follows_the_wall_clock_evenly(
    zone: str, window: tuple[str, str], expression: str, expected: list[str]
) -> None:
    """A star in the minute or hour goes on through both changes: nothing moved, nothing left."""
    found = due({"schedule": expression, "timezone": zone}, *window)
    assert found[: len(expected)] == expected
    assert bool(found) == bool(expected)


@pytest.mark.parametrize("window", [BERLIN_SPRING, BERLIN_AUTUMN])
def test_an_interval_is_even_through_both_changes(window: tuple[str, str]) -> None:
    """`every` counts real time; six hours hold 24 quarters whatever the clocks show."""
    assert len(due({"every": "15m", "timezone": "Europe/Berlin"}, *window)) == 24


def test_a_day_that_does_not_exist_is_not_made_up_for() -> None:
    """Samoa had no 30 December 2011: a change of a day is a correction, as in Debian's cron."""
    window = ("2011-12-29T12:00:00Z", "2012-01-01T00:00:00Z")
    assert due({"schedule": "0 9 * * *", "timezone": "Pacific/Apia"}, *window) == [
        "29 09:00 -1000",
        "31 09:00 +1400",
        "01 09:00 +1400",
    ]
    assert due({"schedule": "0 9 30 12 *", "timezone": "Pacific/Apia"}, *window) == []


def test_a_change_of_standard_time_is_a_change_like_any() -> None:
    """Pyongyang went half an hour back in 2015 for good, and forward again in 2018."""
    zone = {"timezone": "Asia/Pyongyang"}
    back = ("2015-08-14T14:00:00Z", "2015-08-14T17:00:00Z")
    assert due({"schedule": "45 23 * * *", **zone}, *back) == ["14 23:45 +0900"]
    forward = ("2018-05-04T14:00:00Z", "2018-05-04T17:00:00Z")
    assert due({"schedule": "45 23 * * *", **zone}, *forward) == ["05 00:00 +0900"]


def test_an_offset_with_seconds_loses_nothing() -> None:
    """Monrovia's offset had seconds until 1972: due times are whole local minutes all the same."""
    schedule = CronConnector().schedule({"schedule": "* * * * *", "timezone": "Africa/Monrovia"})
    start = instant("1971-06-01T00:00:00Z")
    found = list(due_between(schedule, start, start + 600 * SECOND, limit=100))
    assert [later - first for first, later in pairwise(found)] == [60 * SECOND] * 9
    assert found[0] // SECOND % 60 == 30
    assert schedule.next_after(found[0] - 1) == found[0]
    assert schedule.next_after(found[0]) == found[1]


@pytest.mark.parametrize(
    ("settings", "at", "expected"),
    [
        (
            {"schedule": "30 2 * * *"},
            "2026-03-29T01:00:00Z",
            MOVED,
        ),
        (
            {"schedule": "0,15,30,45 2 * * *"},
            "2026-03-29T01:00:00Z",
            "moved from 02:00, 02:15, 02:30 and 1 more: the clocks skip it",
        ),
        (
            {"schedule": "0 2,3 * * *"},
            "2026-03-29T01:00:00Z",
            "stands for 02:00 as well: the clocks skip it",
        ),
        ({"schedule": "30 2 * * *"}, "2026-10-25T00:30:00Z", "the second 02:30 is left out"),
        ({"schedule": "30 * * * *"}, "2026-10-25T00:30:00Z", "the first 02:30"),
        ({"schedule": "30 * * * *"}, "2026-10-25T01:30:00Z", "the second 02:30"),
        (
            {"at": "2026-03-29 02:30"},
            "2026-03-29T01:00:00Z",
            MOVED,
        ),
        ({"at": "2026-10-25 02:30"}, "2026-10-25T00:30:00Z", "the second 02:30 is left out"),
        ({"schedule": "30 2 * * *"}, "2026-03-30T00:30:00Z", None),
        ({"schedule": "0 * * * *"}, "2026-03-29T01:00:00Z", None),
        ({"every": "30m"}, "2026-10-25T00:30:00Z", None),
        ({"at": "2026-03-29T01:00:00Z"}, "2026-03-29T01:00:00Z", None),
    ],
)
def test_marks_say_what_a_change_did(
    settings: dict[str, str], at: str, expected: str | None
) -> None:
    """A due time touched by a change carries a note; others none."""
    schedule = CronConnector().schedule({**settings, "timezone": "Europe/Berlin"})
    assert schedule.next_after(instant(at) - 1) == instant(at)
    assert schedule.marks(instant(at)) == (() if expected is None else (expected,))
