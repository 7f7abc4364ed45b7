"""Copies of services: which there are to be, when a life begins, what follows its end.

A life is one run. It begins in one transaction with the number that names it, so that two
orchestrators never begin the same one, and never one beside another that they do not know of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, case, func, select, update

from orchestrator.domain.keeping import Pause, after_life, life_key, read_life_key
from orchestrator.domain.signals import Topic
from orchestrator.domain.states import AttemptState, Origin, RunState, TriggerState
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.intake import new_run
from orchestrator.store.schema import attempts, copies, runs, triggers
from orchestrator.store.sources import Source
from orchestrator.store.values import Run
from orchestrator.store.writer import Tx


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy of a service as it stands: see the table."""

    trigger_uid: str
    name: str
    wanted: bool
    lives: int
    version: int
    leader: int
    run_id: str | None
    attempt: int
    heartbeat_at: int | None
    progress: str | None
    checkpoint: str | None
    failures: int
    next_at: int
    hold_until: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A life that has not ended, with its newest attempt."""

    run_id: str
    copy: str
    life: int
    version: int
    state: RunState
    cancel: str | None
    life_us: int
    attempt: int
    attempt_state: AttemptState | None
    grace_us: int | None
    lease_us: int | None
    running_at: int | None
    ended_at: int | None
    stop_reason: str | None

    @property
    def leaves(self) -> bool:
        """Whether it is to end already."""
        return self.cancel is not None or self.stop_reason is not None

    @property
    def runs(self) -> bool:
        """Whether its job was seen running, and has not ended as far as is known."""
        return self.running_at is not None and self.ended_at is None


@dataclass(frozen=True, kw_only=True)
class LifeEnd:
    """How a life has ended. Times in microseconds."""

    pause: Pause
    lived: int
    well: bool
    reason: str
    hold_until: int
    checkpoint: str | None
    jitter: Callable[[], float]


_COPY = [copies.c[name] for name in Copy.__dataclass_fields__ if name != "trigger_uid"]


class Copies:
    """The store's side of keeping services alive."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def all(self, trigger_uid: str) -> list[Copy]:
        """A service's copies by their numbers, those included that are not wanted now."""
        statement = select(copies.c.trigger_uid, *_COPY).where(copies.c.trigger_uid == trigger_uid)
        with self._db.read() as conn:
            found = [Copy(**row) for row in conn.execute(statement).mappings()]
        return sorted(found, key=lambda copy: int(copy.name))

    def get(self, trigger_uid: str, name: str) -> Copy | None:
        """One of them."""
        return next((copy for copy in self.all(trigger_uid) if copy.name == name), None)

    def open(self, trigger_uid: str) -> list[OpenRun]:
        """A service's lives that have not ended, the older ones of a copy first."""
        newest = (attempts.c.run_id == runs.c.id) & (attempts.c.number == runs.c.attempts)
        statement = (
            select(
                runs.c.id.label("run_id"),
                runs.c.partition.label("copy"),
                runs.c.key,
                runs.c.version,
                runs.c.state,
                runs.c.cancel,
                runs.c.life_us,
                runs.c.attempts.label("attempt"),
                attempts.c.state.label("attempt_state"),
                attempts.c.grace_us,
                attempts.c.lease_us,
                attempts.c.running_at,
                attempts.c.ended_at,
                attempts.c.stop_reason,
            )
            .outerjoin(attempts, newest)
            .where(runs.c.trigger_uid == trigger_uid, schema.is_kept_alive)
        )
        with self._db.read() as conn:
            found = [_open_run(row) for row in conn.execute(statement).mappings()]
        return sorted(found, key=lambda run: run.life)

    def want(self, trigger_uid: str, count: int) -> None:
        """Let there be so many copies."""
        names = [str(number) for number in range(count)]

        def operation(tx: Tx) -> None:
            rows = [{"trigger_uid": trigger_uid, "name": name} for name in names]
            if rows:
                self._db.dialect.insert_ignore(tx.conn, copies, rows)
            mine = copies.c.trigger_uid == trigger_uid
            is_one = copies.c.name.in_(names)
            more = mine & is_one & ~copies.c.wanted
            tx.conn.execute(update(copies).where(more).values(wanted=True))
            tx.conn.execute(update(copies).where(mine & ~is_one).values(wanted=False))
            tx.notify(Topic.CHANGED)

        self._db.write(operation, "copies")

    def begin(
        self, source: Source, copy: Copy, *, beside: int, life_us: int, priority: int
    ) -> str | None:
        """Begin a copy's next life; `beside` lives of it are known to be open. Returns the run's
        id, or None where something has changed since they were read."""

        def operation(tx: Tx) -> str | None:
            trigger = tx.conn.execute(
                select(triggers.c.state, triggers.c.version)
                .where(triggers.c.uid == source.trigger_uid)
                .with_for_update()
            ).one()
            if trigger.state != TriggerState.ACTIVE or trigger.version != source.version:
                return None
            there = tx.conn.scalar(
                select(func.count()).where(
                    runs.c.trigger_uid == source.trigger_uid,
                    runs.c.partition == copy.name,
                    schema.is_kept_alive,
                )
            )
            if there != beside:
                return None
            mine = _is(source.trigger_uid, copy.name)
            same = copies.c.version == source.version
            changed = tx.conn.execute(
                update(copies)
                .where(mine, copies.c.lives == copy.lives, copies.c.wanted)
                .values(
                    lives=copy.lives + 1,
                    version=source.version,
                    begun_with=copies.c.checkpoints,
                    failures=case((same, copies.c.failures), else_=0),
                )
            ).rowcount
            if not changed:
                return None
            now = self._db.clock.now()
            row = new_run(
                self._db.instance,
                source.trigger_uid,
                life_key(copy.name, copy.lives + 1),
                version=source.version,
                definition=source.definition,
                origin=Origin.SERVICE,
                partition=copy.name,
                due_at=now,
                now=now,
                priority=priority,
                data={"service": {"copy": int(copy.name)}},
            )
            tx.conn.execute(runs.insert().values(**row, life_us=life_us))
            tx.notify(Topic.READY, Topic.CHANGED)
            return row["id"]

        return self._db.write(operation, "life")

    def leave(self, run_ids: Sequence[str], reason: str) -> int:
        """Ask for the end of lives: their runs are cancelled. Returns how many were asked."""
        return self._db.write(lambda tx: _leave(tx, runs.c.id.in_(list(run_ids)), reason), "leave")

    def stop(self, run: OpenRun, reason: str, *, unless_heard_since: int | None = None) -> bool:
        """Let the canceller stop a life's job, as if its time were over; not if its task was heard
        after the given instant."""

        def operation(tx: Tx) -> bool:
            conditions = [
                attempts.c.run_id == run.run_id,
                attempts.c.number == run.attempt,
                attempts.c.ended_at.is_(None),
                attempts.c.stop_reason.is_(None),
            ]
            if unless_heard_since is not None:
                heard = select(copies.c.name).where(
                    copies.c.run_id == run.run_id,
                    copies.c.attempt == run.attempt,
                    copies.c.name == run.copy,
                    copies.c.heartbeat_at > unless_heard_since,
                )
                conditions.append(~heard.exists())
            asked = tx.conn.execute(
                update(attempts)
                .where(*conditions)
                .values(stop_reason=reason, deadline_at=self._db.clock.now())
            ).rowcount
            if asked:
                tx.notify(Topic.CANCEL)
            return asked == 1

        return self._db.write(operation, "lapse")


