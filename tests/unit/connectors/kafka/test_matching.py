"""How a partition is cut into ranges with wanted records and stretches without."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.matching import Cut, Matching


@given(
    begin=st.integers(0, 20),
    wanted=st.sets(st.integers(0, 300)),
    steps=st.lists(st.integers(0, 60), max_size=12),
    size=st.integers(1, 50),
    closes=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_cuts_tile_and_hold_every_match(
    begin: int, wanted: set[int], steps: list[int], size: int, closes: list[bool]
) -> None:
    """They follow each other from the beginning; a range begins and ends with a match, spans at
    most its size, and its matches are counted; a stretch has none; nothing wanted is in none."""
    matching = Matching(begin, size)
    position = begin
    for step, close in zip(steps, closes, strict=False):
        matches = sorted(o for o in wanted if position <= o < position + step)
        position += step
        matching.feed(matches, position)
        if close:
            matching.close()
    matching.close()
    matching.close()
    at = begin
    for start, end, matches in matching.cuts:
        inside = sorted(o for o in wanted if start <= o < end)
        assert start == at
        assert end > start
        assert len(inside) == matches
        if matches:
            assert (inside[0], inside[-1] + 1) == (start, end)
            assert end - start <= size
        at = end
    assert at == position


def test_what_is_behind_the_last_match_stays_open() -> None:
    """So that it can become part of a longer stretch, instead of a row of its own in the ledger."""
    matching = Matching(0, 10)
    matching.feed([3, 5], 9)
    matching.close()
    assert matching.cuts == [Cut(0, 3, 0), Cut(3, 6, 2)]
    matching.feed([20], 40)
    assert matching.cuts[2:] == [Cut(6, 20, 0), Cut(20, 21, 1)]
    assert (matching.open_offsets, matching.open_matches) == (19, 0)


def test_cuts_that_were_taken_in_are_forgotten() -> None:
    """`begin` is where the next cut to hand over begins."""
    matching = Matching(0, 10)
    matching.feed([3, 30, 60], 100)
    assert matching.begin == 0
    matching.take_before(4)
    assert matching.begin == 4
    matching.take_before(99)
    assert matching.begin == 61
