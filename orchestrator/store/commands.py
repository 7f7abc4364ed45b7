"""Runs by command: fire now, backfill, cancel, retry, redrive, discard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, or_, select, update

from orchestrator.domain.clock import to_rfc3339
from orchestrator.domain.overlap import capacity
from orchestrator.domain.signals import Topic
from orchestrator.domain.states import IN_FLIGHT, OPEN, Origin, Queue, RunState
from orchestrator.store import schema, trail
from orchestrator.store.database import Database, canonical
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.intake import Admittance, new_run
from orchestrator.store.lines import hold, move_done, promote
from orchestrator.store.schema import attempts, partitions, runs, triggers
from orchestrator.store.telling import reopen_events
from orchestrator.store.values import Trigger
from orchestrator.store.writer import Tx

_CHUNK = 500
_CANCEL_AT_ONCE = 5_000
_BACKFILL_PRIORITY = -100  # live runs go first
_NOTHING: Mapping[str, Any] = {}


def _of_trigger(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return select(column).where(triggers.c.uid == runs.c.trigger_uid).scalar_subquery()


# One that came with a job of its own has no other.
_LATEST: Mapping[str, Any] = {
    "version": case((schema.is_whole, runs.c.version), else_=_of_trigger(triggers.c.version)),
    "definition": case(
        (schema.is_whole, runs.c.definition), else_=_of_trigger(triggers.c.definition)
    ),
}


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A due time that is to be filled."""

    key: str
    due_at: int


@dataclass(frozen=True, kw_only=True)
class Backfilled:
    """What a backfill does: new runs, skipped ones that run after all, and those left alone."""

    created: int
    revived: int
    kept: int


