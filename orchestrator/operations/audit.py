"""Audit: the ledger proves that nothing is missing and nothing is twice.

For every partition, the ranges of its runs must tile from `base` to `planned` without gap or
overlap; for due times the schedule itself is asked again, so that a planner that skipped one would
be found out. Every run that has ended says how, and none has two attempts that both succeeded.
Of sources without order, every event that is held is in a run that goes on, and the run of every
other one is there, or was there for as long as ended runs are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.abc import Schedule, TimeConnector
from connectors.registry import Registry
from connectors.times import instant
from orchestrator.domain.clock import Clock, to_rfc3339
from orchestrator.domain.states import ENDED, OPEN, RunState
from orchestrator.services.definitions import Definitions
from orchestrator.store.errors import Missing
from orchestrator.store.inbox import LINE
from orchestrator.store.ledger import Ledger, LedgerPartition, LedgerRow
from orchestrator.store.rescheduling import CHANGED

_FINDINGS_AT_MOST = 1000  # a broken ledger need not be told a million times


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that should not be."""

    trigger: str
    partition: str
    key: str
    problem: str


class Auditor:
    """Reads the whole ledger once, row by row; memory does not grow with it."""

    def __init__(
        self,
        ledger: Ledger,
        definitions: Definitions,
        registry: Registry,
        clock: Clock,
        keep: int,
    ) -> None:
        """`keep` is for how long ended runs are kept, microseconds."""
        self._ledger = ledger
        self._definitions = definitions
        self._registry = registry
        self._clock = clock
        self._keep = keep

    def audit(self, trigger: str | None = None) -> dict[str, Any]:
        """Audit all triggers, or one. Raises Missing for an unknown one.

        Returns `{"ok": bool, "triggers": [{"name", "partition", "runs", "open", "dead", "from",
        "to"}], "findings": [{"trigger", "partition", "key", "problem"}]}`.
        """
        if trigger is not None and not self._ledger.has(trigger):
            raise Missing(f"there is no trigger {trigger!r}")
        findings: list[Finding] = []
        summaries: list[dict[str, Any]] = []
        for partition in self._ledger.partitions(trigger):
            summary, found = self._partition(partition)
            if found:
                # Retention may have moved the base while the rows were read: look once more.
                summary, found = self._again(partition, summary, found)
            summaries.append(summary)
            findings += found
        summaries += self._inboxes(trigger)
        since = self._clock.now() - self._keep
        for name, key, problem in self._ledger.stray_events(trigger, since):
            findings.append(Finding(trigger=name, partition=LINE, key=key, problem=problem))
        for name, key, problem in self._ledger.contradictions(trigger):
            findings.append(Finding(trigger=name, partition="", key=key, problem=problem))
        # The store gives them by uid, which tells a reader nothing.
        summaries.sort(key=lambda summary: (summary["name"], summary["partition"]))
        shown = findings[:_FINDINGS_AT_MOST]
        return {
            "ok": not findings,
            "triggers": summaries,
            "findings": [
                {"trigger": f.trigger, "partition": f.partition, "key": f.key, "problem": f.problem}
                for f in shown
            ],
        }

    def _again(
        self, partition: LedgerPartition, summary: dict[str, Any], found: list[Finding]
    ) -> tuple[dict[str, Any], list[Finding]]:
        now = self._ledger.reread(partition)
        return self._partition(now) if now is not None else (summary, found)

    def _inboxes(self, trigger: str | None) -> Iterator[dict[str, Any]]:
        """A summary for each source without order."""
        for source in self._ledger.sources(trigger):
            if not self._definitions.get(source.definition).queue:
                continue
            yield {
                "name": source.trigger,
                "partition": LINE,
                "runs": sum(source.runs.values()),
                "open": sum(source.runs.get(state, 0) for state in OPEN),
                "dead": source.runs.get(RunState.DEAD, 0),
                "from": None,
                "to": None,
            }

    def _partition(self, partition: LedgerPartition) -> tuple[dict[str, Any], list[Finding]]:
        findings: list[Finding] = []

        def find(key: str, problem: str) -> None:
            findings.append(
                Finding(
                    trigger=partition.trigger, partition=partition.name, key=key, problem=problem
                )
            )

        counts = {"runs": 0, "open": 0, "dead": 0}
        expected, place = partition.base, partition.base_ordinal
        lowest, highest, stride = place, place, partition.stride
        for row in self._ledger.ordered(partition):
            counts["runs"] += 1
            counts["open"] += row.state not in ENDED
            counts["dead"] += row.state is RunState.DEAD
            if not lowest <= row.ordinal <= highest:
                find(row.key, f"place {row.ordinal} in the partition, expected {highest}")
            if row.start != expected:
                find(row.key, f"its range begins at {row.start}, the one before ends at {expected}")
            for problem in self._due(partition, row):
                find(row.key, problem)
            # The halves of a run lie between its own place and that of the next one.
            expected, place = row.end, (row.ordinal // stride + 1) * stride
            lowest, highest = row.ordinal + 1, place
        planned = partition.planned if partition.planned is not None else "end"
        if expected not in (None, planned) and not self._moves_along(partition):
            find("", f"the last range ends at {expected}, but {planned} is planned next")
        if place != partition.ordinal:
            there, planned_runs = place // stride, partition.ordinal // stride
            find("", f"{there} runs are there, {planned_runs} were planned")
        if self._overdue(partition):
            find("", f"due since {_when(planned)} and not in the ledger")
        summary: dict[str, Any] = {
            "name": partition.trigger,
            "partition": partition.name,
            **counts,
            "from": _place(partition, partition.base),
            "to": _place(partition, partition.planned),
        }
        return summary, findings

    def _moves_along(self, partition: LedgerPartition) -> bool:
        """Whether the last run ends where the partition stands, read at one moment: of a
        long-lived consumer both move while the rows are read."""
        planned, end = self._ledger.tail(partition)
        return end == (planned if planned is not None else "end") and end != partition.planned

    def _due(self, partition: LedgerPartition, row: LedgerRow) -> Sequence[str]:
        """Ask the schedule of the run's own version whether this is one of its due times.

        A run that was taken in by one version and revived by a later one fits the earlier one.
        """
        schedule = self._schedule(row.definition)
        if schedule is None or row.reason == CHANGED:
            return ()
        found = list(_misfits(schedule, row))
        if found and any(
            other is not None and not list(_misfits(other, row))
            for other in map(self._schedule, self._ledger.definitions(partition.trigger_uid))
        ):
            return ()
        return found

    def _schedule(self, definition_hash: str) -> Schedule | None:
        definition = self._definitions.get(definition_hash)
        connector = self._registry.get(definition.kind)
        if not isinstance(connector, TimeConnector):
            return None
        return connector.schedule(definition.settings)

    def _overdue(self, partition: LedgerPartition) -> bool:
        """Whether a due time of an active trigger passed long ago without coming in."""
        wake_at = partition.wake_at
        return wake_at is not None and wake_at < self._clock.now() - _LATE


def _misfits(schedule: Schedule, row: LedgerRow) -> Iterator[str]:
    try:
        at = instant(row.key)
    except ValueError:
        yield "the key is not a due time"
        return
    if str(at) != row.start:
        yield f"the key says {at}, the range begins at {row.start}"
    if schedule.next_after(at - 1) != at:
        yield "the schedule has no such due time"
    following = schedule.next_after(at)
    if row.end != ("end" if following is None else str(following)):
        yield f"the schedule's next due time is {_when(str(following))}, not {_when(row.end)}"


_LATE = 60_000_000  # µs


def _place(partition: LedgerPartition, checkpoint: str | None) -> str | None:
    """A checkpoint for people: a due time, or a position as its source writes it."""
    return _when(checkpoint) if partition.stride == 1 else checkpoint


def _when(checkpoint: str | None) -> str | None:
    if checkpoint is None or not checkpoint.lstrip("-").isdecimal():
        return checkpoint
    return to_rfc3339(int(checkpoint))
