"""Claims: runs that may start are taken by one orchestrator, each with the bytes it will send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import AttemptState, Origin, Queue, RunState
from orchestrator.store import schema
from orchestrator.store.database import Database, storable
from orchestrator.store.rows import to_run
from orchestrator.store.schema import attempts, runs, triggers
from orchestrator.store.values import Flight, Run
from orchestrator.store.writer import Tx


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A run that is to be submitted: its job's name and the sealed bytes of its request."""

    run: Run
    job_name: str
    namespace: str
    spec_hash: str
    body: bytes
    execution_us: int
    total_us: int
    grace_us: int
    lease_us: int | None = None  # of a service's task


# Built once: on the paths that every submission takes, putting a statement together would cost
# more than the database's answer.
_CLAIM = (
    update(runs)
    .where(
        runs.c.id == bindparam("b_id"),
        runs.c.fence == bindparam("b_fence"),
        runs.c.state == RunState.PENDING,
        schema.is_ready,
        runs.c.cancel.is_(None),
    )
    .values(
        state=RunState.SUBMITTING,
        queue=None,
        owner=bindparam("v_owner"),
        fence=runs.c.fence + 1,
        attempts=bindparam("v_attempts"),
        started_at=func.coalesce(runs.c.started_at, bindparam("v_now")),
    )
)
_READY = (
    select(runs, triggers.c.name.label("trigger_name"))
    .join(triggers, triggers.c.uid == runs.c.trigger_uid)
    .where(schema.is_ready, runs.c.cancel.is_(None))
    .order_by(runs.c.priority.desc(), runs.c.not_before)
    .limit(bindparam("b_limit"))
)
_NEXT_READY = (
    select(runs.c.not_before).where(schema.is_delayed).order_by(runs.c.not_before).limit(1)
)
_IN_FLIGHT = select(func.count()).where(schema.in_flight)


class Claims:
    """What waits for the dispatcher, and how one orchestrator takes it."""

    def __init__(self, database: Database, owner: str) -> None:
        self._db = database
        self.owner = owner

    def ready(self, limit: int) -> list[Run]:
        """Runs that may start, in the order in which they should.

        No clock is asked: what is ready stays so, also when the clock is set back.
        """
        with self._db.read() as conn:
            rows = conn.execute(_READY, {"b_limit": limit})
            return [to_run(row) for row in rows.mappings()]

    def next_ready(self) -> int | None:
        """When the next delayed run becomes ready."""
        with self._db.read() as conn:
            return conn.scalar(_NEXT_READY)

    def wake_delayed(self, now: int, limit: int = 1000) -> int:
        """Let delayed runs whose time has come be ready; returns how many."""

        def operation(tx: Tx) -> int:
            chosen = select(runs.c.id).where(schema.is_delayed, runs.c.not_before <= now)
            woken = tx.conn.execute(
                update(runs)
                .where(runs.c.id.in_(chosen.order_by(runs.c.not_before).limit(limit)))
                .where(schema.is_delayed)
                .values(queue=Queue.READY)
            ).rowcount
            if woken:
                tx.notify(Topic.READY)
            return woken

        return self._db.write(operation, "wake")

    def in_flight(self) -> int:
        """Runs in flight, of all orchestrators."""
        with self._db.read() as conn:
            return conn.scalar(_IN_FLIGHT) or 0

    def claim(self, claims: Sequence[Claim], max_in_flight: int) -> list[Flight]:
        """Claim runs and store their attempts; returns those that are ours to send.

        Claims nothing beyond `max_in_flight` runs in flight, counted under a lock.
        """
        return self._db.write(lambda tx: self._claim(tx, claims, max_in_flight), "claim")

    def _claim(self, tx: Tx, claims: Sequence[Claim], max_in_flight: int) -> list[Flight]:
        self._db.dialect.lock_claims(tx.conn)
        now = self._db.clock.now()
        flying = tx.conn.scalar(_IN_FLIGHT) or 0
        claims = claims[: max(0, max_in_flight - flying)]
        taken = self._db.dialect.update_many(
            tx.conn,
            _CLAIM,
            [
                {
                    "b_id": claim.run.id,
                    "b_fence": claim.run.fence,
                    "v_owner": self.owner,
                    "v_attempts": claim.run.attempts + 1,
                    "v_now": now,
                }
                for claim in claims
            ],
        )
        won = [claim for claim, ok in zip(claims, taken, strict=True) if ok]
        if won:
            tx.conn.execute(insert(attempts), [_attempt_row(claim, now) for claim in won])
            tx.notify(Topic.CHANGED)
        return [_new_flight(claim, now) for claim in won]

    def postpone(self, run: Run, until: int, reason: str) -> bool:
        """Let a run that was ready wait until then; uses up no attempt. Returns whether it did."""

        def operation(tx: Tx) -> bool:
            changed = tx.conn.execute(
                update(runs)
                .where(runs.c.id == run.id, runs.c.fence == run.fence, schema.is_ready)
                .values(queue=Queue.DELAYED, not_before=until, reason=storable(reason))
            ).rowcount
            return changed == 1

        return self._db.write(operation, "postpone")

    def fail_unsent(self, run: Run, reason: str, exit_code: int | None = None) -> None:
        """End a pending run that can not be rendered: dead, with the reason."""

        def operation(tx: Tx) -> None:
            now = self._db.clock.now()
            changed = tx.conn.execute(
                update(runs)
                .where(runs.c.id == run.id, runs.c.fence == run.fence, schema.is_ready)
                .values(
                    state=RunState.SUBMITTING,
                    queue=None,
                    owner=self.owner,
                    fence=runs.c.fence + 1,
                    attempts=runs.c.attempts + 1,
                )
            ).rowcount
            if not changed:
                return
            row = _blank_attempt(run, now) | {
                "state": AttemptState.FAILED,
                "reason": storable(reason),
                "exit_code": exit_code,
                "retryable": False,
                "ended_at": now,
            }
            tx.conn.execute(insert(attempts), [row])
            tx.notify(Topic.ENDED)

        self._db.write(operation, "refuse")


