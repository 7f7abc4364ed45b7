"""Positions are text that says the same for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kinesis import KinesisConnector, positions
from connectors.kinesis.positions import Position, after, at, parse, since

NUMBERS = st.integers(min_value=0, max_value=10**128)


@given(st.one_of(NUMBERS.map(at), NUMBERS.map(after), NUMBERS.map(since)))
def test_what_is_written_is_read_again(position: Position):
    """A position survives the store, however long its number is."""
    assert parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        "",
        "LATEST",
        "latest",
        "at:",
        "at:-1",
        "after:01",
        "at:١",
        "time:1.5",
        "at:1\n",
        "495",
        "end",
    ],
)
def test_what_is_no_position_is_refused_with_what_to_write(text: str):
    """In particular LATEST, which means another place each time."""
    with pytest.raises(ValueError, match="TRIM_HORIZON, at:SEQUENCE"):
        parse(text)


@pytest.mark.parametrize(
    ("written", "position"),
    [
        (" after:12 ", "after:12"),
        ("trim_horizon", "TRIM_HORIZON"),
        ("end", "end"),
        ("time:1700000000000", "time:1700000000000"),
    ],
)
def test_people_may_write_a_position(written: str, position: str):
    """`orch checkpoints set` takes every form, and stores the connector's own."""
    assert KinesisConnector().position({"stream": "clicks"}, written) == position


def test_a_bare_number_is_refused_because_it_does_not_say_which_side():
    """Whether the record itself is still to come makes a difference."""
    with pytest.raises(ValueError, match="at:SEQUENCE"):
        KinesisConnector().position({"stream": "clicks"}, "12")


def test_the_oldest_record_has_a_name_of_its_own():
    """It is Kinesis' own word."""
    assert str(positions.TRIM_HORIZON) == "TRIM_HORIZON"
