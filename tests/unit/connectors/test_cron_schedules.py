"""Due times away from clock changes: calendar rules, intervals, lists, bounds, and their cost."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Mapping

import pytest

from connectors import durations, zones
from connectors.cron import CronConnector, clock, expression
from connectors.cron import connector as connector_module
from connectors.times import HORIZON, due_between, instant, jitter_offset, key

SECOND = 1_000_000
HOUR = 3600 * SECOND
CONNECTOR = CronConnector()


def due(
    settings: Mapping[str, object], start: str, count: int, end: str | None = None
) -> list[str]:
    schedule = CONNECTOR.schedule(settings)  # type: ignore[arg-type]
    return [key(at) for at in due_between(schedule, instant(start), HORIZON, limit=count)]


def days(expression: str, start: str, count: int) -> list[str]:
    return [at[:10] for at in due({"schedule": expression}, start, count)]


def test_both_day_fields_restricted_means_either() -> None:
    """`0 0 13 * 5`: every 13th, and every Friday."""
    assert days("0 0 13 * 5", "2026-03-01T00:00:00Z", 6) == [
        "2026-03-06",
        "2026-03-13",
        "2026-03-20",
        "2026-03-27",
        "2026-04-03",
        "2026-04-10",
    ]
    assert "2026-05-13" in days("0 0 13 * 5", "2026-05-01T00:00:00Z", 4)


def test_a_star_with_a_step_counts_as_a_star() -> None:
    """`0 0 */2 * 1`: Mondays with an odd date, because Debian's cron looks for the star only."""
    assert days("0 0 */2 * 1", "2026-06-01T00:00:00Z", 3) == [
        "2026-06-01",
        "2026-06-15",
        "2026-06-29",
    ]


@pytest.mark.parametrize("sunday", ["0", "7", "sun", "SUN", "0,7", "7-7"])
def test_sunday_is_0_and_7(sunday: str) -> None:
    """Sunday has two numbers and a name, and is one day."""
    assert days(f"0 0 * * {sunday}", "2026-11-01T00:00:00Z", 3) == [
        "2026-11-01",
        "2026-11-08",
        "2026-11-15",
    ]


def test_a_range_up_to_7_ends_on_sunday() -> None:
    """`sat-7` does not exist, `6-7` is the weekend."""
    assert days("0 0 * * 6-7", "2026-11-02T00:00:00Z", 3) == [
        "2026-11-07",
        "2026-11-08",
        "2026-11-14",
    ]


def test_leap_days() -> None:
    """29 February comes every four years, and not in 2100."""
    assert days("0 0 29 2 *", "2095-01-01T00:00:00Z", 3) == [
        "2096-02-29",
        "2104-02-29",
        "2108-02-29",
    ]
    assert days("0 0 29 2 */7", "2060-03-01T00:00:00Z", 2) == ["2088-02-29", "2128-02-29"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("  0\t0 1   JAN *\n", "0 0 1 1 *"),
    ],
)
def test_nicknames_and_blanks(name: str, written: str) -> None:
    """A nickname is its five fields; blanks and case do not matter."""
    start = "2026-05-05T05:05:05Z"
    assert due({"schedule": name}, start, 5) == due({"schedule": written}, start, 5)


def test_a_range_of_one_number_with_a_step_is_that_number() -> None:
    """`12-12/1` is noon, not every hour from noon on."""
    assert due({"schedule": "0 12-12/1 * * *"}, "2026-01-01T00:00:00Z", 2) == [
        "2026-01-01T12:00:00Z",
        "2026-01-02T12:00:00Z",
    ]


def test_intervals_are_anchored() -> None:
    """Without a start at the epoch, with one at the start; never at the moment of asking."""
    assert due({"every": "15s"}, "2026-01-01T00:00:07Z", 2) == [
        "2026-01-01T00:00:15Z",
        "2026-01-01T00:00:30Z",
    ]
    started = {"every": "1h30m", "start": "2026-01-01T00:10:00Z"}
    assert due(started, "2025-01-01T00:00:00Z", 2) == [
        "2026-01-01T00:10:00Z",
        "2026-01-01T01:40:00Z",
    ]
    assert due(started, "2026-01-01T01:40:00Z", 1) == ["2026-01-01T01:40:00Z"]
    assert due({"every": "200ms"}, "2026-01-01T00:00:00.2Z", 2) == [
        "2026-01-01T00:00:00.2Z",
        "2026-01-01T00:00:00.4Z",
    ]