def _blank_attempt(run: Run, now: int) -> dict[str, Any]:
    number = run.attempts + 1
    return {
        "run_id": run.id,
        "number": number,
        "job_name": f"unsent-{run.id}-a{number}",
        "namespace": "",
        "spec_hash": "",
        "execution_us": 0,
        "total_us": 0,
        "grace_us": 0,
        "created_at": now,
    }


def _attempt_row(claim: Claim, now: int) -> Mapping[str, Any]:
    return {
        "run_id": claim.run.id,
        "number": claim.run.attempts + 1,
        "job_name": claim.job_name,
        "namespace": claim.namespace,
        "state": AttemptState.SENDING,
        "spec_hash": claim.spec_hash,
        "body": claim.body,
        "execution_us": claim.execution_us,
        "total_us": claim.total_us,
        "grace_us": claim.grace_us,
        "lease_us": claim.lease_us,
        "created_at": now,
        # What a service's life says last comes with its end.
        "closing": claim.run.life_us is not None and claim.run.origin is not Origin.SERVICE,
    }


def _new_flight(claim: Claim, now: int) -> Flight:
    return Flight(
        run_id=claim.run.id,
        number=claim.run.attempts + 1,
        fence=claim.run.fence + 1,
        trigger_uid=claim.run.trigger_uid,
        trigger_name=claim.run.trigger_name,
        job_name=claim.job_name,
        job_id=None,
        namespace=claim.namespace,
        state=AttemptState.SENDING,
        body=claim.body,
        doubt=False,
        faults=0,
        execution_us=claim.execution_us,
        total_us=claim.total_us,
        grace_us=claim.grace_us,
        lease_us=claim.lease_us,
        created_at=now,
        submitted_at=None,
        running_at=None,
        deadline_at=None,
        stop_reason=None,
        stopped_at=None,
        hold_until=0,
        cancel=None,
        spec_hash=claim.spec_hash,
    )
