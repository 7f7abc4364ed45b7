"""Firing: due times become runs in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import structlog

from connectors.abc import Schedule, TimeConnector
from connectors.times import jitter_offset, key
from orchestrator import metrics
from orchestrator.domain.catchup import due_times
from orchestrator.domain.clock import MINUTE, SECOND, Clock
from orchestrator.domain.overlap import Admission, Overlap
from orchestrator.domain.signals import Signals, Topic
from orchestrator.failpoints import reach
from orchestrator.services.definitions import Definition, Definitions
from orchestrator.services.loop import Service
from orchestrator.store.intake import Draft, Firing, Intake, PlannedBatch
from orchestrator.store.values import DuePartition

_log = structlog.get_logger(__name__)
_PAGE = 4000  # partitions read at once
_PART = 1000  # of them in a transaction
_AFTER_ERROR = MINUTE
_SCHEDULES = 4096  # kept by their definition's hash
_ONLY_THE_LATEST = (Overlap.SKIP, Overlap.QUEUE_ONE, Overlap.REPLACE)
_FIRINGS = 1000  # of one partition in a transaction: a long sleep is caught up piece by piece


class FiringService(Service):
    """Plans the due times of time connectors. Sleeps until the earliest of all is due.

    What is due then is read and planned a little before: only the commit is left for the instant
    itself. A partition that changes in between is left out by the commit, and planned again.
    """

    name: ClassVar[str] = "firing"
    topics: ClassVar[Sequence[Topic]] = (Topic.SCHEDULE,)
    ahead: ClassVar[float] = 0.3

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        intake: Intake,
        definitions: Definitions,
        connectors: dict[str, TimeConnector],
    ) -> None:
        super().__init__(clock, signals)
        self._intake = intake
        self._definitions = definitions
        self._connectors = connectors
        self._schedules: dict[str, Schedule] = {}
        self._prepared: tuple[int, list[list[Draft]]] | None = None

    def run_once(self) -> int | None:
        """Take in what is due; returns when the next is."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and self._clock.now() >= prepared[0]:
            self._take_in(prepared[1])
        while not self.stopping:
            now = self._clock.now()
            due = self._intake.due(now, _PAGE)
            if not due:
                return self._intake.next_wake()
            self._take_in(self._planned(due, now))
        return None

    def prepare(self, at: int) -> None:
        """Plan what will be due at an instant."""
        self._prepared = at, list(self._planned(self._intake.due(at, _PAGE), at))

    def _planned(self, due: Sequence[DuePartition], now: int) -> Iterator[list[Draft]]:
        definitions = self._definitions.get_many([p.definition for p in due])
        for start in range(0, len(due), _PART):
            yield [
                self._intake.draft(self._plan_or_wait(p, definitions[p.definition], now))
                for p in due[start : start + _PART]
            ]

    def _take_in(self, planned: Iterable[list[Draft]]) -> None:
        """While the store commits one part, the next is planned."""
        reach("firing.planned")
        parts = [(self._intake.submit(drafts), drafts) for drafts in planned]
        created = sum(self._count(done.result(), drafts) for done, drafts in parts)
        _log.debug("fired", runs=created)

    def _count(self, created: int, drafts: Sequence[Draft]) -> int:
        metrics.firings.inc(created)
        now = self._clock.now()
        for draft in drafts:
            wake_at = draft.batch.partition.wake_at
            if draft.rows and wake_at is not None:
                metrics.firing_lag.observe(max(0, now - wake_at) / SECOND)
        return created

    def _plan(self, partition: DuePartition, definition: Definition, now: int) -> PlannedBatch:
        schedule = self._schedules.get(partition.definition)
        if schedule is None:
            if len(self._schedules) >= _SCHEDULES:
                self._schedules.clear()
            schedule = self._connectors[definition.kind].schedule(definition.settings)
            self._schedules[partition.definition] = schedule
        return plan(partition, definition, schedule, now)

    def _plan_or_wait(
        self, partition: DuePartition, definition: Definition, now: int
    ) -> PlannedBatch:
        """Plan a partition. One that cannot be planned waits, and holds nobody else up."""
        try:
            return self._plan(partition, definition, now)
        except Exception:  # noqa: BLE001
            _log.exception("trigger cannot be planned", trigger=partition.trigger_name)
            return PlannedBatch(
                partition=partition,
                firings=[],
                planned=partition.planned,
                wake_at=now + _AFTER_ERROR,
                admittance=definition.admittance,
            )


def static_data(definition: Definition) -> Mapping[str, Any]:
    """Values that every run of a time trigger has by its settings."""
    parameters = definition.settings.get("parameters")
    return {"parameters": parameters} if parameters else {}


def wake_offset(uid: str, schedule: Schedule) -> int:
    """How long after each due time this trigger fires: its share of the jitter, µs."""
    return jitter_offset(uid, schedule.jitter) if schedule.jitter else 0


def plan(
    partition: DuePartition, definition: Definition, schedule: Schedule, now: int
) -> PlannedBatch:
    """The firings of a partition up to `now`, and when to look at it again. Pure."""
    offset = wake_offset(partition.trigger_uid, schedule)
    firings: list[Firing] = []
    data = static_data(definition)
    following: int | None = int(partition.planned)
    for due in due_times(
        schedule, int(partition.planned), now=now, offset=offset, policy=definition.catch_up
    ):
        following = due.following
        firings.append(
            Firing(
                key=key(due.at),
                due_at=due.at,
                start=str(due.at),
                end="end" if following is None else str(following),
                skip="missed" if due.missed else "",
                data=data,
            )
        )
        if len(firings) == _FIRINGS:
            break
    more = len(firings) == _FIRINGS and following is not None and following + offset <= now
    if more and definition.overlap in _ONLY_THE_LATEST:
        # The latest are in a later piece: what this one let run would stand in their way.
        overlapped = Admission.SKIP_OVERLAP.value
        firings = [replace(firing, skip=firing.skip or overlapped) for firing in firings]
    return PlannedBatch(
        partition=partition,
        firings=firings,
        planned=None if following is None else str(following),
        wake_at=None if following is None else following + offset,
        admittance=definition.admittance,
    )