def test_lists_of_times() -> None:
    """In order, whatever the order and form they are written in; then never again."""
    times = ["2026-05-01T12:00:00+02:00", "2026-04-01 09:30", "2026-04-01T09:30:15.250Z"]
    assert due({"at": times, "timezone": "Europe/Berlin"}, "2026-01-01T00:00:00Z", 10) == [
        "2026-04-01T07:30:00Z",
        "2026-04-01T09:30:15.25Z",
        "2026-05-01T10:00:00Z",
    ]
    assert due({"at": "2026-05-01t12:00:00z"}, "2026-01-01T00:00:00Z", 9) == [
        "2026-05-01T12:00:00Z"
    ]


def test_a_listed_time_on_a_day_that_is_not_there_is_kept() -> None:
    """What is asked for by name is not lost: it comes when the calendar goes on."""
    settings = {"at": "2011-12-30 09:00", "timezone": "Pacific/Apia"}
    assert due(settings, "2011-01-01T00:00:00Z", 9) == ["2011-12-30T10:00:00Z"]


def test_start_is_inclusive_and_end_exclusive() -> None:
    """Bounds are read in the trigger's zone; a date is its first instant there."""
    bounds = {"start": "2026-03-01", "end": "2026-03-03", "timezone": "Europe/Berlin"}
    assert due({"schedule": "@daily", **bounds}, "2020-01-01T00:00:00Z", 10) == [
        "2026-02-28T23:00:00Z",
        "2026-03-01T23:00:00Z",
    ]
    assert due({"every": "12h", **bounds}, "2020-01-01T00:00:00Z", 10)[-1] == "2026-03-02T11:00:00Z"


def test_windows_are_half_open_and_limited() -> None:
    """`due_between` holds its start, not its end, and never more than asked."""
    schedule = CONNECTOR.schedule({"every": "1s"})
    assert list(due_between(schedule, 0, 3 * SECOND, 10)) == [0, SECOND, 2 * SECOND]
    assert list(due_between(schedule, 0, 3 * SECOND, 2)) == [0, SECOND]
    assert list(due_between(schedule, 0, 3 * SECOND, 0)) == []
    assert list(due_between(schedule, 5, 5, 10)) == []


@pytest.mark.parametrize("settings", [{"every": "1s"}, {"schedule": "* * * * *"}])
def test_the_ends_of_time_are_quiet(settings: dict[str, str]) -> None:
    """Nothing is due before 1970 or from the year 9000 on, and nothing overflows there."""
    schedule = CONNECTOR.schedule({**settings, "timezone": "Europe/Berlin"})
    assert schedule.next_after(-(10**18)) == 0
    assert schedule.next_after(HORIZON - 1) is None
    assert schedule.next_after(10**30) is None
    last = schedule.next_after(HORIZON - 120 * SECOND)
    assert last is not None
    assert last < HORIZON


def test_the_process_zone_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """TZ of the process changes no due time."""
    before = due({"schedule": "0 2 * * *"}, "2026-01-01T00:00:00Z", 3)
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        clock._next_after_minute.cache_clear()  # pyright: ignore[reportPrivateUsage]
        assert due({"schedule": "0 2 * * *"}, "2026-01-01T00:00:00Z", 3) == before
    finally:
        monkeypatch.undo()
        time.tzset()
    assert os.environ.get("TZ") != "Asia/Kolkata"


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"every": "15s"}, "every 15 s"),
        ({"every": "1h30m", "jitter": "5m"}, "every 1 h 30 min, spread over 5 min"),
        (
            {"schedule": "0 2 * * mon", "timezone": "Europe/Berlin"},
            "at 02:00 on Monday in Europe/Berlin",
        ),
        (
            {"schedule": "@daily", "start": "2026-01-01", "end": "2027-01-01"},
            "at 00:00 every day in UTC, from 2026-01-01 00:00:00, until before 2027-01-01 00:00:00",
        ),
        ({"at": "2026-01-01T00:00:00.5Z"}, "once, at 2026-01-01 00:00:00.5 in UTC"),
        (
            {"at": ["2027-01-01 00:00", "2026-01-01 00:00"]},
            "2 times, the first at 2026-01-01 00:00:00 in UTC",
        ),
    ],
)
def test_schedules_describe_themselves(settings: dict[str, object], phrase: str) -> None:
    """People read what was understood."""
    assert CONNECTOR.schedule(settings).describe() == phrase  # type: ignore[arg-type]


