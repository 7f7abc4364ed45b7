"""Demand: how much a trigger has to do, for services whose number follows it."""

from __future__ import annotations

from sqlalchemy import func, select

from orchestrator.domain.states import RunState
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.schema import runs


class Demand:
    """Counts of one trigger's runs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def waiting(self, trigger_uid: str) -> int:
        """Its runs that wait for their turn; those whose time has not come are left out."""
        statement = select(func.count()).where(
            runs.c.trigger_uid == trigger_uid,
            runs.c.ended_at.is_(None),
            runs.c.state == RunState.PENDING,
            ~schema.is_future,
        )
        with self._db.read() as conn:
            return conn.scalar(statement) or 0

    def due_between(self, trigger_uid: str, since: int, until: int) -> int:
        """Its runs that became due in [since, until)."""
        statement = select(func.count()).where(
            runs.c.trigger_uid == trigger_uid, runs.c.due_at >= since, runs.c.due_at < until
        )
        with self._db.read() as conn:
            return conn.scalar(statement) or 0
