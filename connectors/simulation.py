"""What a schedule will do in a window, before anything runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from connectors import zones
from connectors.abc import Overlap, Schedule
from connectors.moments import show
from connectors.times import SECOND, jitter_offset, key


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedFiring:
    """One due time, as ``orch simulate`` shows it. Instants in microseconds."""

    due: int
    key: str
    fires: int
    """When it fires: ``due`` and the jitter."""
    starts: int | None
    """When its run would begin; ``None``: the overlap policy skips it."""
    local: str
    """``2026-03-29 03:00:00`` in the schedule's zone."""
    utc_offset: str
    notes: tuple[str, ...]
    """What clock changes and the overlap policy do to it."""
    overlaps: bool
    """The run before it would still be going, or waiting, when it fires."""


def simulate(
    schedule: Schedule,
    start: int,
    end: int,
    *,
    jitter_seed: str = "",
    overlap: Overlap = "skip",
    duration: int = 0,
) -> Iterator[SimulatedFiring]:
    """The firings due in ``[start, end)``, if every run took ``duration`` microseconds.

    The jitter is the schedule's; ``jitter_seed`` is the trigger's uid where it has one. Nothing
    that was due before ``start`` is taken into account.
    """
    offset = jitter_offset(jitter_seed, schedule.jitter)
    planner = _Planner(overlap, duration)
    due = schedule.next_after(start - 1)
    while due is not None and due < end:
        fires = due + offset
        starts, overlaps, note = planner.place(fires)
        yield SimulatedFiring(
            due=due,
            key=key(due),
            fires=fires,
            starts=starts,
            local=show(due, schedule.timezone),
            utc_offset=zones.show_offset(zones.offset_at(schedule.timezone, due // SECOND)),
            notes=(*schedule.marks(due), *([note] if note else [])),
            overlaps=overlaps,
        )
        due = schedule.next_after(due)


class _Planner:
    """Where runs of one length come to lie under an overlap policy."""

    def __init__(self, overlap: Overlap, duration: int) -> None:
        self._overlap: Overlap = overlap
        self._duration = duration
        self._ends: deque[int] = deque()
        """When the runs that are going or waiting will have ended, in order."""

    def place(self, fires: int) -> tuple[int | None, bool, str | None]:
        while self._ends and self._ends[0] <= fires:
            self._ends.popleft()
        if not self._ends:
            return self._run(fires), False, None
        match self._overlap:
            case "allow":
                return self._run(fires), True, "runs beside the one before"
            case "replace":
                self._ends.clear()
                return self._run(fires), True, "stops the run before"
            case "queue":
                return self._run(self._ends[-1]), True, "waits for the run before"
            case "queue_one" if len(self._ends) == 1:
                return self._run(self._ends[-1]), True, "waits for the run before"
            case "queue_one":
                return None, True, "skipped: one waits already"
            case "skip":
                return None, True, "skipped: the run before is still going"

    def _run(self, starts: int) -> int:
        if self._duration > 0:
            self._ends.append(starts + self._duration)
        return starts
