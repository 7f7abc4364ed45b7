"""The ledger as the audit reads it: every run in order, and what must never be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select

from orchestrator.domain.states import ENDED, OPEN, AttemptState, RunState, TriggerState
from orchestrator.store.database import Database
from orchestrator.store.schema import (
    attempts,
    inbox,
    partitions,
    runs,
    sources,
    trigger_versions,
    triggers,
)
from orchestrator.store.telling import EventState

_BATCH = 5000


@dataclass(frozen=True, kw_only=True)
class LedgerPartition:
    """A partition and where its kept ledger begins and ends."""

    trigger: str
    trigger_uid: str
    name: str
    planned: str | None
    base: str | None
    ordinal: int
    base_ordinal: int
    stride: int
    wake_at: int | None


@dataclass(frozen=True, kw_only=True)
class LedgerSource:
    """A trigger with a source outside, and how many runs it has, by their state."""

    trigger: str
    definition: str  # hash
    runs: Mapping[RunState, int]


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One run in its partition's order."""

    key: str
    ordinal: int
    start: str
    end: str
    state: RunState
    reason: str
    definition: str


class Ledger:
    """Reads for the audit."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def partitions(self, trigger: str | None) -> Iterator[LedgerPartition]:
        """All partitions, by keyset; of one trigger if it is named."""
        statement = (
            select(
                triggers.c.name.label("trigger"),
                partitions.c.trigger_uid,
                partitions.c.name,
                partitions.c.planned,
                partitions.c.base,
                partitions.c.ordinal,
                partitions.c.base_ordinal,
                partitions.c.stride,
                partitions.c.wake_at,
            )
            .join(triggers, triggers.c.uid == partitions.c.trigger_uid)
            .order_by(partitions.c.trigger_uid, partitions.c.name)
            .limit(_BATCH)
        )
        if trigger is not None:
            statement = statement.where(
                triggers.c.name == trigger, triggers.c.state != TriggerState.DELETED
            )
        after: tuple[str, str] | None = None
        while True:
            page = statement
            if after is not None:
                page = page.where(
                    or_(
                        partitions.c.trigger_uid > after[0],
                        and_(partitions.c.trigger_uid == after[0], partitions.c.name > after[1]),
                    )
                )
            with self._db.read() as conn:
                found = [LedgerPartition(**row) for row in conn.execute(page).mappings()]
            yield from found
            if len(found) < _BATCH:
                return
            after = found[-1].trigger_uid, found[-1].name

    def has(self, trigger: str) -> bool:
        """Whether there is a trigger of this name."""
        mine = (triggers.c.name == trigger) & (triggers.c.state != TriggerState.DELETED)
        with self._db.read() as conn:
            return conn.scalar(select(triggers.c.uid).where(mine)) is not None

    def sources(self, trigger: str | None) -> Iterator[LedgerSource]:
        """All triggers with a source outside, or the one that is named."""
        statement = select(triggers.c.uid, triggers.c.name, triggers.c.definition).join(
            sources, sources.c.trigger_uid == triggers.c.uid
        )
        if trigger is not None:
            statement = statement.where(
                triggers.c.name == trigger, triggers.c.state != TriggerState.DELETED
            )
        with self._db.read() as conn:
            found = conn.execute(statement.order_by(triggers.c.uid)).all()
        for row in found:
            counts = (
                select(runs.c.state, func.count())
                .where(runs.c.trigger_uid == row.uid)
                .group_by(runs.c.state)
            )
            with self._db.read() as conn:
                by_state = {RunState(state): count for state, count in conn.execute(counts)}
            yield LedgerSource(trigger=row.name, definition=row.definition, runs=by_state)

    def stray_events(self, trigger: str | None, since: int) -> Iterator[tuple[str, str, str]]:
        """Events of the inbox that no run of the ledger accounts for: (trigger, id, problem).

        Of those that came in before the instant `since` retention may have removed the run.
        """
        mine = [] if trigger is None else [triggers.c.name == trigger]
        events = (
            select(triggers.c.name, inbox.c.id)
            .join(triggers, triggers.c.uid == inbox.c.trigger_uid)
            .outerjoin(runs, runs.c.id == inbox.c.run_id)
        )
        held = inbox.c.state == EventState.HELD
        questions = {
            "held for a run that is over": events.where(held, runs.c.ended_at.is_not(None)),
            "held for a run that is not there": events.where(held, runs.c.id.is_(None)),
            "its run is not there": events.where(~held, runs.c.id.is_(None), inbox.c.at > since),
            "in a run of another trigger": events.where(runs.c.trigger_uid != inbox.c.trigger_uid),
        }
        with self._db.read() as conn:
            for problem, question in questions.items():
                for name, id_ in conn.execute(question.where(*mine).limit(_BATCH)):
                    yield name, id_, problem

    def reread(self, partition: LedgerPartition) -> LedgerPartition | None:
        """The same partition as it is now; None if its trigger is gone."""
        found = [
            p
            for p in self.partitions(partition.trigger)
            if (p.trigger_uid, p.name) == (partition.trigger_uid, partition.name)
        ]
        return found[0] if found else None

    def tail(self, partition: LedgerPartition) -> tuple[str | None, str | None]:
        """Where the partition stands and where its last run ends, at one moment."""
        mine = (runs.c.trigger_uid == partition.trigger_uid) & (runs.c.partition == partition.name)
        statement = (
            select(partitions.c.planned, runs.c.range_end)
            .join(
                runs,
                (runs.c.trigger_uid == partitions.c.trigger_uid)
                & (runs.c.partition == partitions.c.name),
            )
            .where(mine, runs.c.ordinal.is_not(None))
            .order_by(runs.c.ordinal.desc())
            .limit(1)
        )
        with self._db.read() as conn:
            row = conn.execute(statement).first()
        return (None, None) if row is None else (row.planned, row.range_end)

    def ordered(self, partition: LedgerPartition) -> Iterator[LedgerRow]:
        """The partition's runs from `base` up to what was planned when it was read."""
        ordinal = partition.base_ordinal
        while True:
            statement = (
                select(
                    runs.c.key,
                    runs.c.ordinal,
                    runs.c.range_start,
                    runs.c.range_end,
                    runs.c.state,
                    runs.c.reason,
                    runs.c.definition,
                )
                .where(
                    runs.c.trigger_uid == partition.trigger_uid,
                    runs.c.partition == partition.name,
                    runs.c.ordinal >= ordinal,
                    runs.c.ordinal < partition.ordinal,
                )
                .order_by(runs.c.ordinal)
                .limit(_BATCH)
            )
            with self._db.read() as conn:
                rows = conn.execute(statement).all()
            for row in rows:
                yield LedgerRow(
                    key=row.key,
                    ordinal=row.ordinal,
                    start=row.range_start,
                    end=row.range_end,
                    state=RunState(row.state),
                    reason=row.reason,
                    definition=row.definition,
                )
            if len(rows) < _BATCH:
                return
            ordinal = rows[-1].ordinal + 1

    def definitions(self, trigger_uid: str) -> list[str]:
        """The definitions of all versions of a trigger, the newest first."""
        statement = (
            select(trigger_versions.c.definition)
            .where(trigger_versions.c.trigger_uid == trigger_uid)
            .order_by(trigger_versions.c.version.desc())
        )
        with self._db.read() as conn:
            return list(conn.scalars(statement))

    def contradictions(self, trigger: str | None) -> Iterator[tuple[str, str, str]]:
        """Runs whose row contradicts itself or its attempts: (trigger, key, problem)."""
        mine = [] if trigger is None else [triggers.c.name == trigger]
        named = select(triggers.c.name, runs.c.key).join(
            triggers, triggers.c.uid == runs.c.trigger_uid
        )
        tried = named.join(attempts, attempts.c.run_id == runs.c.id)
        succeeded = attempts.c.state == AttemptState.SUCCEEDED
        live = attempts.c.ended_at.is_(None)
        by_run = [runs.c.id, triggers.c.name, runs.c.key]
        questions = {
            "ended without an end": named.where(runs.c.state.in_(ENDED), runs.c.ended_at.is_(None)),
            "open with an end": named.where(runs.c.state.in_(OPEN), runs.c.ended_at.is_not(None)),
            "two attempts succeeded": tried.where(succeeded)
            .group_by(*by_run)
            .having(func.count() > 1),
            "two attempts are under way": tried.where(live)
            .group_by(*by_run)
            .having(func.count() > 1),
            "ended, but an attempt is under way": tried.where(live, runs.c.ended_at.is_not(None)),
            "succeeded without an attempt that did": named.where(
                runs.c.state == RunState.SUCCEEDED,
                ~select(attempts.c.run_id)
                .where(attempts.c.run_id == runs.c.id, succeeded)
                .exists(),
            ),
        }
        with self._db.read() as conn:
            for problem, question in questions.items():
                for name, key in conn.execute(question.where(*mine).limit(_BATCH)):
                    yield name, key, problem
