"""Leases: which orchestrators live on this store, by the database's clock."""

from __future__ import annotations

from sqlalchemy import delete, insert, or_, select, update

from orchestrator.domain.signals import Topic
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.schema import orchestrators, runs
from orchestrator.store.writer import Tx


class Leases:
    """The lease of one orchestrator."""

    def __init__(self, database: Database, owner: str) -> None:
        self._db = database
        self._owner = owner

    def renew(self, duration: int) -> None:
        """Be alive for another `duration` microseconds."""

        def operation(tx: Tx) -> None:
            now = self._db.dialect.now(tx.conn)
            mine = orchestrators.c.id == self._owner
            values = {"lease_until": now + duration}
            if not tx.conn.execute(update(orchestrators).where(mine).values(**values)).rowcount:
                tx.conn.execute(
                    insert(orchestrators).values(id=self._owner, started_at=now, **values)
                )

        self._db.write(operation, "lease")

    def give_back(self) -> None:
        """Be gone, and let others know at once."""

        def operation(tx: Tx) -> None:
            tx.conn.execute(delete(orchestrators).where(orchestrators.c.id == self._owner))

        self._db.write(operation, "lease")

    def adopt_orphans(self) -> int:
        """Take over runs in flight whose orchestrator is gone; their fencing token moves on."""
        with self._db.read() as conn:
            owners = select(runs.c.owner).where(schema.in_flight).distinct()
            if set(conn.scalars(owners)) <= {self._owner}:
                return 0

        def operation(tx: Tx) -> int:
            now = self._db.dialect.now(tx.conn)
            alive = select(orchestrators.c.id).where(orchestrators.c.lease_until > now)
            orphaned = or_(runs.c.owner.is_(None), runs.c.owner.not_in(alive))
            adopted = tx.conn.execute(
                update(runs)
                .where(schema.in_flight, orphaned)
                .values(owner=self._owner, fence=runs.c.fence + 1)
            ).rowcount
            if adopted:
                tx.notify(Topic.ADOPTED, Topic.ENDED, Topic.CANCEL)
            return adopted

        return self._db.write(operation, "adopt")

    def alive(self) -> list[str]:
        """The orchestrators whose lease runs."""
        with self._db.read() as conn:
            now = self._db.dialect.now(conn)
            return list(
                conn.scalars(select(orchestrators.c.id).where(orchestrators.c.lease_until > now))
            )
