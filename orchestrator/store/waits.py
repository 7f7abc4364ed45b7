"""Waits: what was to come after a while still comes after that while when the clock is set.

What stands in the store are instants. When somebody sets the clock by an hour, a retry that was to
come in five seconds would come in an hour, or at once. So everything that waits is moved by as
much as the clock was.

Deadlines and holds belong to the orchestrator that has the run, and move with its clock. Delayed
runs, rates and callbacks belong to nobody: all orchestrators on a store share them, and on one
machine all see the same step. It is written down who has moved them last, by how much and when;
another that finds its own step there leaves them as they are.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists, update

from orchestrator.domain.clock import SECOND
from orchestrator.store import schema
from orchestrator.store.database import Database, get_meta
from orchestrator.store.schema import attempts, meta, outbox, runs, triggers
from orchestrator.store.writer import Tx

_STEP = "clock.step"  # "<microseconds> <instant after it> <owner>" of the last step made up for
_SAME_SIZE = SECOND // 2  # each measures the step for itself
_SAME_TIME = 30 * SECOND  # and notices it when it comes round


class Waits:
    """Moves what waits, for one orchestrator."""

    def __init__(self, database: Database, owner: str) -> None:
        self._db = database
        self._owner = owner

    def shift(self, step: int, now: int, noticed: int = 0) -> None:
        """The clock was set by `step` microseconds and shows `now`: let waits move with it.

        It was set at most `noticed` microseconds ago; what was written since is right already.
        """

        def operation(tx: Tx) -> None:
            self._shift_own(tx, step, now, noticed)
            if self._first(tx, step, now):
                _shift_shared(tx, step, now)

        self._db.write(operation, "shift")

    def _shift_own(self, tx: Tx, step: int, now: int, noticed: int) -> None:
        ours = exists().where(runs.c.id == attempts.c.run_id, runs.c.owner == self._owner)
        for column, written in (
            (attempts.c.deadline_at, attempts.c.submitted_at),
            (attempts.c.hold_until, attempts.c.stopped_at),
        ):
            tx.conn.execute(
                update(attempts)
                .where(
                    attempts.c.deadline_at.is_not(None),
                    attempts.c.ended_at.is_(None),
                    column > min(now, now - step),
                    ~written.between(now - noticed, now),
                    ours,
                )
                .values({column: column + step})
            )

    def _first(self, tx: Tx, step: int, now: int) -> bool:
        """Whether nobody else has made up for this step. Who asks first is written down."""
        self._db.dialect.insert_ignore(tx.conn, meta, [{"key": _STEP, "value": ""}])
        mine = f"{step} {now} {self._owner}"
        while True:
            last = get_meta(tx.conn, _STEP) or ""
            if self._is_same(last, step, now):
                return False
            # Another transaction may write it meanwhile: then this one finds it written.
            unchanged = update(meta).where(meta.c.key == _STEP, meta.c.value == last)
            if tx.conn.execute(unchanged.values(value=mine)).rowcount:
                return True

    def _is_same(self, last: str, step: int, now: int) -> bool:
        if not last:
            return False
        by, at, owner = last.split(" ", 2)
        return (
            owner != self._owner  # nobody sees one step twice
            and abs(int(by) - step) < _SAME_SIZE
            and abs(int(at) - now) < _SAME_TIME
        )


def _shift_shared(tx: Tx, step: int, now: int) -> None:
    def waits(column: ColumnElement[int]) -> ColumnElement[bool]:
        # What was to come before the step: now long past, or far off.
        return column.between(now - step, now) if step > 0 else column > now

    for condition, column in (
        (schema.is_delayed, runs.c.not_before),
        (None, triggers.c.rate_next),
        (outbox.c.done_at.is_(None), outbox.c.next_at),
    ):
        statement = update(column.table).where(waits(column)).values({column: column + step})
        tx.conn.execute(statement if condition is None else statement.where(condition))
