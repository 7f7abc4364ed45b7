"""Which of the due times that have passed still run: `catch_up`, `catch_up_limit`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from orchestrator.domain.clock import MINUTE, SECOND

DEFAULT_CATCH_UP = 10 * MINUTE
# How late a firing may be and still count as on time where nothing is to be caught up: a busy
# second must not turn into a missed run.
GRACE = 5 * SECOND


class DueTimes(Protocol):
    """A schedule, as far as catching up needs it."""

    def next_after(self, instant: int, /) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class CatchUp:
    """How far back (microseconds) missed due times still run, and at most how many.

    `window=None` is `catch_up: none`: what was missed is missed, the latest too.
    """

    window: int | None = DEFAULT_CATCH_UP
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class Due:
    """One due time, when the next one is (None: never), and whether it is left out."""

    at: int
    following: int | None
    missed: bool


def due_times(
    schedule: DueTimes, first: int, *, now: int, offset: int, policy: CatchUp
) -> Iterator[Due]:
    """Yield the due times from `first` on that have come by `now`, oldest first.

    `offset` is the trigger's jitter: a due time comes at `at + offset`. Every due time is yielded,
    so that the ledger has a row for each; `missed` says which of them do not run. The latest that
    was missed always runs, unless nothing is to be caught up.
    """
    horizon = now - offset
    oldest = horizon - (GRACE if policy.window is None else policy.window)
    if policy.limit is not None:
        oldest = max(oldest, _start_of_newest(schedule, first, horizon, oldest, policy.limit))
    at: int | None = first
    while at is not None and at <= horizon:
        following = schedule.next_after(at)
        latest = following is None or following > horizon
        kept = at >= oldest or (latest and policy.window is not None)
        yield Due(at=at, following=following, missed=not kept)
        at = following


def _start_of_newest(schedule: DueTimes, first: int, horizon: int, oldest: int, limit: int) -> int:
    """The due time from which on only `limit` are left up to `horizon`."""
    newest: deque[int] = deque(maxlen=max(limit, 1))
    at: int | None = first
    if first < oldest:
        at = schedule.next_after(oldest - 1)
    while at is not None and at <= horizon:
        newest.append(at)
        at = schedule.next_after(at)
    return newest[0] if newest else oldest
