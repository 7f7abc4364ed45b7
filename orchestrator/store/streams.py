"""Streams: batches of ordered partitions come into the ledger, and `planned` moves with them.

Killed before the commit, nothing has happened and the source is read again from `planned`; after
it, the batch is a run for ever, because the update of the partition is conditional on what was
read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import Origin, Queue, RunState
from orchestrator.store import schema
from orchestrator.store.database import Database, canonical
from orchestrator.store.intake import join_run, new_run
from orchestrator.store.lines import hold, move_done, promote
from orchestrator.store.outbox import Callback, put
from orchestrator.store.schema import partitions, runs
from orchestrator.store.sources import STRIDE, Source, StreamPartition
from orchestrator.store.writer import Tx

SPLIT = "split"  # the reason of a run whose halves run in its place
BROUGHT = "inputs"  # in a run's values: how many input sources it has brought along
_END = "end"
_NOTHING = canonical({})


@dataclass(frozen=True, kw_only=True)
class StreamBatch:
    """What one run is for. `end` is where the next begins."""

    start: str
    end: str
    values: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]] = ()
    state: RunState = RunState.PENDING  # or SKIPPED, or DEAD for what the source has lost
    reason: str = ""
    released: bool = False  # dead, but nobody need decide
    life_us: int | None = None
    stall_us: int | None = None
    callbacks: Sequence[Callback] = field(default_factory=tuple[Callback, ...])
    """What they say of the run's id and key is filled in."""


@dataclass(frozen=True, kw_only=True)
class How:
    """How a trigger's runs are let go: see `lines.promote`."""

    room: int | None
    rate: float | None
    blocks: bool
    priority: int = 0


_ADVANCE = (
    update(partitions)
    .where(
        partitions.c.trigger_uid == bindparam("b_uid"),
        partitions.c.name == bindparam("b_name"),
        partitions.c.epoch == bindparam("b_epoch"),
        partitions.c.ordinal == bindparam("b_ordinal"),
    )
    .values(planned=bindparam("v_planned"), ordinal=bindparam("v_ordinal"))
)


def batch_key(partition: str, batch: StreamBatch, *, generation: int, ordinal: int) -> str:
    """The key of a batch's run: partition and range. After a jump backwards the same range may
    come again, and is another firing."""
    again = f"~{generation}" if generation else ""
    if batch.life_us is not None:
        return f"{partition}/{batch.start}+{ordinal // STRIDE}{again}"
    return f"{partition}/{batch.start}-{batch.end}{again}"


def read_key(key: str) -> tuple[str, str, str] | None:
    """Partition, start and end of a key that `batch_key` has made for a range; None for others."""
    partition, slash, span = key.rpartition("/")
    start, dash, end = span.partition("~")[0].partition("-")
    return (partition, start, end) if slash and dash and start and end else None


