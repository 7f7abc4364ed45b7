"""Settings of cron triggers: what is refused, where, and what to write instead."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.cron import CronConnector, CronSettings, parse_settings

BAD: list[tuple[dict[str, Any], str, str, str]] = [
    # settings, path, part of the message, part of the remedy
    ({}, "", "nothing says when", "one of `schedule`, `every` and `at`"),
    ({"schedule": None}, "", "nothing says when", "one of `schedule`"),
    (
        {"schedule": "@daily", "every": "5m"},
        "every",
        "schedule and every are given together",
        "keep one",
    ),
    (
        {"schedule": "@daily", "every": "5m", "at": "2026-01-01 00:00"},
        "every",
        "every and at are given together",
        "keep one",
    ),
    ({"schedul": "@daily", "every": "5m"}, "schedul", "unknown setting", "'schedule'"),
    ({"every": "5m", "tz": "UTC"}, "tz", "unknown setting", "known are schedule"),
    ({"every": "5m", "a b\n": 1}, "'a b\\n'", "unknown setting", "known are"),
    ({"schedule": 5}, "schedule", "5 is not text", "in quotes"),
    ({"schedule": ""}, "schedule", "0 fields", "write five"),
    ({"schedule": "0 2 * *"}, "schedule", "4 fields", "write five"),
    ({"schedule": "0 0 2 * * *"}, "schedule", "6 fields", "no seconds (use `every: 10s`)"),
    ({"schedule": "0 2 * * * /bin/true"}, "schedule", "6 fields", "no command"),
    ({"schedule": "@reboot"}, "schedule", "has no time", "orch triggers fire"),
    ({"schedule": "@dayly"}, "schedule", "not a name", "'@daily'"),
    ({"schedule": "@never-ever"}, "schedule", "not a name", "@hourly, @daily"),
    ({"schedule": "60 * * * *"}, "schedule", "'60' is not valid, in the minute field", "0 to 59"),
    ({"schedule": "0 24 * * *"}, "schedule", "'24' is not valid, in the hour field", "0 to 23"),
    ({"schedule": "0 0 0 * *"}, "schedule", "in the day of the month field", "1 to 31"),
    ({"schedule": "0 0 * 13 *"}, "schedule", "in the month field", "1 to 12 or jan to dec"),
    ({"schedule": "0 0 * sept *"}, "schedule", "'sept' is not valid", "perhaps sep"),
    ({"schedule": "0 0 * * 8"}, "schedule", "in the day of the week field", "0 to 7"),
    ({"schedule": "0 0 * * monday"}, "schedule", "'monday'", "perhaps mon"),
    ({"schedule": "0 0 * * fri-mon"}, "schedule", "runs backwards", "fri-sat,sun-mon"),
    ({"schedule": "0 0 * * sat-sun"}, "schedule", "runs backwards", "sat,sun"),
    ({"schedule": "50-10 * * * *"}, "schedule", "runs backwards", "50-59,0-10"),
    ({"schedule": "5/10 * * * *"}, "schedule", "step without a range", "5-59/10"),
    ({"schedule": "*/0 * * * *"}, "schedule", "step of 0", "1 or more"),
    ({"schedule": "*/90 * * * *"}, "schedule", "longer than the field", "`every: 90m`"),
    ({"schedule": "1,,2 * * * *"}, "schedule", "empty place", "comma"),
    ({"schedule": "* * ? * *"}, "schedule", "Quartz", "write *"),
    ({"schedule": "0 0 L * *"}, "schedule", "Quartz", "28-31"),
    ({"schedule": "0 0 15W * *"}, "schedule", "Quartz", "28-31"),
    ({"schedule": "0 0 * * 5L"}, "schedule", "Quartz", "`at:`"),
    ({"schedule": "0 0 * * mon#2"}, "schedule", "Quartz", "`at:`"),
    ({"schedule": "H 2 * * *"}, "schedule", "random time", "jitter"),
    ({"schedule": "0~30 2 * * *"}, "schedule", "random time", "jitter"),
    ({"schedule": "-5 * * * *"}, "schedule", "is not cron", "1-5"),
    ({"schedule": "0 0 * * ſat"}, "schedule", "not ASCII", "retype"),
    ({"schedule": "٥ * * * *"}, "schedule", "not ASCII", "retype"),
    ({"schedule": "9" * 5000 + " * * * *"}, "schedule", "characters", "at most 1024"),
    ({"schedule": "0 0 31 2 *"}, "schedule", "never comes: no feb has a day 31", "up to 29"),
    ({"schedule": "0 0 31 4,jun */2"}, "schedule", "never comes: no apr, jun", "up to 30"),
    ({"every": 15}, "every", "15 has no unit", "write 15s"),
    ({"every": True}, "every", "True has no unit", "write 10s"),
    ({"every": "15"}, "every", "not a duration", "10s"),
    ({"every": "1.5h"}, "every", "not a duration", "1h30m"),
    ({"every": "5m1h"}, "every", "not a duration", "1h30m"),
    ({"every": "5 m"}, "every", "not a duration", "5m"),
    ({"every": "-5m"}, "every", "not a duration", "5m"),
    ({"every": "5m\n"}, "every", "not a duration", "5m"),
    ({"every": "0s"}, "every", "0 s is outside", "longer interval"),
    ({"every": "99ms"}, "every", "99 ms is outside", "longer interval"),
    ({"every": "3651d"}, "every", "3651 d is outside", "`schedule` or `at`"),
    ({"every": "1m", "jitter": "61s"}, "jitter", "longer than 1 min", "at most 1m"),
    ({"schedule": "@daily", "jitter": "2d"}, "jitter", "longer than 1 d", "at most 1d"),
    ({"every": "1m", "timezone": "europe/berlin"}, "timezone", "not a time", "'Europe/Berlin'"),
    ({"every": "1m", "timezone": "Berlin"}, "timezone", "not a time zone", "'Europe/Berlin'"),
    ({"every": "1m", "timezone": "Europe/Belrin"}, "timezone", "not a", "'Europe/Berlin'"),
    ({"every": "1m", "timezone": "New York"}, "timezone", "not a", "'America/New_York'"),
    ({"every": "1m", "timezone": "../../etc/passwd"}, "timezone", "not a time zone", "IANA"),
    ({"every": "1m", "timezone": "localtime"}, "timezone", "not a time zone", "IANA"),
    ({"every": "1m", "timezone": 1}, "timezone", "1 is not text", "in quotes"),
    ({"at": []}, "at", "has 0 entries", "1 to 10000"),
    ({"at": ["2026-01-01 00:00"] * 10_001}, "at", "has 10001 entries", "several triggers"),
    ({"at": {"a": 1}}, "at", "{'a': 1} is not a list", "write a list"),
    ({"every": 10**5000}, "every", "this int has no unit", "10s"),
    ({"at": [5]}, "at[0]", "5 is not text", "in quotes"),
    ({"at": "tomorrow"}, "at[0]", "'tomorrow' is not a time", "2026-03-29 03:00"),
    ({"at": "2026-01-01"}, "at[0]", "is not a time", "2026-03-29 03:00"),
    ({"at": ["2026-01-01 00:00", "2026-02-30 00:00"]}, "at[1]", "out of range", "2026-03-29"),
    ({"at": "2026-01-01 24:00"}, "at[0]", "is not a time", "2026"),
    ({"at": "2026-01-01T00:00:00+25:00"}, "at[0]", "+25:00 is not an offset", "2026"),
    ({"at": "1969-01-01 00:00"}, "at[0]", "outside the years", "in them"),
    ({"at": "9999-01-01 00:00"}, "at[0]", "outside the years", "in them"),
    ({"at": "1970-01-01T00:00:00+01:00"}, "at[0]", "before 1970", "later"),
    (
        {"at": ["2026-01-01T12:00:00Z", "2026-01-01T13:00:00+01:00"]},
        "at[1]",
        "the same instant as at[0], 2026-01-01T12:00:00Z",
        "remove one",
    ),
    ({"every": "1m", "start": "soon"}, "start", "'soon' is not a time", "or 2026-03-29"),
    ({"every": "1m", "start": ""}, "start", "'' is not a time", "or 2026-03-29"),
    ({"every": "1m", "start": 2026}, "start", "2026 is not text", "in quotes"),
    ({"every": "1m", "start": datetime.date(2026, 1, 1)}, "start", "is not text", "in quotes"),
    ({"every": "1m", "end": "2026-01-32"}, "end", "is not a time", "2026"),
    (
        {"every": "1m", "start": "2026-02-01", "end": "2026-02-01"},
        "end",
        "is not after the start, 2026-02-01T00:00:00Z",
        "later end",
    ),
    (
        {"schedule": "0 0 29 2 *", "start": "2026-01-01", "end": "2027-01-01"},
        "end",
        "nothing is due",
        "widen",
    ),
    ({"at": "2026-01-01 00:00", "start": "2026-01-02"}, "start", "nothing is due", "widen"),
]


@pytest.mark.parametrize(("settings", "path", "message", "remedy"), BAD)
def test_bad_settings_name_place_reason_and_remedy(
    settings: dict[str, Any], path: str, message: str, remedy: str
) -> None:
    """One mistake, one problem, at the key that is to blame, with what to write instead."""
    with pytest.raises(SettingsError) as caught:
        CronConnector().schedule(settings)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message
    assert remedy in problem.remedy
    assert problem.message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody wants to mend a file one error at a time."""
    with pytest.raises(SettingsError) as caught:
        parse_settings({"schedule": "61 * * * *", "timezone": "Mars", "jitter": 5, "sart": "x"})
    assert [p.path for p in caught.value.problems] == ["schedule", "timezone", "jitter", "sart"]
    with pytest.raises(SettingsError) as caught:
        parse_settings({"at": ["x", "y"], "start": "z", "jitter": "2d"})
    assert [p.path for p in caught.value.problems] == ["jitter", "at[0]", "at[1]", "start"]


def test_settings_are_frozen_values() -> None:
    """What was checked cannot change afterwards."""
    settings = parse_settings({"every": "15s", "jitter": "200ms"})
    assert (settings.every, settings.jitter, settings.timezone) == (15_000_000, 200_000, "UTC")
    with pytest.raises(ValueError, match="frozen"):
        settings.timezone = "Europe/Berlin"  # type: ignore[misc]


def test_the_model_gives_a_schema_for_editors() -> None:
    """Every key has a description, unknown keys are refused, exactly one of three is needed."""
    schema = CronSettings.model_json_schema()
    assert schema["additionalProperties"] is False
    assert [one["required"] for one in schema["oneOf"]] == [["schedule"], ["every"], ["at"]]
    assert all("description" in field for field in schema["properties"].values())
    assert set(schema["properties"]) == {
        "schedule",
        "every",
        "at",
        "timezone",
        "start",
        "end",
        "jitter",
    }


def test_a_schedule_may_change_without_reset() -> None:
    """Time is one source: no setting of cron identifies another."""
    connector = CronConnector()
    assert connector.identity({"every": "5s"}) == connector.identity({"schedule": "@daily"})
    with pytest.raises(SettingsError):
        connector.identity({"every": "nonsense"})