def replace_older(tx: Tx, trigger_uid: str, name: str, run_id: str, reason: str) -> int:
    """Ask for the end of a copy's other lives: this one has taken over."""
    others = (
        (runs.c.trigger_uid == trigger_uid)
        & (runs.c.partition == name)
        & (runs.c.id != run_id)
        & schema.is_kept_alive
    )
    return _leave(tx, others, reason)


def _leave(tx: Tx, which: ColumnElement[bool], reason: str) -> int:
    asked = tx.conn.execute(
        update(runs)
        .where(which, runs.c.ended_at.is_(None), runs.c.cancel.is_(None))
        .values(cancel=reason)
    ).rowcount
    if asked:
        tx.notify(Topic.CANCEL, Topic.ENDED, Topic.CHANGED)
    return asked


def rest(tx: Tx, run: Run, end: LifeEnd, now: int) -> None:
    """Write down what follows a life, in the transaction that ends it. Of one that has been
    followed already nothing is to be said."""
    found = read_life_key(run.key)
    if found is None:
        return
    name, life = found
    mine = _is(run.trigger_uid, name) & (copies.c.lives == life)
    row = tx.conn.execute(select(copies).where(mine).with_for_update()).mappings().first()
    if row is None:
        return
    news = end.checkpoint is not None and end.checkpoint != row["checkpoint"]
    follows = after_life(
        end.pause,
        failures=row["failures"],
        lived=end.lived,
        well=end.well,
        moved=news or row["checkpoints"] > row["begun_with"],
        jitter=end.jitter,
    )
    values: dict[str, Any] = {
        "failures": follows.failures,
        "next_at": now + follows.wait,
        "hold_until": max(row["hold_until"], end.hold_until),
        "reason": end.reason,
    }
    if news:
        values |= {"checkpoint": end.checkpoint, "checkpoints": row["checkpoints"] + 1}
    tx.conn.execute(update(copies).where(mine).values(**values))


def _is(trigger_uid: str, name: str) -> ColumnElement[bool]:
    return (copies.c.trigger_uid == trigger_uid) & (copies.c.name == name)


def _open_run(row: Mapping[Any, Any]) -> OpenRun:
    values = dict(row)
    found = read_life_key(values.pop("key"))
    state = values["attempt_state"]
    values["attempt_state"] = None if state is None else AttemptState(state)
    values["state"] = RunState(values["state"])
    return OpenRun(**values, life=0 if found is None else found[1])