class Streams:
    """Takes in what sources yield, and moves what is in line."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def take_in(
        self, source: Source, planned: Mapping[StreamPartition, Sequence[StreamBatch]], how: How
    ) -> set[str]:
        """Take in batches that begin where their partition stands. Returns the names of the
        partitions that took them: one that has moved meanwhile (a jump by command, another
        orchestrator) is left out, and is read again."""
        return self._db.write(lambda tx: self._take_in(tx, source, planned, how), "batch")

    def _take_in(
        self,
        tx: Tx,
        source: Source,
        planned: Mapping[StreamPartition, Sequence[StreamBatch]],
        how: How,
    ) -> set[str]:
        uid, now = source.trigger_uid, self._db.clock.now()
        hold(tx.conn, [(uid, partition.name) for partition in planned])
        moved = self._db.dialect.update_many(
            tx.conn, _ADVANCE, [_advance(uid, p, batches) for p, batches in planned.items()]
        )
        taken = [item for item, ok in zip(planned.items(), moved, strict=True) if ok]
        for partition, batches in taken:
            rows = [
                self._row(source, partition, batch, place, how, now)
                for place, batch in enumerate(batches)
            ]
            for row, batch in zip(rows, batches, strict=True):
                if not self._db.dialect.insert_ignore(tx.conn, runs, [row]):
                    join_run(tx.conn, row)
                named = {"run": row["id"], "key": row["key"]}
                told = [replace(c, payload={**c.payload, **named}) for c in batch.callbacks]
                put(tx, row["id"], told, now)
            if any(row["ended_at"] is not None for row in rows):
                move_done(tx.conn, uid, partition.name)
            self._promote(tx, uid, partition.name, how, now)
        if taken:
            tx.notify(Topic.CHANGED)
        return {partition.name for partition, _ in taken}

    def _row(
        self,
        source: Source,
        partition: StreamPartition,
        batch: StreamBatch,
        place: int,
        how: How,
        now: int,
    ) -> dict[str, Any]:
        ordinal = partition.ordinal + place * STRIDE
        key = batch_key(partition.name, batch, generation=partition.generation, ordinal=ordinal)
        row = new_run(
            self._db.instance,
            source.trigger_uid,
            key,
            version=source.version,
            definition=source.definition,
            origin=Origin.SOURCE,
            partition=partition.name,
            due_at=now + place,  # so that runs of one moment are listed in their order, too
            now=now,
            priority=how.priority,
            data=_data(batch),
        )
        ended = batch.state is not RunState.PENDING
        return row | {
            "ordinal": ordinal,
            "range_start": batch.start,
            "range_end": batch.end,
            "state": batch.state.value,
            "queue": None if ended else Queue.LINE.value,
            "reason": batch.reason,
            "ended_at": now if ended else None,
            "released": batch.released,
            "payload": canonical(list(batch.inputs)) if batch.inputs else None,
            "life_us": batch.life_us,
            "stall_us": batch.stall_us,
        }

    def _promote(self, tx: Tx, uid: str, partition: str, how: How, now: int) -> int:
        return promote(tx, uid, partition, room=how.room, rate=how.rate, blocks=how.blocks, now=now)

    def promote(self, trigger_uid: str, names: Sequence[str], how: How) -> int:
        """Let runs in line become ready, where what held them up has gone. Returns how many."""

        def operation(tx: Tx) -> int:
            now = self._db.clock.now()
            hold(tx.conn, [(trigger_uid, name) for name in names])
            return sum(self._promote(tx, trigger_uid, name, how, now) for name in names)

        return self._db.write(operation, "batch")

    def absorb(
        self,
        trigger_uid: str,
        partition: str,
        given: Callable[[str, str], Mapping[str, Any]],
    ) -> str | None:
        """Give runs that a restore has found on the cluster their place in the partition's order,
        and the values that `given` knows for their start and end: they can be tried again then.

        Goes on over those that begin where the partition stands. Returns where one begins that
        lies further on, if there is any: nothing may be planned beyond it.
        """

        def operation(tx: Tx) -> str | None:
            hold(tx.conn, [(trigger_uid, partition)])
            mine = (partitions.c.trigger_uid == trigger_uid) & (partitions.c.name == partition)
            place = tx.conn.execute(select(partitions).where(mine)).mappings().one()
            loose = tx.conn.execute(
                select(runs.c.id, runs.c.range_start, runs.c.range_end, runs.c.data)
                .where(
                    runs.c.trigger_uid == trigger_uid,
                    runs.c.partition == partition,
                    runs.c.origin == Origin.RESTORED,
                    runs.c.ordinal.is_(None),
                    runs.c.range_start.is_not(None),
                )
                .order_by(runs.c.due_at, runs.c.id)
            ).all()
            for row in loose:
                if row.data == _NOTHING:
                    data = canonical(given(row.range_start, row.range_end))
                    tx.conn.execute(update(runs).where(runs.c.id == row.id).values(data=data))
            by_start = {row.range_start: row for row in loose}
            planned, ordinal = place["planned"], place["ordinal"]
            while planned in by_start:
                row = by_start.pop(planned)
                tx.conn.execute(update(runs).where(runs.c.id == row.id).values(ordinal=ordinal))
                planned, ordinal = row.range_end, ordinal + STRIDE
            if ordinal != place["ordinal"]:
                following = None if planned == _END else planned
                tx.conn.execute(
                    update(partitions).where(mine).values(planned=following, ordinal=ordinal)
                )
                move_done(tx.conn, trigger_uid, partition)
            return next(iter(by_start), None)

        return self._db.write(operation, "absorb")

    def has_loose(self, trigger_uid: str) -> set[str]:
        """Partitions with runs that a restore has found and that have no place yet."""
        statement = (
            select(runs.c.partition)
            .where(
                runs.c.trigger_uid == trigger_uid,
                runs.c.origin == Origin.RESTORED,
                runs.c.ordinal.is_(None),
                runs.c.range_start.is_not(None),
            )
            .distinct()
        )
        with self._db.read() as conn:
            return set(conn.scalars(statement))

    def split(self, run_id: str, halves: Sequence[StreamBatch], how: How) -> bool:
        """Let the halves of a dead run run in its place. Returns whether it was there to be split.

        The run ends as skipped in the transaction that inserts them: at every moment the ranges
        of the runs with a place tile.
        """

        def operation(tx: Tx) -> bool:
            found = (
                tx.conn.execute(
                    select(runs).where(runs.c.id == run_id, schema.is_dead, ~runs.c.released)
                )
                .mappings()
                .first()
            )
            if found is None or found["ordinal"] is None:
                return False
            row: dict[str, Any] = {str(key): value for key, value in found.items()}
            uid, partition, now = row["trigger_uid"], row["partition"], self._db.clock.now()
            hold(tx.conn, [(uid, partition)])
            step = _step(tx.conn, row)
            if step < len(halves):
                return False
            gone = tx.conn.execute(
                update(runs)
                .where(runs.c.id == run_id, schema.is_dead, ~runs.c.released)
                .values(state=RunState.SKIPPED, reason=SPLIT, ordinal=None)
            ).rowcount
            if not gone:
                return False
            for place, half in enumerate(halves):
                child = self._half(row, half, now)
                child["ordinal"] = row["ordinal"] + place * (step // len(halves))
                tx.conn.execute(insert(runs), [child])
            move_done(tx.conn, uid, partition)
            self._promote(tx, uid, partition, how, now)
            tx.notify(Topic.CHANGED)
            return True

        return self._db.write(operation, "split")

    def _half(self, parent: Mapping[str, Any], half: StreamBatch, now: int) -> dict[str, Any]:
        generation = parent["key"].partition("~")[2]
        key = batch_key(
            parent["partition"], half, generation=int(generation or 0), ordinal=parent["ordinal"]
        )
        row = new_run(
            self._db.instance,
            parent["trigger_uid"],
            key,
            version=parent["version"],
            definition=parent["definition"],
            origin=Origin.SOURCE,
            partition=parent["partition"],
            due_at=parent["due_at"],
            now=now,
            priority=parent["priority"],
            data=_data(half),
        )
        return row | {
            "queue": Queue.LINE.value,
            "range_start": half.start,
            "range_end": half.end,
            "payload": canonical(list(half.inputs)) if half.inputs else None,
        }


def _data(batch: StreamBatch) -> Mapping[str, Any]:
    return {**batch.values, BROUGHT: len(batch.inputs)} if batch.inputs else batch.values


def _advance(
    uid: str, partition: StreamPartition, batches: Sequence[StreamBatch]
) -> dict[str, Any]:
    end = batches[-1].end
    return {
        "b_uid": uid,
        "b_name": partition.name,
        "b_epoch": partition.epoch,
        "b_ordinal": partition.ordinal,
        "v_planned": None if end == _END else end,
        "v_ordinal": partition.ordinal + len(batches) * STRIDE,
    }


def _step(conn: Connection, row: Mapping[str, Any]) -> int:
    """How far it is to the ordinal of the next run."""
    following = conn.scalar(
        select(runs.c.ordinal)
        .where(
            runs.c.trigger_uid == row["trigger_uid"],
            runs.c.partition == row["partition"],
            runs.c.ordinal > row["ordinal"],
        )
        .order_by(runs.c.ordinal)
        .limit(1)
    )
    whole = (row["ordinal"] // STRIDE + 1) * STRIDE
    return (whole if following is None else min(following, whole)) - row["ordinal"]
