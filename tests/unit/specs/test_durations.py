"""Durations as text and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import specs

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("200ms", 200_000),
        ("10s", 10 * SECOND),
        ("5m", 300 * SECOND),
        ("1h30m", 5400 * SECOND),
        ("7d", 7 * 86400 * SECOND),
        ("2w", 14 * 86400 * SECOND),
        ("1.5s", 1_500_000),
        ("0.000001s", 1),
        ("1d2h3m4s5ms6us", 93_784_005_006),
        ("90m", 5400 * SECOND),
        (" 5m ", 300 * SECOND),
        ("0", 0),
        ("0s", 0),
        (0, 0),
    ],
)
def test_read(text, micros):
    """Durations are read to the microsecond."""
    assert specs.duration(text) == micros


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a duration"),
        ("5", "not a duration"),
        (5, "Write 5s"),
        (1.5, "without a unit"),
        (True, "not a duration"),
        (None, "not a duration"),
        ("-5m", "negative"),
        ("5 m", "not a duration"),
        ("5M", "not a duration"),
        ("five minutes", "1h30m"),
        ("1m1h", "mixes up"),
        ("1m1m", "repeats"),
        ("1e3s", "not a duration"),
        ("101y", "not a duration"),
        ("36501d", "hundred years"),
        ("999999999999999w", "hundred years"),
        ("9" * 1000 + "s", "not a duration"),
        ("0.0000001s", "not a duration"),
        ("0.1us", "finer"),
        ("٣s", "not a duration"),
    ],
)
def test_refuse(text, words):
    """Anything else is refused with the remedy."""
    with pytest.raises(ValueError, match=words):
        specs.duration(text)


@given(st.integers(0, specs.MAX_DURATION))
def test_round_trip(micros):
    """Every duration is written so that it reads back as the same."""
    assert specs.duration(specs.format_duration(micros)) == micros


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0s"), (300 * SECOND, "5m"), (5400 * SECOND, "1h30m"), (1_500_000, "1s500ms"), (1, "1us")],
)
def test_write(micros, text):
    """The canonical form is the shortest with whole units."""
    assert specs.format_duration(micros) == text


def test_negative_is_not_written():
    """A negative duration is a mistake of the caller."""
    with pytest.raises(ValueError, match="negative"):
        specs.format_duration(-1)
