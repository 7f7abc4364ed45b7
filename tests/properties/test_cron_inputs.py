"""Whatever is handed in: an answer or an error that a person understands."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.abc import Problem, SettingsError
from connectors.cron import CronConnector, CronSchedule, CronSettings, interval
from connectors.cron import expression as expressions
from connectors.times import HORIZON, instant, jitter_offset, key

KEYS = st.sampled_from([*CronSettings.model_fields, "tz", "evry"]) | st.text(max_size=5)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
TIMES = st.from_regex(
    r"\d{4}-[01]\d-[0-3]\d([T ][0-2]\d:[0-5]\d(:[0-6]\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?",
    fullmatch=True,
)
PLAUSIBLE = st.from_regex(r"[0-9*,/@a-z -]{1,20}", fullmatch=True)


def read(raw: object) -> CronSchedule | list[Problem]:
    """The schedule, or what is wrong; anything else is an exception and fails the test."""
    try:
        return CronConnector().schedule(raw)  # type: ignore[arg-type]
    except SettingsError as error:
        return error.problems


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, JSON_VALUES | TIMES | PLAUSIBLE, max_size=4))
def test_any_settings_give_a_schedule_or_problems(raw: dict[str, object]) -> None:
    """No other exception, no problem without words, no schedule that cannot be asked."""
    found = read(raw)
    if isinstance(found, list):
        assert found
        assert all(p.message and p.remedy for p in found)
        assert "\n" not in "".join(p.path + p.message + p.remedy for p in found)
    else:
        due = found.next_after(-1)
        assert due is not None
        assert key(due)
        assert found.describe()


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"[0-9*,/a-z?#LW-]{1,8}( [0-9*,/a-zLW#-]{1,8}){4}", fullmatch=True))
def test_any_five_words_are_an_expression_or_a_problem(text: str) -> None:
    """An expression that is taken stays the same when it is taken again."""
    found = read({"schedule": text})
    if isinstance(found, list):
        assert len(found) == 1
    else:
        parsed = expressions.parse(text)
        assert expressions.parse(parsed.text) == parsed


@settings(max_examples=300, deadline=None)
@given(TIMES, st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"]))
def test_any_time_is_read_or_refused(text: str, zone: str) -> None:
    """A time that is taken is due once, at an instant with a key."""
    try:
        schedule = CronConnector().schedule({"at": text, "timezone": zone})
    except SettingsError:
        return
    due = schedule.next_after(-1)
    assert due is not None
    assert schedule.next_after(due) is None
    assert instant(key(due)) == due


@given(st.integers(0, HORIZON - 1))
def test_keys_and_instants_are_inverse(due: int) -> None:
    """Each instant has its own key."""
    assert instant(key(due)) == due


@given(st.text(max_size=30))
def test_no_other_text_is_a_key(text: str) -> None:
    """Text is a key only if `key` writes it so."""
    try:
        due = instant(text)
    except ValueError:
        return
    assert key(due) == text


@given(
    st.integers(-HORIZON, HORIZON),
    st.integers(100_000, 10**15),
    st.integers(0, HORIZON),
)
def test_intervals_are_the_nearest_multiple(at: int, every: int, anchor: int) -> None:
    """Strictly later, on the grid, not before its anchor, and nothing between."""
    due = interval.next_after(at, every=every, anchor=anchor)
    assert due > at
    assert due >= anchor
    assert (due - anchor) % every == 0
    assert due == anchor or due - every <= at


@given(st.text(), st.integers(-5, 10**12))
def test_jitter_stays_inside_its_width(seed: str, jitter: int) -> None:
    """Never negative, always less than the width, the same every time."""
    offset = jitter_offset(seed, jitter)
    assert 0 <= offset < max(jitter, 1)
    assert offset == jitter_offset(seed, jitter)


def test_deep_nesting_is_a_problem_and_no_crash() -> None:
    """JSON as deep as a parser lets through."""
    raw = json.loads('{"at":' + "[" * 500 + "]" * 500 + "}")
    for value in (raw, {"every": 10**5000}, {"schedule": {"a": [raw]}}):
        assert isinstance(read(value), list)
