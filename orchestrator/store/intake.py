"""Intake: in one transaction, runs come into the ledger and `planned` moves on.

Killed before the commit, nothing has happened; after it, the firings are in the ledger and are
never planned again, because the update of `planned` is conditional on the value that was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from orchestrator.domain import names
from orchestrator.domain.limits import Rate
from orchestrator.domain.overlap import Admission, OpenRuns, Overlap, admit, capacity
from orchestrator.domain.signals import Topic
from orchestrator.domain.states import Origin, Queue, RunState
from orchestrator.store.database import Database, canonical
from orchestrator.store.lines import cancel_open, move_done, reserve_rate
from orchestrator.store.schema import partitions, runs, triggers
from orchestrator.store.values import DuePartition
from orchestrator.store.writer import Tx

_IN_CHUNK = 500  # values in one IN list


@dataclass(frozen=True, kw_only=True)
class Firing:
    """What one run is for. `start` and `end` are the checkpoints before and after it."""

    key: str
    due_at: int
    start: str
    end: str
    skip: str = ""  # why it does not run, if it does not: missed, paused
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Admittance:
    """How a trigger takes in firings."""

    overlap: Overlap
    priority: int = 0
    max_in_flight: int | None = None
    parallelism: int = 1
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedBatch:
    """A batch of firings of a partition, and where the partition stands afterwards."""

    partition: DuePartition
    firings: Sequence[Firing]
    planned: str | None
    wake_at: int | None
    admittance: Admittance


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A batch and the rows that it may become, made before the transaction begins."""

    batch: PlannedBatch
    advance: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


_ADVANCE = (
    update(partitions)
    .where(
        partitions.c.trigger_uid == bindparam("b_uid"),
        partitions.c.name == bindparam("b_name"),
        partitions.c.epoch == bindparam("b_epoch"),
        partitions.c.ordinal == bindparam("b_ordinal"),
    )
    .values(
        planned=bindparam("v_planned"),
        wake_at=bindparam("v_wake_at"),
        ordinal=bindparam("v_ordinal"),
    )
)


_FILLS = runs.c.origin == Origin.BACKFILL
_INSERT = insert(runs)
_PENDING, _SKIPPED = RunState.PENDING.value, RunState.SKIPPED.value
_READY, _LINE = Queue.READY.value, Queue.LINE.value

_PARTITIONS = select(
    partitions.c.trigger_uid,
    triggers.c.name.label("trigger_name"),
    triggers.c.kind,
    triggers.c.version,
    triggers.c.definition,
    partitions.c.name,
    partitions.c.planned,
    partitions.c.ordinal,
    partitions.c.epoch,
    partitions.c.wake_at,
).join(triggers, triggers.c.uid == partitions.c.trigger_uid)


