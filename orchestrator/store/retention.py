"""Retention: ended runs go after a while, the proof that nothing is missing stays.

Of an ordered partition only a contiguous prefix goes, and `base` moves with it: what is left
still tiles from `base` to `planned`, so the audit holds without what is gone. Dead runs stay until
somebody redrives or discards them, and so does everything behind them. So do backfilled due times
outside of the order: without their rows they would be gaps again.
"""

from __future__ import annotations

import json

from sqlalchemy import Connection, and_, delete, func, or_, select, update

from orchestrator.domain.states import Origin
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.schema import (
    arrivals,
    attempts,
    definitions,
    job_keys,
    outbox,
    partitions,
    runs,
    templates,
    trail,
)
from orchestrator.store.writer import Tx

_BATCH = 1000  # runs a transaction
# What a source has stored for a run is removed first, by whoever reads the source.
_IS_OVER = and_(or_(runs.c.state != "dead", runs.c.released), runs.c.payload.is_(None))


class Retention:
    """Removes what nobody needs any more."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def sweep(self, before: int, limit: int = _BATCH) -> int:
        """Remove up to `limit` runs that ended before the instant `before`, and what hangs on them.

        Returns how many runs went; 0 means that there is nothing left to remove.
        """
        with self._db.read() as conn:
            ordered = conn.execute(
                select(runs.c.trigger_uid, runs.c.partition)
                .join(
                    partitions,
                    (partitions.c.trigger_uid == runs.c.trigger_uid)
                    & (partitions.c.name == runs.c.partition)
                    & (partitions.c.base_ordinal == runs.c.ordinal),
                )
                .where(runs.c.due_at < before, runs.c.ended_at < before, _IS_OVER)
                .order_by(runs.c.due_at)
                .limit(limit)
            ).all()
            loose = list(
                conn.scalars(
                    select(runs.c.id)
                    .where(
                        runs.c.due_at < before,
                        runs.c.ended_at < before,
                        runs.c.ordinal.is_(None),
                        runs.c.origin != Origin.BACKFILL,
                        _IS_OVER,
                    )
                    .order_by(runs.c.due_at)
                    .limit(limit)
                )
            )
        removed = 0
        for uid, name in ordered:
            removed += self._prefix(uid, name, before, limit - removed)
            if removed >= limit:
                break
        if loose:
            self._db.write(lambda tx: self._remove_loose(tx, loose), "sweep")
        return removed + len(loose)

    def _remove_loose(self, tx: Tx, ids: list[str]) -> None:
        whole = select(runs.c.definition).where(runs.c.id.in_(ids), schema.is_whole).distinct()
        brought = list(tx.conn.scalars(whole))
        _remove(tx, ids)
        if brought:
            # Whoever brings one of these jobs again does so under the same lock.
            self._db.dialect.lock_claims(tx.conn)
            _remove_content(tx, brought)

    def _prefix(self, uid: str, name: str, before: int, limit: int) -> int:
        def operation(tx: Tx) -> int:
            place = tx.conn.execute(
                select(partitions.c.base, partitions.c.base_ordinal, partitions.c.ordinal).where(
                    partitions.c.trigger_uid == uid, partitions.c.name == name
                )
            ).one()
            rows = tx.conn.execute(
                select(
                    runs.c.id,
                    runs.c.ordinal,
                    runs.c.range_start,
                    runs.c.range_end,
                    runs.c.ended_at,
                    _IS_OVER.label("over"),
                )
                .where(
                    runs.c.trigger_uid == uid,
                    runs.c.partition == name,
                    runs.c.ordinal >= place.base_ordinal,
                )
                .order_by(runs.c.ordinal)
                .limit(limit)
                .with_for_update()
            ).all()
            gone: list[str] = []
            end: str | None = place.base
            last = place.base_ordinal
            for row in rows:
                ended = row.ended_at is not None and row.ended_at < before
                if row.range_start != end or not ended or not row.over:
                    break
                gone.append(row.id)
                end, last = row.range_end, row.ordinal
            if gone:
                following = _next_ordinal(tx.conn, uid, name, last)
                tx.conn.execute(
                    update(partitions)
                    .where(partitions.c.trigger_uid == uid, partitions.c.name == name)
                    .values(
                        base=end,
                        base_ordinal=place.ordinal if following is None else following,
                    )
                )
                _remove(tx, gone)
            return len(gone)

        return self._db.write(operation, "sweep")

    def sweep_trail(self, before: int) -> None:
        """Remove entries of the audit trail, delivered callbacks, and successes that a trigger
        with `after` has waited with for others in vain."""

        def operation(tx: Tx) -> None:
            tx.conn.execute(delete(trail).where(trail.c.at < before))
            tx.conn.execute(delete(outbox).where(outbox.c.done_at < before))
            tx.conn.execute(delete(arrivals).where(arrivals.c.at < before))

        self._db.write(operation, "sweep")


def _next_ordinal(conn: Connection, uid: str, name: str, last: int) -> int | None:
    """The place of the run behind `last`; halves of a run lie closer than whole ones."""
    return conn.scalar(
        select(func.min(runs.c.ordinal)).where(
            runs.c.trigger_uid == uid, runs.c.partition == name, runs.c.ordinal > last
        )
    )


def _remove(tx: Tx, ids: list[str]) -> None:
    # Somebody may have asked for one of them again since they were read.
    ended = select(runs.c.id).where(runs.c.id.in_(ids), runs.c.ended_at.is_not(None))
    ids = list(tx.conn.scalars(ended.with_for_update()))
    tx.conn.execute(delete(attempts).where(attempts.c.run_id.in_(ids)))
    # A callback that is not delivered yet stays: it holds all that it says.
    tx.conn.execute(delete(outbox).where(outbox.c.run_id.in_(ids), outbox.c.done_at.is_not(None)))
    tx.conn.execute(delete(job_keys).where(job_keys.c.run_id.in_(ids)))
    tx.conn.execute(delete(runs).where(runs.c.id.in_(ids)))


def _remove_content(tx: Tx, hashes: list[str]) -> None:
    """Remove the definitions of jobs that came whole, and their templates, which no other
    definition has, where no run has them any more."""
    used = set(
        tx.conn.scalars(
            select(runs.c.definition).where(runs.c.definition.in_(hashes), schema.is_whole)
        )
    )
    gone = [digest for digest in hashes if digest not in used]
    bodies = tx.conn.scalars(select(definitions.c.body).where(definitions.c.hash.in_(gone)))
    brought = [json.loads(body)["template"] for body in bodies]
    tx.conn.execute(delete(definitions).where(definitions.c.hash.in_(gone)))
    tx.conn.execute(delete(templates).where(templates.c.hash.in_(brought)))
