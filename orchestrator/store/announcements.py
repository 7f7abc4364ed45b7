"""Announcements: which runs have changed since a broker was told of them.

The database itself writes a row for each run whose state changes, in the transaction that changes
it, whatever code does that; the row goes once the broker has been told of the state that it was
written for. Killed in between, the broker is told once more. Where nobody wants announcements the
database writes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, exists, insert, literal, select, text

from orchestrator.store.database import Database
from orchestrator.store.schema import announcements, attempts, runs, triggers
from orchestrator.store.writer import Tx

_SWITCH = "announcements"


@dataclass(frozen=True, kw_only=True)
class Untold:
    """A run of which the broker is to be told; `run` is None for one that is gone."""

    run_id: str
    revision: int
    run: Mapping[str, Any] | None


class Announcements:
    """The store's side of announcing."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def switch(self, on: bool) -> None:
        """Let the database write announcements, or no more. The first time all runs that have not
        ended are announced."""

        with self._db.read() as conn:
            if self._db.dialect.announces(conn) == on:
                return

        def operation(tx: Tx) -> None:
            if self._db.dialect.announces(tx.conn) == on:
                return  # another orchestrator was first
            for statement in self._db.dialect.announcing(on):
                tx.conn.execute(text(statement))
            tx.conn.execute(delete(announcements))
            if on:
                open_ = select(runs.c.id, literal(1)).where(runs.c.ended_at.is_(None))
                columns = ["run_id", "revision"]
                tx.conn.execute(insert(announcements).from_select(columns, open_))

        self._db.write(operation, _SWITCH)

    def untold(self, limit: int = 100) -> list[Untold]:
        """Runs of which the broker is to be told, some at a time."""
        last = and_(attempts.c.run_id == runs.c.id, attempts.c.number == runs.c.attempts)
        statement = (
            select(
                announcements,
                *(runs.c[name] for name in _RUN),
                triggers.c.name.label("trigger"),
                *(attempts.c[name] for name in _ATTEMPT),
            )
            .outerjoin(runs, runs.c.id == announcements.c.run_id)
            .outerjoin(triggers, triggers.c.uid == runs.c.trigger_uid)
            .outerjoin(attempts, last)
            .limit(limit)
        )
        with self._db.read() as conn:
            return [
                Untold(
                    run_id=row["run_id"],
                    revision=row["revision"],
                    run=None if row["state"] is None else dict(row),
                )
                for row in conn.execute(statement).mappings()
            ]

    def told(self, found: Sequence[Untold]) -> None:
        """The broker was told of these. One that has changed meanwhile stays; one of which another
        orchestrator told meanwhile is told of again, because nobody knows whose word was last."""

        def operation(tx: Tx) -> None:
            for one in found:
                mine = announcements.c.run_id == one.run_id
                same = announcements.c.revision == one.revision
                if tx.conn.execute(delete(announcements).where(mine, same)).rowcount:
                    continue
                there = select(exists().where(mine))
                if one.run is not None and not tx.conn.scalar(there):
                    row = {"run_id": one.run_id, "revision": one.revision + 1}
                    tx.conn.execute(insert(announcements), [row])

        if found:
            self._db.write(operation, "announced")


_RUN = ("state", "key", "reason", "created_at", "due_at", "started_at", "ended_at", "attempts")
_ATTEMPT = ("exit_code", "stdout", "stderr")
