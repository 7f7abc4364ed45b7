"""What a new firing does when earlier runs of its partition are still open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Overlap(StrEnum):
    """The `overlap` of a trigger."""

    SKIP = "skip"  # leave it out
    QUEUE = "queue"  # wait in line
    QUEUE_ONE = "queue_one"  # wait in line, but only one
    REPLACE = "replace"  # end the earlier ones, then run
    ALLOW = "allow"  # run beside them


class Admission(StrEnum):
    """What becomes of a firing."""

    READY = "ready"
    LINE = "line"
    SKIP_OVERLAP = "overlap"
    SKIP_LEFT_OUT = "missed"


@dataclass(frozen=True, kw_only=True)
class OpenRuns:
    """The runs of a partition that have not ended: all of them, those that wait in line, and the
    same of those that fill gaps."""

    total: int = 0
    in_line: int = 0
    backfill: int = 0
    backfill_in_line: int = 0

    @property
    def live(self) -> int:
        """Those that do not fill gaps."""
        return self.total - self.backfill

    @property
    def live_in_line(self) -> int:
        """Those of them that wait in line."""
        return self.in_line - self.backfill_in_line


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An admission for each firing; `replace` says that the open runs are to end."""

    admissions: Sequence[Admission]
    replace: bool = False


def capacity(overlap: Overlap, max_in_flight: int | None, parallelism: int) -> int | None:
    """How many runs of a partition may be out of the line at once; None: any number."""
    if overlap is Overlap.ALLOW:
        return max_in_flight
    if overlap is not Overlap.QUEUE:
        return 1
    return parallelism if max_in_flight is None else min(parallelism, max_in_flight)


def admit(overlap: Overlap, missed: Sequence[bool], open_runs: OpenRuns, room: int | None) -> Plan:
    """Admit firings, oldest first; `missed` ones are left out.

    Where not all can run, the latest ones do: they see the newest state of the world.
    `room` is the `capacity` of the partition. Runs that fill gaps neither keep a firing from
    running nor are replaced by it: one that is under way is waited for, those in line wait longer.
    """
    run = [i for i, left_out in enumerate(missed) if not left_out]
    result = [Admission.SKIP_LEFT_OUT] * len(missed)
    for index in run:
        result[index] = Admission.SKIP_OVERLAP
    if not run:
        return Plan(admissions=result)
    out = open_runs.total - open_runs.in_line
    if overlap is Overlap.REPLACE:
        waits = out or open_runs.live
        result[run[-1]] = Admission.LINE if waits else Admission.READY
        return Plan(admissions=result, replace=open_runs.live > 0)
    if overlap is Overlap.SKIP:
        if not open_runs.live:
            result[run[-1]] = Admission.LINE if out else Admission.READY
        return Plan(admissions=result)
    chosen = run
    if overlap is Overlap.QUEUE_ONE:
        places = max(0, 2 - open_runs.live)
        chosen = run[-places:] if places else []
    free = None if room is None else max(0, room - out)
    if open_runs.live_in_line:
        free = 0  # those in line come first
    for position, index in enumerate(chosen):
        ready = free is None or position < free
        result[index] = Admission.READY if ready else Admission.LINE
    return Plan(admissions=result)