class Intake:
    """Reads partitions whose time has come and takes in what they yield."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self, now: int, limit: int) -> list[DuePartition]:
        """Partitions to look at by `now`, earliest first."""
        statement = (
            _PARTITIONS.where(partitions.c.wake_at <= now)
            .order_by(partitions.c.wake_at, partitions.c.trigger_uid)
            .limit(limit)
        )
        with self._db.read() as conn:
            return [_due_partition(row) for row in conn.execute(statement).all()]

    def of_trigger(self, trigger_uid: str) -> list[DuePartition]:
        """A trigger's partitions that are not exhausted, whatever their wake time."""
        statement = _PARTITIONS.where(
            partitions.c.trigger_uid == trigger_uid, partitions.c.planned.is_not(None)
        )
        with self._db.read() as conn:
            return [_due_partition(row) for row in conn.execute(statement).all()]

    def next_wake(self) -> int | None:
        """The earliest wake time of all."""
        with self._db.read() as conn:
            return conn.scalar(
                select(partitions.c.wake_at)
                .where(partitions.c.wake_at.is_not(None))
                .order_by(partitions.c.wake_at)
                .limit(1)
            )

    def take_in(self, batches: Sequence[PlannedBatch]) -> int:
        """Take in batches, one per partition. Returns the number of new runs.

        A batch whose partition has moved since it was read (paused, changed, planned by another
        orchestrator) is left out: it will be read again.
        """
        return self.submit([self.draft(batch) for batch in batches]).result()

    def draft(self, batch: PlannedBatch) -> Draft:
        """What a transaction to come can be spared of."""
        partition = batch.partition
        rows: list[dict[str, Any]] = []
        for position, firing in enumerate(batch.firings):
            row = new_run(
                self._db.instance,
                partition.trigger_uid,
                firing.key,
                version=partition.version,
                definition=partition.definition,
                origin=Origin.SOURCE,
                partition=partition.name,
                due_at=firing.due_at,
                now=0,
                priority=batch.admittance.priority,
                data=firing.data,
            )
            row["ordinal"] = partition.ordinal + position
            row["range_start"], row["range_end"] = firing.start, firing.end
            rows.append(row)
        return Draft(batch=batch, advance=_advance(batch), rows=rows)

    def submit(self, drafts: Sequence[Draft]) -> Future[int]:
        """Like `take_in`, without waiting for the commit."""
        return self._db.submit(lambda tx: self._take_in(tx, drafts), "intake")

    def _take_in(self, tx: Tx, drafts: Sequence[Draft]) -> int:
        moved = self._db.dialect.update_many(tx.conn, _ADVANCE, [d.advance for d in drafts])
        taken = [draft for draft, ok in zip(drafts, moved, strict=True) if ok]
        open_runs = _open_runs(tx.conn, [draft.batch for draft in taken])
        now = self._db.clock.now()
        rows: list[dict[str, Any]] = []
        finished: set[tuple[str, str]] = set()
        for draft in taken:
            new = self._rows(tx, draft, open_runs, now)
            if any(row["ended_at"] is not None for row in new):
                finished.add(_place(draft))
            rows += new
        if not self._insert(tx.conn, rows):
            finished = {_place(draft) for draft in taken}
        for uid, name in finished:
            move_done(tx.conn, uid, name)
        states = {row["queue"] for row in rows}
        if Queue.READY in states or Queue.DELAYED in states:
            tx.notify(Topic.READY)
        if rows:
            tx.notify(Topic.CHANGED)
        return len(rows)

    def _rows(
        self,
        tx: Tx,
        draft: Draft,
        open_runs: Mapping[tuple[str, str], OpenRuns],
        now: int,
    ) -> list[dict[str, Any]]:
        partition, how = draft.batch.partition, draft.batch.admittance
        plan = admit(
            how.overlap,
            [bool(firing.skip) for firing in draft.batch.firings],
            open_runs.get(_place(draft), OpenRuns()),
            capacity(how.overlap, how.max_in_flight, how.parallelism),
        )
        if plan.replace:
            cancel_open(tx, partition.trigger_uid, partition.name, "replaced", backfills=False)
        rows: list[dict[str, Any]] = []
        for firing, drafted, admission in zip(
            draft.batch.firings, draft.rows, plan.admissions, strict=True
        ):
            row = {**drafted, "created_at": now}
            if admission in (Admission.SKIP_LEFT_OUT, Admission.SKIP_OVERLAP):
                reason = firing.skip or admission.value
                row.update(state=_SKIPPED, queue=None, reason=reason, ended_at=now)
            elif admission is Admission.LINE:
                row["queue"] = _LINE
            elif how.rate is not None:
                reserve_rate(tx.conn, row, Rate(per_second=how.rate), now)
            rows.append(row)
        return rows

    def _insert(self, conn: Connection, rows: list[dict[str, Any]]) -> bool:
        """Insert runs. Returns False if some were there before, and took their places."""
        if not rows:
            return True
        fresh = True
        conn.exec_driver_sql("SAVEPOINT runs")
        try:
            self._db.dialect.execute_many(conn, _INSERT, rows)
        except IntegrityError:
            # Somebody was here before the schedule: a backfill, or a restore that found the job.
            conn.exec_driver_sql("ROLLBACK TO SAVEPOINT runs")
            fresh = False
            for row in rows:
                if not self._db.dialect.insert_ignore(conn, runs, [row]):
                    join_run(conn, row)
        conn.exec_driver_sql("RELEASE SAVEPOINT runs")
        return fresh


