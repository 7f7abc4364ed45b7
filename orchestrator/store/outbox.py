"""Callbacks: written with the ending that causes them, delivered afterwards, at least once."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from orchestrator.domain.signals import Topic
from orchestrator.store.database import Database, canonical
from orchestrator.store.schema import outbox
from orchestrator.store.writer import Tx


@dataclass(frozen=True, kw_only=True)
class Callback:
    """What is to be told, and where."""

    event: str  # on_success, on_failure, on_abort
    target: Mapping[str, Any]
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A callback that is to be delivered now."""

    id: int
    run_id: str
    event: str
    target: Mapping[str, Any]
    target_text: str  # the same as it is stored, to compare by
    payload: str
    created_at: int
    next_at: int
    tries: int


def put(tx: Tx, run_id: str, callbacks: Sequence[Callback], now: int) -> None:
    """Write callbacks in the transaction of their ending."""
    if not callbacks:
        return
    rows = [
        {
            "run_id": run_id,
            "event": callback.event,
            "target": canonical(callback.target),
            "payload": canonical(callback.payload),
            "created_at": now,
            "next_at": now,
        }
        for callback in callbacks
    ]
    tx.conn.execute(insert(outbox), rows)
    tx.notify(Topic.OUTBOX)


class Outbox:
    """The store's side of delivery."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def pending(self, now: int, limit: int = 100, *, skip: Collection[str] = ()) -> list[Pending]:
        """Callbacks to deliver by `now`, but for the targets in `skip` (as they are stored)."""
        statement = (
            select(outbox)
            .where(outbox.c.done_at.is_(None), outbox.c.next_at <= now)
            .order_by(outbox.c.next_at)
            .limit(limit)
        )
        if skip:
            statement = statement.where(outbox.c.target.not_in(list(skip)))
        with self._db.read() as conn:
            return [
                Pending(
                    id=row["id"],
                    run_id=row["run_id"],
                    event=row["event"],
                    target=json.loads(row["target"]),
                    target_text=row["target"],
                    payload=row["payload"],
                    created_at=row["created_at"],
                    next_at=row["next_at"],
                    tries=row["tries"],
                )
                for row in conn.execute(statement).mappings()
            ]

    def next_at(self) -> int | None:
        """When the next callback is to be delivered."""
        with self._db.read() as conn:
            return conn.scalar(
                select(outbox.c.next_at)
                .where(outbox.c.done_at.is_(None))
                .order_by(outbox.c.next_at)
                .limit(1)
            )

    def claim(self, callbacks: Sequence[Pending], until: int) -> list[Pending]:
        """Take callbacks until an instant, so that no other orchestrator delivers them meanwhile.

        Returns those that were free. After a crash they are due again at `until`.
        """
        if not callbacks:
            return []

        def operation(tx: Tx) -> list[Pending]:
            return [
                callback
                for callback in callbacks
                if tx.conn.execute(
                    update(outbox)
                    .where(
                        outbox.c.id == callback.id,
                        outbox.c.tries == callback.tries,
                        outbox.c.next_at == callback.next_at,
                        outbox.c.done_at.is_(None),
                    )
                    .values(next_at=until)
                ).rowcount
            ]

        return self._db.write(operation, "callback")

    def delivered(self, callback: Pending) -> None:
        """The receiver has it."""
        self._change(callback, done_at=self._db.clock.now(), error="")

    def failed(self, callback: Pending, error: str, next_at: int | None) -> None:
        """Not delivered: try again at `next_at`, or give up with None and keep the error."""
        now = self._db.clock.now()
        later = {"done_at": now} if next_at is None else {"next_at": next_at}
        self._change(callback, error=error, **later)

    def _change(self, callback: Pending, **values: Any) -> None:
        statement = (
            update(outbox)
            .where(
                outbox.c.id == callback.id,
                outbox.c.tries == callback.tries,
                outbox.c.done_at.is_(None),
            )
            .values(tries=callback.tries + 1, **values)
        )
        self._db.write(lambda tx: tx.conn.execute(statement).rowcount, "outbox")