class Commands:
    """The store's side of what people ask for. `actor` goes into the audit trail."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def fire(
        self,
        trigger: Trigger,
        partition: str,
        key: str,
        how: Admittance,
        actor: str,
        data: Mapping[str, Any] | None = None,
    ) -> str:
        """Make a run that is due now; it waits in line behind open ones. Returns its id.

        Raises Conflict for a key that has a run.
        """

        def operation(tx: Tx) -> str:
            hold(tx.conn, [(trigger.uid, partition)])
            run_id = self.fire_held(tx, trigger, partition, key, how, actor, data)
            if run_id is None:
                raise Conflict(f"trigger {trigger.name!r} has a run with the key {key!r} already")
            return run_id

        return self._db.write(operation, "fire")

    def fire_held(
        self,
        tx: Tx,
        trigger: Trigger,
        partition: str,
        key: str,
        how: Admittance,
        actor: str,
        data: Mapping[str, Any] | None = None,
    ) -> str | None:
        """The same in a transaction that holds the partition; None for a key that has a run."""
        now = self._db.clock.now()
        row = self._row(trigger, partition, key, now, now, Origin.MANUAL, how.priority)
        if data:
            row["data"] = canonical(data)
        if not self._db.dialect.insert_ignore(tx.conn, runs, [row]):
            return None
        self._promote(tx, trigger, partition, how, now)
        trail.write(tx, actor, "fire", trigger.name, {"run": row["id"]}, now)
        tx.notify(Topic.CHANGED)
        return row["id"]

    def _row(
        self,
        trigger: Trigger,
        partition: str,
        key: str,
        due_at: int,
        now: int,
        origin: Origin,
        priority: int,
    ) -> dict[str, Any]:
        row = new_run(
            self._db.instance,
            trigger.uid,
            key,
            version=trigger.version,
            definition=trigger.definition,
            origin=origin,
            partition=partition,
            due_at=due_at,
            now=now,
            priority=priority,
        )
        row["queue"] = Queue.LINE
        return row

    def _promote(self, tx: Tx, trigger: Trigger, partition: str, how: Admittance, now: int) -> None:
        room = capacity(how.overlap, how.max_in_flight, how.parallelism)
        promote(tx, trigger.uid, partition, room=room, rate=how.rate, now=now)

    def backfill(
        self,
        trigger: Trigger,
        partition: str,
        gaps: Sequence[Gap],
        how: Admittance,
        actor: str,
        *,
        dry_run: bool = False,
    ) -> Backfilled:
        """Run the due times that have not run: no row yet, or skipped. Others are kept.

        Of what retention has removed the ledger only knows that it was there: it is no gap.
        """
        if dry_run:
            return self._preview(trigger, partition, gaps)
        asked = len(gaps)

        def operation(tx: Tx) -> Backfilled:
            now = self._db.clock.now()
            hold(tx.conn, [(trigger.uid, partition)])
            priority = how.priority + _BACKFILL_PRIORITY
            created = revived = 0
            told = _told(tx.conn, trigger, partition, gaps)
            for start in range(0, len(told), _CHUNK):
                chunk = told[start : start + _CHUNK]
                revived += tx.conn.execute(
                    update(runs)
                    .where(
                        runs.c.trigger_uid == trigger.uid,
                        runs.c.key.in_([gap.key for gap in chunk]),
                        runs.c.state == RunState.SKIPPED,
                        runs.c.reason != "split",
                    )
                    .values(
                        **_reopened(Queue.LINE, now),
                        origin=Origin.BACKFILL,
                        priority=priority,
                        version=trigger.version,
                        definition=trigger.definition,
                    )
                ).rowcount
                rows = [
                    self._row(
                        trigger, partition, gap.key, gap.due_at, now, Origin.BACKFILL, priority
                    )
                    for gap in chunk
                ]
                created += self._db.dialect.insert_ignore(tx.conn, runs, rows)
            self._promote(tx, trigger, partition, how, now)
            if revived:
                move_done(tx.conn, trigger.uid, partition)
            detail = {"from": to_rfc3339(gaps[0].due_at), "to": to_rfc3339(gaps[-1].due_at)}
            trail.write(tx, actor, "backfill", trigger.name, detail, now)
            tx.notify(Topic.CHANGED)
            return Backfilled(created=created, revived=revived, kept=asked - created - revived)

        if not gaps:
            return Backfilled(created=0, revived=0, kept=0)
        return self._db.write(operation, "backfill")

    def _preview(self, trigger: Trigger, partition: str, gaps: Sequence[Gap]) -> Backfilled:
        existing = skipped = 0
        with self._db.read() as conn:
            told = _told(conn, trigger, partition, gaps)
            existing += len(gaps) - len(told)
            for start in range(0, len(told), _CHUNK):
                keys = [gap.key for gap in told[start : start + _CHUNK]]
                statement = select(runs.c.state, runs.c.reason).where(
                    runs.c.trigger_uid == trigger.uid, runs.c.key.in_(keys)
                )
                for state, reason in conn.execute(statement):
                    existing += 1
                    skipped += state == RunState.SKIPPED and reason != "split"
        return Backfilled(created=len(gaps) - existing, revived=skipped, kept=existing - skipped)

    def cancel(self, run_id: str, reason: str, actor: str) -> None:
        """Ask for the end of an open run. Raises Missing, Conflict for one that has ended."""

        def operation(tx: Tx) -> None:
            state = self._state(tx, run_id)
            if state not in OPEN:
                raise Conflict(f"run {run_id} has ended already: {state}")
            tx.conn.execute(
                update(runs)
                .where(runs.c.id == run_id, runs.c.ended_at.is_(None), runs.c.cancel.is_(None))
                .values(cancel=reason)
            )
            trail.write(tx, actor, "cancel", run_id, {"reason": reason}, self._db.clock.now())
            tx.notify(Topic.CANCEL, Topic.ENDED)

        self._db.write(operation, "cancel")

    def cancel_open(
        self, trigger_name: str, reason: str, actor: str, *, backfilled: bool = False
    ) -> int:
        """Ask for the end of a trigger's open runs, or of those of its backfills. Returns how many.

        Some at a time, each committed by itself: what is asked for twice is asked for once.
        """
        wanted = (runs.c.trigger_uid.in_(_uids(trigger_name))) & runs.c.ended_at.is_(None)
        wanted &= runs.c.cancel.is_(None)
        if backfilled:
            wanted &= runs.c.origin == Origin.BACKFILL

        def operation(tx: Tx) -> int:
            some = select(runs.c.id).where(wanted).limit(_CANCEL_AT_ONCE)
            count = tx.conn.execute(
                update(runs).where(runs.c.id.in_(some), wanted).values(cancel=reason)
            ).rowcount
            if count:
                detail = {"reason": reason, "count": count}
                now = self._db.clock.now()
                trail.write(tx, actor, "cancel", trigger_name, detail, now)
                tx.notify(Topic.CANCEL, Topic.ENDED)
            return count

        total = 0
        while count := self._db.write(operation, "cancel"):
            total += count
        return total

    def retry(self, run_id: str, actor: str) -> None:
        """Run it again, now, with all its attempts: a run that ended without success, or one that
        waits for its next attempt. Raises Missing, Conflict."""

        def operation(tx: Tx) -> None:
            state = self._state(tx, run_id)
            if state is RunState.SUCCEEDED:
                raise Conflict(
                    f"run {run_id} has succeeded: use `orch triggers fire` for a new run"
                )
            if tx.conn.scalar(select(runs.c.origin).where(runs.c.id == run_id)) == Origin.SERVICE:
                raise Conflict(
                    f"run {run_id} is a life of a service, which is followed by the next one and "
                    "never comes again"
                )
            if state in IN_FLIGHT:
                raise Conflict(f"run {run_id} is {state}: cancel it first")
            if not self._reopen(tx, (runs.c.id == run_id) & (runs.c.reason != "split")):
                raise Conflict(
                    f"run {run_id} cannot be retried: it waits in line behind earlier runs, or was "
                    "split (then retry the runs it became)"
                )
            trail.write(tx, actor, "retry", run_id, {}, self._db.clock.now())

        self._db.write(operation, "retry")

    def redrive(
        self, trigger_name: str | None, run_ids: Sequence[str], actor: str, *, latest: bool = False
    ) -> int:
        """Run dead runs again: the named ones, or all (of a trigger). Returns how many.

        `latest` gives them the newest version of their trigger in place of their own.
        """

        def operation(tx: Tx) -> int:
            condition = schema.is_dead & ~runs.c.discarded
            if run_ids:
                condition &= runs.c.id.in_(list(run_ids))
            if trigger_name is not None:
                condition &= runs.c.trigger_uid.in_(_uids(trigger_name))
            count = self._reopen(tx, condition, _LATEST if latest else {})
            detail = {"trigger": trigger_name, "runs": list(run_ids)[:100], "count": count}
            if latest:
                detail["latest"] = True
            trail.write(tx, actor, "redrive", trigger_name or "*", detail, self._db.clock.now())
            return count

        return self._db.write(operation, "redrive")

    def _reopen(
        self, tx: Tx, condition: ColumnElement[bool], changes: Mapping[str, Any] = _NOTHING
    ) -> int:
        """Make runs pending and ready again. They were admitted once: no line is before them.

        A task that may go on where nobody sees it is waited for, as before any other attempt.
        """
        now = self._db.clock.now()
        held = (
            select(func.max(attempts.c.hold_until))
            .where(attempts.c.run_id == runs.c.id, attempts.c.hold_until > now)
            .scalar_subquery()
        )
        values = _reopened(Queue.READY, now) | {
            "queue": case((held.is_not(None), Queue.DELAYED), else_=Queue.READY),
            "not_before": func.coalesce(held, now),
        }
        touched = tx.conn.execute(
            update(runs)
            .where(
                condition,
                runs.c.origin != Origin.SERVICE,
                runs.c.state.not_in([*IN_FLIGHT, RunState.SUCCEEDED]),
                or_(runs.c.queue.is_(None), ~schema.is_in_line),
            )
            .values(**values, **changes)
            .returning(runs.c.trigger_uid, runs.c.partition, runs.c.id)
        ).all()
        places = {(uid, partition) for uid, partition, _ in touched}
        hold(tx.conn, places)
        for uid, partition in places:
            move_done(tx.conn, uid, partition)
        reopen_events(tx.conn, [run_id for _, _, run_id in touched])
        if touched:
            tx.notify(Topic.READY, Topic.CHANGED)
        return len(touched)

    def discard(
        self, trigger_name: str | None, run_ids: Sequence[str], note: str, actor: str
    ) -> int:
        """Let go of dead runs: they stay in the ledger and hold nothing up. Returns how many."""

        def operation(tx: Tx) -> int:
            condition = schema.is_dead & ~runs.c.discarded
            if run_ids:
                condition &= runs.c.id.in_(list(run_ids))
            if trigger_name is not None:
                condition &= runs.c.trigger_uid.in_(_uids(trigger_name))
            touched = tx.conn.execute(
                update(runs)
                .where(condition)
                .values(released=True, discarded=True)
                .returning(runs.c.trigger_uid, runs.c.partition)
            ).all()
            hold(tx.conn, [(uid, partition) for uid, partition in touched])
            for uid, partition in set(touched):
                move_done(tx.conn, uid, partition)
            detail = {"note": note, "runs": list(run_ids)[:100], "count": len(touched)}
            trail.write(tx, actor, "discard", trigger_name or "*", detail, self._db.clock.now())
            tx.notify(Topic.CHANGED)
            return len(touched)

        return self._db.write(operation, "discard")

    def _state(self, tx: Tx, run_id: str) -> RunState:
        state = tx.conn.scalar(select(runs.c.state).where(runs.c.id == run_id))
        if state is None:
            raise Missing(f"there is no run {run_id!r}")
        return RunState(state)


def _told(conn: Connection, trigger: Trigger, partition: str, gaps: Sequence[Gap]) -> Sequence[Gap]:
    """Those of which the kept ledger can tell whether they ran: not between the trigger's
    registration and the place up to which retention has removed its runs."""
    statement = select(partitions.c.base, partitions.c.base_ordinal).where(
        partitions.c.trigger_uid == trigger.uid, partitions.c.name == partition
    )
    row = conn.execute(statement).first()
    if row is None or not row.base_ordinal:
        return gaps
    base = int(row.base) if row.base is not None and row.base.isdecimal() else None
    return [
        gap
        for gap in gaps
        if gap.due_at < trigger.created_at or (base is not None and gap.due_at >= base)
    ]


def _reopened(queue: Queue, now: int) -> dict[str, Any]:
    return {
        "state": RunState.PENDING,
        "queue": queue,
        "not_before": now,
        "ended_at": None,
        "reason": "",
        "tries": 0,
        "cancel": None,
        "released": False,
        "discarded": False,
        "kept": None,
    }


def _uids(trigger_name: str):
    return select(triggers.c.uid).where(triggers.c.name == trigger_name)