def _place(draft: Draft) -> tuple[str, str]:
    return draft.batch.partition.trigger_uid, draft.batch.partition.name


def _due_partition(row: Any) -> DuePartition:
    uid, trigger_name, kind, version, definition, name, planned, ordinal, epoch, wake_at = row
    return DuePartition(
        trigger_uid=uid,
        trigger_name=trigger_name,
        kind=kind,
        version=version,
        definition=definition,
        name=name,
        planned=planned,
        ordinal=ordinal,
        epoch=epoch,
        wake_at=wake_at,
    )


def _advance(batch: PlannedBatch) -> dict[str, Any]:
    partition = batch.partition
    return {
        "b_uid": partition.trigger_uid,
        "b_name": partition.name,
        "b_epoch": partition.epoch,
        "b_ordinal": partition.ordinal,
        "v_planned": batch.planned,
        "v_wake_at": batch.wake_at,
        "v_ordinal": partition.ordinal + len(batch.firings),
    }


def join_run(conn: Connection, row: Mapping[str, Any]) -> None:
    """Give the run that has this key already its place in the partition's order."""
    conn.execute(
        update(runs)
        .where(runs.c.trigger_uid == row["trigger_uid"], runs.c.key == row["key"])
        .values(
            ordinal=row["ordinal"],
            range_start=row["range_start"],
            range_end=row["range_end"],
            partition=row["partition"],
        )
    )


def _open_runs(
    conn: Connection, batches: Sequence[PlannedBatch]
) -> dict[tuple[str, str], OpenRuns]:
    """The open runs of the partitions whose policy asks for them."""
    uids = [
        batch.partition.trigger_uid
        for batch in batches
        if batch.admittance.overlap is not Overlap.ALLOW
        or batch.admittance.max_in_flight is not None
    ]
    found: dict[tuple[str, str], OpenRuns] = {}
    for start in range(0, len(uids), _IN_CHUNK):
        statement = (
            select(
                runs.c.trigger_uid,
                runs.c.partition,
                func.count(),
                func.count().filter(runs.c.queue == Queue.LINE),
                func.count().filter(_FILLS),
                func.count().filter(_FILLS, runs.c.queue == Queue.LINE),
            )
            .where(
                runs.c.trigger_uid.in_(uids[start : start + _IN_CHUNK]),
                runs.c.ended_at.is_(None),
            )
            .group_by(runs.c.trigger_uid, runs.c.partition)
        )
        for uid, name, total, in_line, backfill, backfill_in_line in conn.execute(statement):
            found[uid, name] = OpenRuns(
                total=total,
                in_line=in_line,
                backfill=backfill,
                backfill_in_line=backfill_in_line,
            )
    return found


def new_run(
    instance: str,
    trigger_uid: str,
    key: str,
    *,
    version: int,
    definition: str,
    origin: Origin,
    partition: str,
    due_at: int,
    now: int,
    priority: int = 0,
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A row for `runs`: pending and ready."""
    return {
        "id": names.run_id(instance, trigger_uid, key),
        "trigger_uid": trigger_uid,
        "key": key,
        "version": version,
        "definition": definition,
        "origin": origin.value,
        "partition": partition,
        "ordinal": None,
        "range_start": None,
        "range_end": None,
        "state": _PENDING,
        "queue": _READY,
        "reason": "",
        "priority": priority,
        "due_at": due_at,
        "created_at": now,
        "not_before": due_at,
        "ended_at": None,
        "data": canonical(data) if data else "{}",
    }
