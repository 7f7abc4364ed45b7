"""Heartbeats: what a service's task says while it runs, believed of one task of a copy alone.

The first heartbeat of an attempt makes it the one that counts; from then on the life before it, and
any other execution that the cluster may have started of the same job, is told to leave.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, or_, select, update

from orchestrator.domain.keeping import read_life_key
from orchestrator.domain.states import AttemptState
from orchestrator.store.copies import replace_older
from orchestrator.store.database import Database
from orchestrator.store.errors import StoreError
from orchestrator.store.schema import attempts, copies, runs
from orchestrator.store.writer import Tx

_LIVE = (AttemptState.SENDING, AttemptState.ACCEPTED, AttemptState.RUNNING)


class Leave(StoreError):
    """The task is to end itself; the text says why."""


class OtherExecution(Leave):
    """Another execution of the same attempt is the one that counts."""


class Unheard(StoreError):
    """The run is not known here, or not yet."""


@dataclass(frozen=True, kw_only=True)
class Beat:
    """What a task says. Progress and checkpoint are JSON texts; None: nothing new."""

    run_id: str
    attempt: int
    execution: str = ""
    progress: str | None = None
    checkpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A heartbeat that counts."""

    lease_us: int
    checkpoint: str | None
    """What the copy has reported last, as JSON."""


class Heartbeats:
    """The store's side of heartbeats."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def take(self, beat: Beat) -> Future[Heard]:
        """Take one in; many share a commit. The future raises Leave, Unheard."""
        return self._db.submit(lambda tx: self._take(tx, beat), "heartbeat", patient=True)

    def _take(self, tx: Tx, beat: Beat) -> Heard:
        row = tx.conn.execute(
            select(
                runs.c.trigger_uid,
                runs.c.partition,
                runs.c.key,
                runs.c.version,
                runs.c.attempts,
                runs.c.cancel,
                runs.c.ended_at,
                attempts.c.lease_us,
                attempts.c.stop_reason,
                attempts.c.ended_at.label("over_at"),
            )
            .outerjoin(
                attempts,
                and_(attempts.c.run_id == runs.c.id, attempts.c.number == beat.attempt),
            )
            .where(runs.c.id == beat.run_id)
        ).first()
        found = None if row is None else read_life_key(row.key)
        if row is None or found is None:
            raise Unheard(f"there is no run {beat.run_id!r} of a service here")
        if row.ended_at is not None or row.over_at is not None or row.attempts != beat.attempt:
            raise Leave("this attempt is over")
        if row.cancel is not None or row.stop_reason is not None:
            raise Leave(f"it is to end: {row.cancel or row.stop_reason}")
        place = (copies.c.trigger_uid == row.trigger_uid) & (copies.c.name == row.partition)
        life = found[1]
        ours = (copies.c.run_id == beat.run_id) & (copies.c.attempt == beat.attempt)
        same = copies.c.execution == beat.execution
        if beat.execution:
            same |= copies.c.execution == ""
        else:
            same = ours
        values = self._values(beat)
        known = self._update(tx, beat, place & ours & same, values)
        if known is not None:
            return Heard(lease_us=row.lease_us or 0, checkpoint=known[0])
        newer = or_(
            copies.c.leader < life, and_(copies.c.leader == life, copies.c.attempt < beat.attempt)
        )
        values |= {"run_id": beat.run_id, "attempt": beat.attempt, "leader": life}
        values["execution"] = beat.execution
        taken = self._update(tx, beat, place & newer, values)
        if taken is None:
            if tx.conn.scalar(select(copies.c.name).where(place & ours)) is not None:
                raise OtherExecution("another execution of this attempt is the one that counts")
            raise Leave("a newer life of this copy has taken over")
        reason = f"replaced by version {row.version}"
        replace_older(tx, row.trigger_uid, row.partition, beat.run_id, reason)
        return Heard(lease_us=row.lease_us or 0, checkpoint=taken[0])

    def _values(self, beat: Beat) -> dict[str, Any]:
        values: dict[str, Any] = {"heartbeat_at": self._db.clock.now()}
        if beat.execution:
            values["execution"] = beat.execution
        if beat.progress is not None:
            values["progress"] = beat.progress
        if beat.checkpoint is not None:
            news = or_(copies.c.checkpoint.is_(None), copies.c.checkpoint != beat.checkpoint)
            values["checkpoint"] = beat.checkpoint
            values["checkpoints"] = copies.c.checkpoints + case((news, 1), else_=0)
        return values

    def _update(
        self, tx: Tx, beat: Beat, which: ColumnElement[bool], values: dict[str, Any]
    ) -> Any:
        """Conditional on the attempt being the run's, under way, and not to end."""
        wanted = exists().where(
            runs.c.id == beat.run_id,
            runs.c.attempts == beat.attempt,
            runs.c.cancel.is_(None),
            runs.c.ended_at.is_(None),
        )
        alive = exists().where(
            attempts.c.run_id == beat.run_id,
            attempts.c.number == beat.attempt,
            attempts.c.ended_at.is_(None),
            attempts.c.stop_reason.is_(None),
            attempts.c.state.in_(_LIVE),
        )
        statement = update(copies).where(which, wanted, alive).values(**values)
        return tx.conn.execute(statement.returning(copies.c.checkpoint)).first()
