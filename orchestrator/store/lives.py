"""Lives: long-lived consumers, whose range ends where their progress does.

The store is the truth about progress: what a consumer has committed is copied here, from its
current attempt alone and never backwards, and the next one begins from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import AttemptState
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.lines import hold, move_done
from orchestrator.store.schema import attempts, partitions, runs
from orchestrator.store.sources import STRIDE
from orchestrator.store.writer import Tx


@dataclass(frozen=True, kw_only=True)
class OpenLife:
    """A life that has not ended, with its newest attempt."""

    run_id: str
    partition: str
    position: str
    stall_us: int
    attempt: int
    fence: int
    attempt_state: AttemptState | None
    running_at: int | None
    ended_at: int | None
    stop_reason: str | None
    closing: bool


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a life has reached. `final`: nothing more will come of its attempt."""

    life: OpenLife
    position: str
    final: bool


class Lives:
    """The store's side of long-lived consumers."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def open(self, trigger_uid: str) -> list[OpenLife]:
        """A trigger's lives that have not ended."""
        newest = (attempts.c.run_id == runs.c.id) & (attempts.c.number == runs.c.attempts)
        statement = (
            select(
                runs.c.id.label("run_id"),
                runs.c.partition,
                runs.c.range_end.label("position"),
                runs.c.stall_us,
                runs.c.attempts.label("attempt"),
                runs.c.fence,
                attempts.c.state.label("attempt_state"),
                attempts.c.running_at,
                attempts.c.ended_at,
                attempts.c.stop_reason,
                attempts.c.closing,
            )
            .outerjoin(attempts, newest)
            .where(runs.c.trigger_uid == trigger_uid, schema.is_life)
        )
        with self._db.read() as conn:
            found: list[OpenLife] = []
            for row in conn.execute(statement).mappings():
                values = dict(row)
                state = values["attempt_state"]
                values["attempt_state"] = None if state is None else AttemptState(state)
                values["closing"] = bool(values["closing"])
                found.append(OpenLife(**values))
            return found

    def reached(self, trigger_uid: str, news: Sequence[Reached]) -> int:
        """Copy progress: run, partition and checkpoint move together. Returns how many moved.

        A life whose attempt has changed since it was read is left out.
        """

        def operation(tx: Tx) -> int:
            hold(tx.conn, [(trigger_uid, item.life.partition) for item in news])
            moved = 0
            for item in news:
                moved += self._move(tx, trigger_uid, item)
                if item.final:
                    self._close(tx, item)
            return moved

        return self._db.write(operation, "progress")

    def _move(self, tx: Tx, trigger_uid: str, item: Reached) -> int:
        life = item.life
        if item.position == life.position:
            return 0
        place = (partitions.c.trigger_uid == trigger_uid) & (partitions.c.name == life.partition)
        following = select(partitions.c.ordinal).where(place).scalar_subquery()
        changed = tx.conn.execute(
            update(runs)
            .where(
                runs.c.id == life.run_id,
                runs.c.attempts == life.attempt,
                runs.c.range_end == life.position,
                # Once the partition has gone on from elsewhere, its progress means nothing.
                runs.c.ordinal + STRIDE == following,
                schema.is_life,
            )
            .values(range_end=item.position, tries=0)
        ).rowcount
        if changed:
            # While a life is open nothing else is planned in its partition: they move as one.
            tx.conn.execute(update(partitions).where(place).values(planned=item.position))
            move_done(tx.conn, trigger_uid, life.partition)
            tx.notify(Topic.CHANGED)
        return changed

    def _close(self, tx: Tx, item: Reached) -> None:
        closed = tx.conn.execute(
            update(attempts)
            .where(
                attempts.c.run_id == item.life.run_id,
                attempts.c.number == item.life.attempt,
                attempts.c.ended_at.is_not(None),
                attempts.c.closing,
            )
            .values(closing=False)
        ).rowcount
        if closed:
            tx.notify(Topic.ENDED)

    def stop(self, life: OpenLife, reason: str) -> bool:
        """Let the canceller stop a life's job, as if its time were over."""

        def operation(tx: Tx) -> bool:
            asked = tx.conn.execute(
                update(attempts)
                .where(
                    attempts.c.run_id == life.run_id,
                    attempts.c.number == life.attempt,
                    attempts.c.ended_at.is_(None),
                    attempts.c.stop_reason.is_(None),
                )
                .values(stop_reason=reason, deadline_at=self._db.clock.now())
            ).rowcount
            if asked:
                tx.notify(Topic.CANCEL)
            return asked == 1

        return self._db.write(operation, "stall")
