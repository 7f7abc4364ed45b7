"""Jobs that programs ask for: taken in, found by a client's own key, listed, woken when due.

A job is a run of a template. One of the future waits in a partition of its own, where no count of
open runs sees it, and goes in line when it is due.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, bindparam, insert, or_, select, update

from orchestrator.domain.overlap import capacity
from orchestrator.domain.signals import Topic
from orchestrator.domain.states import Origin, Queue, RunState, TriggerState
from orchestrator.store import schema, trail
from orchestrator.store.content import keep_content
from orchestrator.store.database import Database
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.intake import Admittance, new_run
from orchestrator.store.lines import hold, promote
from orchestrator.store.reads import Page, decode_cursor, encode_cursor
from orchestrator.store.rows import to_run
from orchestrator.store.schema import job_keys, runs, triggers
from orchestrator.store.values import Run, Trigger
from orchestrator.store.writer import Tx

PARTITION = "schedule"  # where runs by command stand as well
FUTURE = "future"  # until they are due
# Built once: every job that is asked for comes by here.
_INSERT = insert(runs)
_STATES = select(triggers.c.uid, triggers.c.state).where(
    triggers.c.uid.in_(bindparam("b_uids", expanding=True))
)
_WAITING = and_(schema.is_future, runs.c.cancel.is_(None))
_NEXT_DUE = select(runs.c.not_before).where(_WAITING).order_by(runs.c.not_before).limit(1)
_IN_CHUNK = 500


class KeyReused(Conflict):
    """A client's key came with another request."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A job as it was asked for. `due_at` None: now."""

    trigger: Trigger
    definition: str  # hash
    how: Admittance
    key: str
    data: Mapping[str, Any]
    due_at: int | None = None
    priority: int = 0
    whole: bool = False  # its definition is its own, not a version of the trigger
    client_key: str | None = None
    digest: str = ""  # of the request that came with the client's key
    definitions: Mapping[str, str] = field(default_factory=dict[str, str])
    templates: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is to be stored for it, canonical JSON by hash."""


@dataclass(frozen=True, kw_only=True)
class DueJob:
    """A run of the future whose time has come."""

    id: str
    trigger_uid: str
    definition: str


class Jobs:
    """The store's side of jobs over HTTP."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- taking in --------------------------------------------------------------------------

    def known(self, client_key: str, digest: str) -> str | None:
        """The job that a client's key has made. Raises KeyReused where the request was another."""
        with self._db.read() as conn:
            row = conn.execute(select(job_keys).where(job_keys.c.key == client_key)).first()
        return None if row is None else _same(client_key, row.run_id, row.digest, digest)

    def take_in(self, new: Sequence[NewJob], actor: str) -> list[str]:
        """Take in jobs, all or none; returns the ids of their runs, in order.

        A client's key that is known gives the job that it made. Raises KeyReused; Conflict for a
        template that makes no runs now.
        """
        return self._db.write(lambda tx: self._take_in(tx, new, actor), "job")

    def _take_in(self, tx: Tx, new: Sequence[NewJob], actor: str) -> list[str]:
        now = self._db.clock.now()
        self._check_active(tx, new)
        self._keep_content(tx, new)
        ids: list[str] = []
        rows: list[dict[str, Any]] = []
        limited: dict[str, Admittance] = {}
        for job in new:
            row = self._row(job, now)
            ids.append(self._own(tx, job, row["id"]))
            if ids[-1] != row["id"]:
                continue
            if row["queue"] == Queue.LINE:
                limited[job.trigger.uid] = job.how
            if job.client_key is None:
                rows.append(row)
            # One that a restore has found on the cluster is there already.
            elif self._db.dialect.insert_ignore(tx.conn, runs, [row]):
                self._wake(tx, row)
        if rows:
            self._db.dialect.execute_many(tx.conn, _INSERT, rows)
            for queue in {row["queue"] for row in rows}:
                self._wake(tx, {"queue": queue})
        hold(tx.conn, [(uid, PARTITION) for uid in limited])
        for uid, how in limited.items():
            _promote_all(tx, uid, how, now)
        detail = {"template": new[0].trigger.name, "count": len(new)}
        trail.write(tx, actor, "job", ids[0], detail, now)
        tx.notify(Topic.CHANGED)
        return ids

    def _check_active(self, tx: Tx, new: Sequence[NewJob]) -> None:
        asked = {job.trigger.uid: job.trigger for job in new}
        states = {uid: state for uid, state in tx.conn.execute(_STATES, {"b_uids": list(asked)})}
        for uid, trigger in asked.items():
            check_active(trigger, TriggerState(states.get(uid, TriggerState.DELETED)))

    def _keep_content(self, tx: Tx, new: Sequence[NewJob]) -> None:
        definitions = {key: body for job in new for key, body in job.definitions.items()}
        jobs = {key: body for job in new for key, body in job.templates.items()}
        if definitions:
            # Retention removes what nobody uses, under the same lock.
            self._db.dialect.lock_claims(tx.conn)
            keep_content(self._db.dialect, tx, definitions, jobs)

    def _row(self, job: NewJob, now: int) -> dict[str, Any]:
        future = job.due_at is not None and job.due_at > now
        row = new_run(
            self._db.instance,
            job.trigger.uid,
            job.key,
            version=0 if job.whole else job.trigger.version,
            definition=job.definition,
            origin=Origin.JOB,
            partition=FUTURE if future else PARTITION,
            due_at=now if job.due_at is None else job.due_at,
            now=now,
            priority=job.priority,
            data=job.data,
        )
        if future:
            row["queue"] = Queue.FUTURE.value
        elif _is_limited(job.how):
            row["queue"] = Queue.LINE.value
        return row

    def _own(self, tx: Tx, job: NewJob, run_id: str) -> str:
        """The id of the run that a job's client key stands for: `run_id`, unless it is known."""
        if job.client_key is None:
            return run_id
        row = {"key": job.client_key, "run_id": run_id, "digest": job.digest}
        if self._db.dialect.insert_ignore(tx.conn, job_keys, [row]):
            return run_id
        known = tx.conn.execute(select(job_keys).where(job_keys.c.key == job.client_key)).one()
        return _same(job.client_key, known.run_id, known.digest, job.digest)

    def _wake(self, tx: Tx, row: Mapping[str, Any]) -> None:
        if row["queue"] == Queue.FUTURE:
            tx.notify(Topic.FUTURE)
        elif row["queue"] == Queue.READY:
            tx.notify(Topic.READY)

    # -- the future -------------------------------------------------------------------------

    def due(self, now: int, limit: int) -> list[DueJob]:
        """Runs of the future that are due by `now`, earliest first."""
        statement = (
            select(runs.c.id, runs.c.trigger_uid, runs.c.definition)
            .where(_WAITING, runs.c.not_before <= now)
            .order_by(runs.c.not_before)
            .limit(limit)
        )
        with self._db.read() as conn:
            return [DueJob(**row) for row in conn.execute(statement).mappings()]

    def next_due(self) -> int | None:
        """When the next run of the future is due."""
        with self._db.read() as conn:
            return conn.scalar(_NEXT_DUE)

    def wake(self, due: Sequence[DueJob], how: Mapping[str, Admittance]) -> int:
        """Put runs whose time has come in line, and let go what may; `how` by definition."""

        def operation(tx: Tx) -> int:
            now = self._db.clock.now()
            groups: dict[tuple[str, str], list[str]] = {}
            for job in due:
                groups.setdefault((job.trigger_uid, job.definition), []).append(job.id)
            hold(tx.conn, [(uid, PARTITION) for uid, d in groups if _is_limited(how[d])])
            woken = 0
            for (uid, definition), ids in groups.items():
                limited = _is_limited(how[definition])
                queue = Queue.LINE if limited else Queue.READY
                for start in range(0, len(ids), _IN_CHUNK):
                    chunk = ids[start : start + _IN_CHUNK]
                    woken += tx.conn.execute(
                        update(runs)
                        .where(runs.c.id.in_(chunk), schema.is_future)
                        .values(queue=queue, partition=PARTITION)
                    ).rowcount
                if limited:
                    _promote_all(tx, uid, how[definition], now)
            if woken:
                tx.notify(Topic.READY)
            return woken

        return self._db.write(operation, "due")

    # -- reading ----------------------------------------------------------------------------

    def get(self, run_id: str) -> Run:
        """One job. Raises Missing."""
        statement = (
            select(runs, triggers.c.name.label("trigger_name"))
            .join(triggers, triggers.c.uid == runs.c.trigger_uid)
            .where(runs.c.id == run_id, schema.is_job)
        )
        with self._db.read() as conn:
            row = conn.execute(statement).mappings().first()
        if row is None:
            raise Missing(f"there is no job {run_id[:100]!r}")
        return to_run(row)

    def ended(self, run_ids: Sequence[str]) -> set[str]:
        """Those of these runs that have ended, or are gone."""
        open_: set[str] = set()
        with self._db.read() as conn:
            for start in range(0, len(run_ids), _IN_CHUNK):
                chunk = list(run_ids[start : start + _IN_CHUNK])
                open_ |= set(
                    conn.scalars(
                        select(runs.c.id).where(runs.c.id.in_(chunk), runs.c.ended_at.is_(None))
                    )
                )
        return set(run_ids) - open_

    def list(
        self,
        states: Sequence[RunState],
        *,
        since: int | None,
        until: int | None,
        limit: int,
        cursor: str | None = None,
    ) -> Page[Run]:
        """Jobs in these states by the time at which they are to run, the latest first.

        One walk of the index for each state: none reads more rows than it gives.
        """
        conditions: list[Any] = [schema.is_job]
        if since is not None:
            conditions.append(runs.c.due_at >= since)
        if until is not None:
            conditions.append(runs.c.due_at < until)
        if cursor is not None:
            due_at, run_id = decode_cursor(cursor, int, str)
            here = and_(runs.c.due_at == due_at, runs.c.id < run_id)
            conditions += [or_(runs.c.due_at < due_at, here), runs.c.due_at <= due_at]
        statement = (
            select(runs, triggers.c.name.label("trigger_name"))
            .join(triggers, triggers.c.uid == runs.c.trigger_uid)
            .order_by(runs.c.due_at.desc(), runs.c.id.desc())
            .limit(limit + 1)
        )
        with self._db.read() as conn:
            walks = [
                [
                    to_run(row)
                    for row in conn.execute(
                        statement.where(*conditions, runs.c.state == state)
                    ).mappings()
                ]
                for state in states
            ]
        merged = heapq.merge(*walks, key=lambda run: (run.due_at, run.id), reverse=True)
        found = [run for run, _ in zip(merged, range(limit + 1), strict=False)]
        following = None
        if len(found) > limit:
            found = found[:limit]
            following = encode_cursor(found[-1].due_at, found[-1].id)
        return Page(items=found, next=following)


def check_active(trigger: Trigger, state: TriggerState) -> None:
    """Raises Missing or Conflict for a trigger that makes no runs now."""
    if state is TriggerState.PAUSED:
        raise Conflict(f"trigger {trigger.name!r} is paused: resume it, or use another template")
    if state is not TriggerState.ACTIVE:
        raise Missing(f"there is no template {trigger.name!r}: it is deleted")


def _is_limited(how: Admittance) -> bool:
    return how.rate is not None or _room(how) is not None


def _room(how: Admittance) -> int | None:
    return capacity(how.overlap, how.max_in_flight, how.parallelism)


def _promote_all(tx: Tx, uid: str, how: Admittance, now: int) -> None:
    while promote(tx, uid, PARTITION, room=_room(how), rate=how.rate, now=now):
        pass


def _same(client_key: str, run_id: str, known: str, digest: str) -> str:
    if known != digest:
        raise KeyReused(
            f"the Idempotency-Key {client_key[:60]!r} came with another request before, which made "
            f"job {run_id}: send a new key for a new job"
        )
    return run_id
