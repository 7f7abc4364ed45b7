"""Which missed due times still run."""

from __future__ import annotations

from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.catchup import GRACE, CatchUp, Due, due_times
from orchestrator.domain.clock import DAY, HOUR, MINUTE, SECOND


class Every:
    """Due at every multiple of a number, until an end."""

    def __init__(self, every: int, end: int | None = None) -> None:
        self.every, self.end = every, end

    def next_after(self, instant: int, /) -> int | None:
        at = (instant // self.every + 1) * self.every
        return at if self.end is None or at <= self.end else None


def caught(schedule: Every, first: int, now: int, policy: CatchUp, offset: int = 0) -> list[Due]:
    return list(due_times(schedule, first, now=now, offset=offset, policy=policy))


def kept(dues: list[Due]) -> list[int]:
    return [due.at for due in dues if not due.missed]


NOON = 12 * HOUR


def test_nothing_is_due_yet() -> None:
    """Before its time a due time is not there, at its time it is."""
    assert caught(Every(HOUR), NOON, NOON - 1, CatchUp()) == []
    [due] = caught(Every(HOUR), NOON, NOON, CatchUp())
    assert due == Due(at=NOON, following=NOON + HOUR, missed=False)


def test_asleep_for_a_day() -> None:
    """Every due time is told; those of the last ten minutes run."""
    dues = caught(Every(MINUTE), MINUTE, DAY, CatchUp())
    assert [due.at for due in dues] == list(range(MINUTE, DAY + 1, MINUTE))
    assert kept(dues) == list(range(DAY - 10 * MINUTE, DAY + 1, MINUTE))


def test_the_latest_always_runs() -> None:
    """Also where it was missed by far more than the window."""
    dues = caught(Every(DAY), DAY, 3 * DAY + 20 * HOUR, CatchUp())
    assert kept(dues) == [3 * DAY]
    assert kept(caught(Every(DAY), DAY, 3 * DAY + HOUR, CatchUp(window=0))) == [3 * DAY]


def test_catch_up_none() -> None:
    """What was missed is missed, the latest too; a busy second is not a miss."""
    policy = CatchUp(window=None)
    assert kept(caught(Every(HOUR), HOUR, 3 * HOUR + MINUTE, policy)) == []
    assert kept(caught(Every(HOUR), 3 * HOUR, 3 * HOUR + GRACE, policy)) == [3 * HOUR]
    assert kept(caught(Every(HOUR), 3 * HOUR, 3 * HOUR + GRACE + 1, policy)) == []


def test_limit() -> None:
    """Of those in the window only the newest run."""
    policy = CatchUp(window=HOUR, limit=3)
    assert kept(caught(Every(MINUTE), MINUTE, DAY, policy)) == [
        DAY - 2 * MINUTE,
        DAY - MINUTE,
        DAY,
    ]
    assert kept(caught(Every(DAY), DAY, 5 * DAY + 2 * HOUR, policy)) == [5 * DAY]


def test_jitter_moves_the_time_and_not_the_due_time() -> None:
    """A trigger that fires 10 s late by jitter is not late."""
    late = 10 * SECOND
    assert caught(Every(MINUTE), NOON, NOON + late - 1, CatchUp(), late) == []
    [due] = caught(Every(MINUTE), NOON, NOON + late, CatchUp(window=None), late)
    assert (due.at, due.missed) == (NOON, False)


def test_the_last_of_all() -> None:
    """A schedule that ends says so with its last due time."""
    [due] = caught(Every(HOUR, NOON), NOON, DAY, CatchUp())
    assert due == Due(at=NOON, following=None, missed=False)


@settings(deadline=None)
@given(
    every=st.integers(1, 200),
    first=st.integers(0, 40),
    now=st.integers(0, 1_000),
    window=st.none() | st.integers(0, 500),
    limit=st.none() | st.integers(1, 6),
    piece=st.integers(1, 50),
)
def test_pieces_tell_the_same_as_the_whole(
    every: int, first: int, now: int, window: int | None, limit: int | None, piece: int
) -> None:
    """A long sleep that is caught up piece by piece loses and keeps what one look would."""
    schedule, policy = Every(every), CatchUp(window=window, limit=limit)
    first = first * every + every
    whole = caught(schedule, first, now, policy)
    pieces: list[Due] = []
    at: int | None = first
    while at is not None:
        part = list(islice(due_times(schedule, at, now=now, offset=0, policy=policy), piece))
        if not part:
            break
        pieces += part
        at = part[-1].following
    assert pieces == whole
    assert [due.at for due in whole] == list(range(first, now + 1, every))
    if whole and window is not None:
        assert not whole[-1].missed
    if limit is not None:
        assert len(kept(whole)) <= limit
