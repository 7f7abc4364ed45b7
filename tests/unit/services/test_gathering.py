"""Messages become batches, by count, size, weight and age; groups stay by themselves."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.queues import Gathering, Message
from orchestrator.domain.clock import SECOND
from orchestrator.services.gathering import Gatherer, Line, to_line


def _message(number: int, *, group: str = "", weight: int = 0, receipt: str = "") -> Message:
    return Message(id=f"m{number}", body={"n": number}, group=group, weight=weight, receipt=receipt)


def _ids(batches: object) -> list[list[str]]:
    assert isinstance(batches, list | tuple)
    return [[line.message.id for line in lines] for lines in batches]


@pytest.mark.parametrize(
    ("gathering", "sizes"),
    [
        (Gathering(size=4), [4, 4, 2]),
        (Gathering(size=100, bytes=24), [3, 3, 3, 1]),  # a line has eight bytes
        (Gathering(size=100, weight=25), [2, 2, 2, 2, 2]),
        (Gathering(size=100, weight=10), [1] * 10),
        (Gathering(size=100, weight=5), [1] * 10),
        (Gathering(size=100), [10]),
    ],
)
def test_limits(gathering: Gathering, sizes: list[int]) -> None:
    """Whichever limit comes first closes a batch; what is too large alone is a batch alone."""
    gatherer = Gatherer(gathering, 1000)
    gatherer.add([_message(number, weight=10) for number in range(10)], 0.0)
    batches = gatherer.take(0.0, 100)
    assert [len(lines) for lines in batches] == sizes
    in_order = [line.message.id for lines in batches for line in lines]
    assert in_order == [f"m{number}" for number in range(10)]


def test_a_run_is_given_no_more_than_fits() -> None:
    """What one run may be given goes before what the settings say."""
    gatherer = Gatherer(Gathering(size=100, bytes=10**6), 16)
    gatherer.add([_message(number) for number in range(4)], 0.0)
    assert [len(lines) for lines in gatherer.take(0.0, 100)] == [2, 2]


def test_the_window() -> None:
    """A batch that is not full goes when its first message has waited long enough."""
    gatherer = Gatherer(Gathering(size=3, window=10 * SECOND), 1000)
    gatherer.add([_message(1)], 100.0)
    assert gatherer.take(109.0, 9) == []
    gatherer.add([_message(2)], 109.0)
    assert gatherer.due(109.0) == 1.0
    assert _ids(gatherer.take(110.0, 9)) == [["m1", "m2"]]
    assert gatherer.due(110.0) is None


def test_groups_stay_apart() -> None:
    """Each group has batches of its own, in its own order."""
    gatherer = Gatherer(Gathering(size=2), 1000)
    gatherer.add([_message(n, group="ab"[n % 2]) for n in range(5)], 0.0)
    assert sorted(_ids(gatherer.take(0.0, 9))) == [["m0", "m2"], ["m1", "m3"], ["m4"]]


def test_what_there_is_no_room_for_waits() -> None:
    """Batches that cannot start stay, in their order, and are due at once."""
    gatherer = Gatherer(Gathering(size=1), 1000)
    gatherer.add([_message(n) for n in range(3)], 0.0)
    assert _ids(gatherer.take(0.0, 2)) == [["m0"], ["m1"]]
    assert gatherer.due(0.0) == 0.0
    assert _ids(gatherer.take(0.0, 2)) == [["m2"]]


def test_a_message_that_comes_again() -> None:
    """It is in one batch, with its newest receipt; once it was taken it is new again."""
    gatherer = Gatherer(Gathering(size=2, window=SECOND), 1000)
    gatherer.add([_message(1, receipt="old")], 0.0)
    gatherer.add([_message(1, receipt="new")], 0.0)
    assert gatherer.held == 1
    [batch] = gatherer.take(1.0, 9)
    assert [line.message.receipt for line in batch] == ["new"]
    gatherer.add([_message(1)], 1.0)
    assert gatherer.take(9.0, 9) == []  # it is held until it is taken
    gatherer.taken([batch])
    gatherer.add([_message(1)], 9.0)
    assert _ids(gatherer.take(10.0, 9)) == [["m1"]]


def test_giving_up() -> None:
    """Nothing is held afterwards."""
    gatherer = Gatherer(Gathering(size=2), 1000)
    gatherer.add([_message(n) for n in range(5)], 0.0)
    gatherer.clear()
    assert (gatherer.held, gatherer.take(0.0, 9), gatherer.due(0.0)) == (0, [], None)


def test_a_line_is_json_whatever_it_holds() -> None:
    """Half a character from outside is no reason to fail."""
    line = to_line(Message(id="m", body={"text": "a\nb\ud800\u00e4"}))
    assert line.text.endswith(b"\n")
    assert json.loads(line.text) == {"text": "a\nb?\u00e4"}


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=60),
    st.integers(1, 8),
    st.integers(1, 200),
    st.integers(0, 60),
)
def test_every_message_is_in_one_batch(
    messages: list[tuple[int, int]], size: int, limit: int, weight: int
) -> None:
    """Whatever comes: each once, in order within its group, and no batch beyond its limits unless
    it is one message."""
    gatherer = Gatherer(Gathering(size=size, weight=weight), limit)
    given = [_message(n, group=str(g), weight=w) for n, (g, w) in enumerate(messages)]
    batches: list[list[Line]] = []
    for message in given:
        gatherer.add([message], 0.0)
        batches += [list(lines) for lines in gatherer.take(-1.0, 2)]
    while found := gatherer.take(1.0, 5):
        batches += [list(lines) for lines in found]
    for group in {message.group for message in given}:
        mine = [m.id for m in given if m.group == group]
        taken = [line.message.id for b in batches for line in b if line.message.group == group]
        assert taken == mine
    for batch in batches:
        assert len({line.message.group for line in batch}) == 1
        if len(batch) > 1:
            assert len(batch) <= size
            assert sum(len(line.text) for line in batch) <= limit
            assert not weight or sum(line.message.weight for line in batch) <= weight


def test_what_is_put_back_is_the_first_to_be_taken() -> None:
    """Before what became complete meanwhile, without what is known to be in another run."""
    gatherer = Gatherer(Gathering(size=2), 1000)
    gatherer.add([_message(number) for number in range(6)], 0.0)
    gatherer.put_back(gatherer.take(0.0, 2), {"m0", "m2", "m3"})
    gatherer.add([_message(1, receipt="new")], 0.0)
    assert gatherer.held == 3
    taken = gatherer.take(0.0, 9)
    assert _ids(taken) == [["m1"], ["m4", "m5"]]
    assert taken[0][0].message.receipt == "new"
