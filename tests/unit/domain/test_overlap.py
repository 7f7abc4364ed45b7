"""What becomes of firings while earlier runs are open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.overlap import Admission, OpenRuns, Overlap, Plan, admit, capacity

READY, LINE, SKIP, MISSED = (
    Admission.READY,
    Admission.LINE,
    Admission.SKIP_OVERLAP,
    Admission.SKIP_LEFT_OUT,
)
IDLE, BUSY, QUEUED = OpenRuns(), OpenRuns(total=1), OpenRuns(total=2, in_line=1)
FILLING = OpenRuns(total=3, in_line=2, backfill=3, backfill_in_line=2)  # one is under way
GAPS = OpenRuns(total=2, in_line=2, backfill=2, backfill_in_line=2)


@pytest.mark.parametrize(
    ("overlap", "count", "open_runs", "room", "expected"),
    [
        (Overlap.SKIP, 1, IDLE, 1, [READY]),
        (Overlap.SKIP, 3, IDLE, 1, [SKIP, SKIP, READY]),
        (Overlap.SKIP, 2, BUSY, 1, [SKIP, SKIP]),
        (Overlap.QUEUE, 1, IDLE, 1, [READY]),
        (Overlap.QUEUE, 3, IDLE, 1, [READY, LINE, LINE]),
        (Overlap.QUEUE, 3, IDLE, 2, [READY, READY, LINE]),
        (Overlap.QUEUE, 2, BUSY, 1, [LINE, LINE]),
        (Overlap.QUEUE, 2, BUSY, 2, [READY, LINE]),
        (Overlap.QUEUE, 2, QUEUED, 5, [LINE, LINE]),
        (Overlap.SKIP, 1, FILLING, 1, [LINE]),
        (Overlap.SKIP, 1, GAPS, 1, [READY]),
        (Overlap.SKIP, 1, OpenRuns(total=3, backfill=2, backfill_in_line=2), 1, [SKIP]),
        (Overlap.QUEUE, 1, FILLING, 1, [LINE]),
        (Overlap.QUEUE, 1, GAPS, 1, [READY]),
        (Overlap.QUEUE_ONE, 2, FILLING, 1, [LINE, LINE]),
        (Overlap.REPLACE, 1, GAPS, 1, [READY]),
        (Overlap.REPLACE, 1, FILLING, 1, [LINE]),
        (Overlap.QUEUE_ONE, 1, IDLE, 1, [READY]),
        (Overlap.QUEUE_ONE, 4, IDLE, 1, [SKIP, SKIP, READY, LINE]),
        (Overlap.QUEUE_ONE, 3, BUSY, 1, [SKIP, SKIP, LINE]),
        (Overlap.QUEUE_ONE, 2, QUEUED, 1, [SKIP, SKIP]),
        (Overlap.REPLACE, 3, IDLE, 1, [SKIP, SKIP, READY]),
        (Overlap.REPLACE, 2, BUSY, 1, [SKIP, LINE]),
        (Overlap.ALLOW, 3, BUSY, None, [READY, READY, READY]),
        (Overlap.ALLOW, 3, BUSY, 2, [READY, LINE, LINE]),
        (Overlap.ALLOW, 3, OpenRuns(total=9), 2, [LINE, LINE, LINE]),
    ],
)
def test_admission(
    overlap: Overlap, count: int, open_runs: OpenRuns, room: int, expected: list[Admission]
) -> None:
    """Each policy, idle, busy and with a line."""
    plan = admit(overlap, [False] * count, open_runs, room)
    assert list(plan.admissions) == expected
    assert plan.replace == (overlap is Overlap.REPLACE and open_runs.live > 0)


def test_what_is_left_out_replaces_nothing() -> None:
    """Missed firings run in no policy and end nobody's run."""
    for overlap in Overlap:
        assert admit(overlap, [True, True], BUSY, 1) == Plan(admissions=[MISSED, MISSED])


@pytest.mark.parametrize(
    ("overlap", "max_in_flight", "parallelism", "room"),
    [
        (Overlap.SKIP, 9, 9, 1),
        (Overlap.QUEUE_ONE, None, 9, 1),
        (Overlap.REPLACE, None, 9, 1),
        (Overlap.QUEUE, None, 3, 3),
        (Overlap.QUEUE, 2, 3, 2),
        (Overlap.QUEUE, 5, 3, 3),
        (Overlap.ALLOW, None, 3, None),
        (Overlap.ALLOW, 4, 1, 4),
    ],
)
def test_capacity(
    overlap: Overlap, max_in_flight: int | None, parallelism: int, room: int | None
) -> None:
    """How many may be out of the line at once; `max_in_flight` bounds `parallelism` too."""
    assert capacity(overlap, max_in_flight, parallelism) == room


@st.composite
def situations(draw: st.DrawFn) -> tuple[Overlap, list[bool], OpenRuns, int | None]:
    overlap = draw(st.sampled_from(list(Overlap)))
    total = draw(st.integers(0, 5))
    open_runs = OpenRuns(total=total, in_line=draw(st.integers(0, total)))
    room = capacity(overlap, draw(st.none() | st.integers(1, 4)), draw(st.integers(1, 4)))
    return overlap, draw(st.lists(st.booleans(), max_size=8)), open_runs, room


@given(situations())
def test_no_firing_is_lost(situation: tuple[Overlap, list[bool], OpenRuns, int | None]) -> None:
    """Each has one admission, the room is kept, the line is one, the latest goes before others."""
    overlap, missed, open_runs, room = situation
    plan = admit(overlap, missed, open_runs, room)
    assert len(plan.admissions) == len(missed)
    for left_out, admission in zip(missed, plan.admissions, strict=True):
        assert left_out == (admission is MISSED)
    ready = [i for i, a in enumerate(plan.admissions) if a is READY]
    line = [i for i, a in enumerate(plan.admissions) if a is LINE]
    skipped = [i for i, a in enumerate(plan.admissions) if a is SKIP]
    if room is not None:
        out = open_runs.total - open_runs.in_line
        assert not ready or len(ready) + out <= room
    assert not (ready and line) or max(ready) < min(line)
    assert not (skipped and (ready or line)) or max(skipped) < min(ready + line)
    if overlap in (Overlap.QUEUE, Overlap.ALLOW):
        assert not skipped
    if not all(missed) and not open_runs.total:
        assert ready