def test_jitter_is_stable_bounded_and_spread() -> None:
    """The same for ever (the values are part of what users rely on), even over its width."""
    assert jitter_offset("a1b2c3", 300 * SECOND) == 162_039_436
    assert jitter_offset("anything", 0) == 0
    assert jitter_offset("anything", 1) == 0
    offsets = [jitter_offset(f"trigger {n}", HOUR) for n in range(4000)]
    assert all(0 <= offset < HOUR for offset in offsets)
    tenths = [0] * 10
    for offset in offsets:
        tenths[offset * 10 // HOUR] += 1
    assert min(tenths) > 320
    assert max(tenths) < 480


def test_jitter_leaves_due_times_alone() -> None:
    """Due times, and so the keys, stay nominal."""
    with_jitter = CONNECTOR.schedule({"schedule": "@hourly", "jitter": "5m"})
    assert with_jitter.jitter == 300 * SECOND
    assert with_jitter.next_after(0) == HOUR


@pytest.mark.parametrize(
    ("due_time", "text"),
    [
        (1_774_746_000 * SECOND, "2026-03-29T01:00:00Z"),
        (200_000, "1970-01-01T00:00:00.2Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (HORIZON - 1, "8999-12-31T23:59:59.999999Z"),
    ],
)
def test_keys_have_one_form(due_time: int, text: str) -> None:
    """One instant has one key, and the key gives the instant back."""
    assert key(due_time) == text
    assert instant(text) == due_time


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-29",
        "2026-03-29T01:00:00",
        "2026-03-29T01:00:00+00:00",
        "2026-03-29T01:00:00.0Z",
        "2026-03-29T01:00:00.20Z",
        "2026-13-29T01:00:00Z",
        "1969-12-31T23:59:59Z",
        "9000-01-01T00:00:00Z",
        "2026-03-29 01:00:00Z",
        "٢٠٢٦-03-29T01:00:00Z",
        "2026-03-29T01:00:00Z\n",
    ],
)
def test_other_forms_are_no_keys(text: str) -> None:
    """A second spelling of an instant would be a second run of it."""
    with pytest.raises(ValueError, match="is not the key of a due time"):
        instant(text)


@pytest.mark.parametrize("outside", [-1, HORIZON])
def test_no_key_outside_the_calendar(outside: int) -> None:
    """Instants that are never due have no key."""
    with pytest.raises(ValueError, match="outside 1970 to 8999"):
        key(outside)


def test_durations() -> None:
    """The forms that people write, and back to a phrase."""
    assert durations.parse("7d") == 7 * 24 * HOUR
    assert durations.parse("1d2h3m4s5ms") == 93_784_005_000
    assert durations.show(93_784_005_000) == "1 d 2 h 3 min 4 s 5 ms"
    assert durations.show(0) == "0 s"


def test_equal_settings_share_a_schedule_and_the_caches_are_bounded() -> None:
    """A million triggers do not each hold a schedule: every cache has an upper size."""
    settings = {"schedule": "5 4 * * *", "timezone": "Europe/Berlin"}
    again = dict(reversed(settings.items()))
    assert CONNECTOR.schedule(settings) is CONNECTOR.schedule(again)
    for cached in (
        connector_module._schedule,  # pyright: ignore[reportPrivateUsage]
        clock._next_after_minute,  # pyright: ignore[reportPrivateUsage]
        expression.parse,
        zones._stretch,  # pyright: ignore[reportPrivateUsage]
        zones._zone,  # pyright: ignore[reportPrivateUsage]
    ):
        limit = cached.cache_info().maxsize
        assert limit is not None
        assert limit <= 16_384


def test_memory_does_not_grow_with_the_number_of_triggers() -> None:
    """Thousands of different schedules, each asked once, leave only what the caches may hold."""
    for n in range(6000):
        CONNECTOR.schedule({"every": "15s", "jitter": f"{n}ms"}).next_after(0)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(6000, 15_000):
            CONNECTOR.schedule({"every": "15s", "jitter": f"{n}ms"}).next_after(0)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 12_000_000


def test_triggers_with_one_expression_share_the_work() -> None:
    """Due in the same minute, asked at different instants of it: computed once."""
    cached = clock._next_after_minute  # pyright: ignore[reportPrivateUsage]
    cached.cache_clear()
    schedule = CONNECTOR.schedule({"schedule": "*/5 * * * *", "timezone": "Europe/Berlin"})
    start = instant("2026-05-05T05:05:00Z")
    answers = {schedule.next_after(start + n * 59_000) for n in range(1000)}
    assert answers == {instant("2026-05-05T05:10:00Z")}
    assert cached.cache_info().misses == 1
