"""Lines: the order and the limits in which the pending runs of a partition become ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, case, func, select, update

from orchestrator.domain.limits import Rate
from orchestrator.domain.signals import Topic
from orchestrator.domain.states import Queue
from orchestrator.store import schema
from orchestrator.store.schema import partitions, runs, sources, triggers
from orchestrator.store.writer import Tx

_PROMOTE_AT_MOST = 1000  # a transaction
_UNFINISHED = case((runs.c.life_us.is_not(None), runs.c.range_end), else_=runs.c.range_start).label(
    "unfinished"
)


def hold(conn: Connection, places: Iterable[tuple[str, str]]) -> None:
    """Let nobody else count, promote or check off the runs of partitions before this transaction
    ends: (trigger uid, partition name) each. SQLite has one writer anyway.

    Two orchestrators that each see the other's run still open would both leave the next in line.
    Held in one order, and before runs are touched, so that they do not wait for each other.
    """
    for uid, name in sorted(set(places)):
        mine = (partitions.c.trigger_uid == uid) & (partitions.c.name == name)
        found = conn.execute(select(partitions.c.epoch).where(mine).with_for_update()).first()
        if found is None:  # of a source without order
            source = select(sources.c.state).where(sources.c.trigger_uid == uid)
            conn.execute(source.with_for_update())


def reserve_rate(conn: Connection, row: dict[str, Any], rate: Rate, now: int) -> None:
    """Give a run that becomes ready its place in the trigger's rate; sets its queue and time."""
    condition = triggers.c.uid == row["trigger_uid"]
    earliest = conn.scalar(select(triggers.c.rate_next).where(condition).with_for_update()) or 0
    at, following = rate.reserve(max(earliest, row["not_before"]), now)
    conn.execute(update(triggers).where(condition).values(rate_next=following))
    row["not_before"] = at
    row["queue"] = Queue.DELAYED if at > now else Queue.READY


def promote(
    tx: Tx,
    trigger_uid: str,
    partition: str,
    *,
    room: int | None,
    rate: float | None,
    now: int,
    blocks: bool = False,
) -> int:
    """Let the head of a partition's line become ready, as far as `room` allows (None: all).

    Runs that fill gaps go after all others. With `blocks` nothing goes past a dead run of the
    partition that nobody has released.
    """
    mine = (runs.c.trigger_uid == trigger_uid) & (runs.c.partition == partition)
    in_line = mine & schema.is_in_line
    if blocks and is_blocked(tx.conn, trigger_uid, partition):
        return 0
    free = _PROMOTE_AT_MOST
    if room is not None:
        # Each count reads one partial index alone, however long the line is.
        waiting = tx.conn.scalar(select(func.count()).where(in_line)) or 0
        if not waiting:
            return 0
        all_open = tx.conn.scalar(select(func.count()).where(mine, runs.c.ended_at.is_(None))) or 0
        free = min(free, room - (all_open - waiting))
    if free <= 0:
        return 0
    head = (
        select(runs.c.id, runs.c.not_before).where(in_line).order_by(runs.c.due_at, runs.c.ordinal)
    )
    live = head.where(schema.is_live_in_line).limit(free)
    rows = [dict(row) for row in tx.conn.execute(live).mappings()]
    if len(rows) < free:
        rest = head.where(~schema.is_live).limit(free - len(rows))
        rows += [dict(row) for row in tx.conn.execute(rest).mappings()]
    for row in rows:
        row |= {"trigger_uid": trigger_uid, "queue": Queue.READY}
        row["not_before"] = max(row["not_before"], now)
        if rate is not None:
            reserve_rate(tx.conn, row, Rate(per_second=rate), now)
        tx.conn.execute(
            update(runs)
            .where(runs.c.id == row["id"], schema.is_in_line)
            .values(queue=row["queue"], not_before=row["not_before"])
        )
    if rows:
        tx.notify(Topic.READY)
    return len(rows)


def is_blocked(conn: Connection, trigger_uid: str, partition: str) -> bool:
    """Whether a dead run of the partition's order waits for somebody to redrive or release it."""
    statement = (
        select(runs.c.id)
        .where(
            runs.c.trigger_uid == trigger_uid,
            runs.c.partition == partition,
            runs.c.ordinal.is_not(None),
            schema.is_dead,
            ~runs.c.released,
        )
        .limit(1)
    )
    return conn.scalar(statement) is not None


def cancel_open(
    tx: Tx, trigger_uid: str, partition: str | None, reason: str, *, backfills: bool = True
) -> int:
    """Ask for the end of a trigger's open runs: the completer ends those that wait, the canceller
    those in flight. Without `backfills` those that fill gaps go on. Returns how many."""
    mine = (runs.c.trigger_uid == trigger_uid) & runs.c.ended_at.is_(None)
    if partition is not None:
        mine &= runs.c.partition == partition
    if not backfills:
        mine &= schema.is_live
    asked = tx.conn.execute(
        update(runs).where(mine, runs.c.cancel.is_(None)).values(cancel=reason)
    ).rowcount
    if asked:
        tx.notify(Topic.CANCEL, Topic.ENDED)
    return asked


def move_done(conn: Connection, trigger_uid: str, partition: str) -> None:
    """Move `done` over the contiguous prefix of what is finished.

    That is the start of the first run that is open or dead and not released; without one, it is
    `planned`. Both are found by partial indexes that hold only such runs. Of a long-lived consumer
    everything up to its progress is finished, whatever becomes of it.
    """
    mine = (
        (runs.c.trigger_uid == trigger_uid)
        & (runs.c.partition == partition)
        & runs.c.ordinal.is_not(None)
    )
    firsts: list[Mapping[str, Any]] = []
    for condition in (
        runs.c.ended_at.is_(None),
        schema.is_dead & ~runs.c.released,
    ):
        statement = (
            select(runs.c.ordinal, _UNFINISHED)
            .where(mine, condition)
            .order_by(runs.c.ordinal)
            .limit(1)
        )
        firsts += [dict(row) for row in conn.execute(statement).mappings()]
    first = min(firsts, key=lambda row: row["ordinal"], default=None)
    conn.execute(
        update(partitions)
        .where(partitions.c.trigger_uid == trigger_uid, partitions.c.name == partition)
        .values(done=partitions.c.planned if first is None else first["unfinished"])
    )
