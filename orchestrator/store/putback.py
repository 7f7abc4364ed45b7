"""Put back: jobs that the cluster has and a restored store does not know become its runs again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from orchestrator.domain import names
from orchestrator.domain.clock import MINUTE
from orchestrator.domain.keeping import read_life_key
from orchestrator.domain.signals import Topic
from orchestrator.domain.states import AttemptState, Origin, RunState
from orchestrator.store.database import Database, canonical, get_meta, set_meta
from orchestrator.store.intake import new_run
from orchestrator.store.schema import attempts, copies, runs, sources, triggers
from orchestrator.store.streams import read_key
from orchestrator.store.writer import Tx

_RESTORED = "restore.pending"


@dataclass(frozen=True, kw_only=True)
class FoundJob:
    """A job of this instance on the cluster, with what its labels, name and Env say."""

    job_id: str
    job_name: str
    namespace: str
    spec_hash: str
    run_id: str
    attempt: int
    trigger_uid: str
    key: str
    due_at: int
    created_at: int
    execution_us: int
    total_us: int
    grace_us: int


class PutBack:
    """The store's side of a restore."""

    def __init__(self, database: Database, owner: str) -> None:
        self._db = database
        self._owner = owner

    def pending_since(self) -> int | None:
        """When the backup was made, if the store was restored and not reconciled yet."""
        at = self._db.meta(_RESTORED)
        return None if at is None else int(at)

    def finish(self) -> None:
        """Everything is put back: dispatching may begin."""
        self._db.write(lambda tx: set_meta(tx.conn, _RESTORED, None), "restored")

    def put_back(self, job: FoundJob) -> str | None:
        """Take in one job. Returns what was done, None if the store knew all of it.

        Jobs of one run must come in the order of their attempts.
        """
        return self._db.write(lambda tx: self._put_back(tx, job), "putback")

    def _put_back(self, tx: Tx, job: FoundJob) -> str | None:
        if get_meta(tx.conn, _RESTORED) is None:
            return None
        known = tx.conn.scalar(
            select(attempts.c.state).where(
                attempts.c.run_id == job.run_id, attempts.c.number == job.attempt
            )
        )
        if known is not None:
            return None  # watched by its id, or found by its name: nothing to put back
        now = self._db.clock.now()
        row = tx.conn.execute(
            select(runs.c.id, runs.c.attempts).where(runs.c.id == job.run_id)
        ).first()
        if row is None and not self._insert_run(tx, job, now):
            return "its trigger is not in the backup"
        if row is not None and row.attempts >= job.attempt:
            return None
        # An attempt exists only once the one before it has ended.
        tx.conn.execute(
            update(attempts)
            .where(attempts.c.run_id == job.run_id, attempts.c.ended_at.is_(None))
            .values(
                state=AttemptState.FAILED,
                reason="ended after the backup was made",
                ended_at=now,
                body=None,
            )
        )
        failed = tx.conn.execute(
            update(attempts)
            .where(attempts.c.run_id == job.run_id, ~attempts.c.settled)
            .values(settled=True)
        ).rowcount
        tx.conn.execute(
            insert(attempts).values(
                run_id=job.run_id,
                number=job.attempt,
                job_name=job.job_name,
                job_id=job.job_id,
                namespace=job.namespace,
                state=AttemptState.ACCEPTED,
                spec_hash=job.spec_hash,
                execution_us=job.execution_us,
                total_us=job.total_us,
                grace_us=job.grace_us,
                created_at=job.created_at,
                submitted_at=job.created_at,
                deadline_at=job.created_at + job.total_us + job.grace_us,
            )
        )
        tx.conn.execute(
            update(runs)
            .where(runs.c.id == job.run_id)
            .values(
                state=RunState.RUNNING,
                queue=None,
                reason="",
                ended_at=None,
                owner=self._owner,
                fence=runs.c.fence + 1,
                attempts=job.attempt,
                tries=runs.c.tries + failed,
            )
        )
        tx.notify(Topic.ADOPTED, Topic.CHANGED)
        return "new run" if row is None else f"attempt {job.attempt}"

    def _insert_run(self, tx: Tx, job: FoundJob, now: int) -> bool:
        trigger = tx.conn.execute(
            select(triggers.c.version, triggers.c.definition, sources.c.trigger_uid.label("source"))
            .outerjoin(sources, sources.c.trigger_uid == triggers.c.uid)
            .where(triggers.c.uid == job.trigger_uid)
        ).first()
        if trigger is None:
            return False
        if names.run_id(self._db.instance, job.trigger_uid, job.key) != job.run_id:
            return False
        row = new_run(
            self._db.instance,
            job.trigger_uid,
            job.key,
            version=trigger.version,
            definition=trigger.definition,
            origin=Origin.RESTORED,
            partition="schedule",
            due_at=job.due_at,
            now=now,
        )
        # A range of a stream gets its place in the order when its source is read again.
        span = read_key(job.key) if trigger.source is not None else None
        if span is not None:
            row["partition"], row["range_start"], row["range_end"] = span
        if trigger.source is not None:
            row |= self._life(tx, job)
        tx.conn.execute(insert(runs), [row])
        return True

    def _life(self, tx: Tx, job: FoundJob) -> dict[str, Any]:
        """What a run is beside, if it is a life of a service: the next one gets a later number."""
        found = read_life_key(job.key)
        if found is None:
            return {}
        name, life = found
        mine = (copies.c.trigger_uid == job.trigger_uid) & (copies.c.name == name)
        if tx.conn.execute(select(copies.c.name).where(mine)).first() is None:
            tx.conn.execute(insert(copies).values(trigger_uid=job.trigger_uid, name=name))
        behind = mine & (copies.c.lives < life)
        tx.conn.execute(update(copies).where(behind).values(lives=life))
        return {
            "origin": Origin.SERVICE,
            "partition": name,
            "data": canonical({"service": {"copy": int(name)}}),
            "life_us": max(0, job.execution_us - MINUTE - job.grace_us),
        }
