"""The ledger as the audit reads it: every run in order, and what must never be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select

from orchestrator.domain.states import ENDED, OPEN, AttemptState, RunState, TriggerState
from orchestrator.store.database import Database
from orchestrator.store.errors import Missing
from orchestrator.store.schema import attempts, partitions, runs, trigger_versions, triggers

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
        """All partitions, by keyset; of one trigger if it is named. Raises Missing."""
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
            if after is None and not found and trigger is not None:
                raise Missing(f"there is no trigger {trigger!r}")
            yield from found
            if len(found) < _BATCH:
                return
            after = found[-1].trigger_uid, found[-1].name

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
