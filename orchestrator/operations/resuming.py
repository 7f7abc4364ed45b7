"""What came due while a trigger was paused, and when it fires next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from connectors.abc import Schedule
from orchestrator.domain.catchup import due_times
from orchestrator.services.definitions import Definition
from orchestrator.services.firing import wake_offset
from orchestrator.store.values import DuePartition, Trigger

COUNTED = 1000  # due times of one pause; those beyond are not looked at one by one


@dataclass(frozen=True, kw_only=True)
class Passed:
    """Due times of a pause."""

    count: int
    """At most COUNTED."""
    more: bool
    """Whether there are more than that."""
    caught_up: int | None
    """How many of them `catch_up` lets run, as far as `overlap` does; None where there are more."""


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A trigger that makes firings again."""

    trigger: Trigger
    next_at: int | None = None
    """The first firing that is still to come, µs; what is caught up comes before it. None where
    no due time is to come."""
    passed: Passed | None = None
    """None for a trigger that was not paused, or has no due times."""


def passed(
    partition: DuePartition, definition: Definition, schedule: Schedule, now: int, *, skip: bool
) -> Passed:
    """The due times of a partition that have come by `now` and are in no run yet."""
    offset = wake_offset(partition.trigger_uid, schedule)
    first = int(partition.planned)
    count = 0
    at: int | None = first
    while at is not None and at + offset <= now and count <= COUNTED:
        count += 1
        at = schedule.next_after(at)
    if count > COUNTED:
        return Passed(count=COUNTED, more=True, caught_up=0 if skip else None)
    due = due_times(schedule, first, now=now, offset=offset, policy=definition.catch_up)
    kept = 0 if skip else sum(not one.missed for one in islice(due, count))
    return Passed(count=count, more=False, caught_up=kept)


def next_firing(partition: DuePartition, schedule: Schedule, now: int) -> int | None:
    """The first instant after `now` at which a partition fires."""
    offset = wake_offset(partition.trigger_uid, schedule)
    at = schedule.next_after(max(now - offset, int(partition.planned) - 1))
    return None if at is None else at + offset
