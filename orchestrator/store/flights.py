"""Attempts under way: claimed, sent, accepted, seen running, stopped, ended.

Every change carries the run's fencing token in its WHERE: an orchestrator that was taken for dead
and comes back changes nothing that another has taken over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Update,
    bindparam,
    exists,
    func,
    insert,
    select,
    update,
)

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import AttemptState, Queue, RunState
from orchestrator.store import schema
from orchestrator.store.acceptances import Acceptances
from orchestrator.store.database import Database
from orchestrator.store.rows import FLIGHT_COLUMNS, to_flight, to_run
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


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended."""

    state: AttemptState
    reason: str = ""
    exit_code: int | None = None
    node_id: str = ""
    stdout: str = ""
    stderr: str = ""
    counted: bool = True
    retryable: bool = True
    hold_until: int = 0


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

_IN_CHUNK = 500
_LIVE = (AttemptState.SENDING, AttemptState.ACCEPTED, AttemptState.RUNNING)
_ACCEPTED = (AttemptState.ACCEPTED, AttemptState.RUNNING)

# Built once: on the paths that every submission takes, putting a statement together would cost
# more than the database's answer.
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
_FLIGHTS = (
    select(*FLIGHT_COLUMNS)
    .join(runs, runs.c.id == attempts.c.run_id)
    .join(triggers, triggers.c.uid == runs.c.trigger_uid)
    .where(attempts.c.number == runs.c.attempts, attempts.c.ended_at.is_(None))
)
_NEWS = _FLIGHTS.where(
    schema.in_flight,
    runs.c.id.in_(bindparam("b_ids", expanding=True)),
    attempts.c.state.in_(_ACCEPTED),
)
_OURS = runs.c.owner == bindparam("b_owner")
_CANCELLED = _FLIGHTS.where(schema.wants_cancel, _OURS).limit(bindparam("b_limit"))
_LATE = _FLIGHTS.where(
    attempts.c.deadline_at.is_not(None),
    attempts.c.stopped_at.is_(None),
    attempts.c.deadline_at <= bindparam("b_now"),
    _OURS,
).limit(bindparam("b_limit"))
_NEXT_DEADLINE = (
    select(attempts.c.deadline_at)
    .join(runs, runs.c.id == attempts.c.run_id)
    .where(
        _OURS,
        attempts.c.deadline_at.is_not(None),
        attempts.c.ended_at.is_(None),
        attempts.c.stopped_at.is_(None),
    )
    .order_by(attempts.c.deadline_at)
    .limit(1)
)


class Flights:
    """The store's side of dispatcher, watcher and canceller, for one orchestrator."""

    def __init__(self, database: Database, owner: str) -> None:
        self._db = database
        self._acceptances = Acceptances(database)
        self.owner = owner
        self._news: deque[tuple[str, int]] = deque()

    # -- claiming ---------------------------------------------------------------------------

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
        """Let delayed runs whose time has come be ready."""

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

    def fail_unsent(self, run: Run, reason: str) -> None:
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
                "reason": reason,
                "retryable": False,
                "ended_at": now,
            }
            tx.conn.execute(insert(attempts), [row])
            tx.notify(Topic.ENDED)

        self._db.write(operation, "refuse")

    # -- what flies -------------------------------------------------------------------------

    def load(self, states: Sequence[AttemptState]) -> list[Flight]:
        """The attempts of this orchestrator that are under way, for a restart."""
        return self._select(runs.c.owner == self.owner, attempts.c.state.in_(states))

    def news(self) -> list[Flight]:
        """Those that were accepted or stopped here since the last call, as they are now."""
        changed: set[str] = set()
        while self._news:
            changed.add(self._news.popleft()[0])
        found: list[Flight] = []
        wanted = list(changed)
        for start in range(0, len(wanted), _IN_CHUNK):
            found += self._read(_NEWS, {"b_ids": wanted[start : start + _IN_CHUNK]})
        return found

    def current(self, flight: Flight) -> Flight | None:
        """An attempt as it is now; None once it has ended or belongs to another orchestrator."""
        found = self._select(
            runs.c.id == flight.run_id,
            runs.c.fence == flight.fence,
            attempts.c.number == flight.number,
        )
        return found[0] if found else None

    def jobs_before(self, flight: Flight, since: int, limit: int) -> list[tuple[str, str]]:
        """Ids and namespaces of the last jobs that the cluster had accepted before this one, but
        after `since`: it should know them for ever, whether they have ended or not."""
        statement = (
            select(attempts.c.job_id, attempts.c.namespace)
            .join(runs, runs.c.id == attempts.c.run_id)
            .where(
                attempts.c.job_id.is_not(None),
                attempts.c.job_id != flight.job_id,
                attempts.c.submitted_at > since,
                attempts.c.submitted_at <= flight.submitted_at,
            )
            .order_by(runs.c.due_at.desc(), runs.c.id.desc())
            .limit(limit)
        )
        with self._db.read() as conn:
            return [(row.job_id, row.namespace) for row in conn.execute(statement)]

    def _noted(self, flight: Flight, change: Future[bool]) -> Future[bool]:
        """Let `news` tell of a change once it is committed."""

        def note(done: Future[bool]) -> None:
            if done.exception() is None and done.result():
                self._news.append((flight.run_id, flight.number))

        change.add_done_callback(note)
        return change

    def _select(self, *conditions: Any) -> list[Flight]:
        return self._read(_FLIGHTS.where(schema.in_flight, *conditions), {})

    def _read(self, statement: Executable, values: Mapping[str, Any]) -> list[Flight]:
        with self._db.read() as conn:
            return [to_flight(row) for row in conn.execute(statement, values).mappings()]

    def shift_waits(self, step: int, now: int, noticed: int = 0) -> None:
        """The clock was set by `step`: let retries, rates and deadlines move with it.

        It was set at most `noticed` microseconds ago; what was written since is right already.
        """

        def waits(column: ColumnElement[int]) -> ColumnElement[bool]:
            # What was to come before the step: now long past, or far off.
            return column.between(now - step, now) if step > 0 else column > now

        def operation(tx: Tx) -> None:
            tx.conn.execute(
                update(runs)
                .where(schema.is_delayed, waits(runs.c.not_before))
                .values(not_before=runs.c.not_before + step)
            )
            tx.conn.execute(
                update(triggers)
                .where(waits(triggers.c.rate_next))
                .values(rate_next=triggers.c.rate_next + step)
            )
            for column, written in (
                (attempts.c.deadline_at, attempts.c.submitted_at),
                (attempts.c.hold_until, attempts.c.stopped_at),
            ):
                tx.conn.execute(
                    update(attempts)
                    .where(
                        attempts.c.deadline_at.is_not(None),
                        attempts.c.ended_at.is_(None),
                        column > min(now, now - step),
                        ~written.between(now - noticed, now),
                    )
                    .values({column: column + step})
                )

        self._db.write(operation, "shift")

    def accepted(self, flight: Flight, job_id: str) -> Future[bool]:
        """The cluster has the job: forget its bytes, start its deadline."""
        future: Future[bool] = Future()
        # Noted before it is submitted: who is woken by the commit must find it in `news`.
        self._noted(flight, future)
        self._acceptances.submit(flight, job_id, future)
        return future

    def doubted(self, flight: Flight, *, faults: int) -> Future[bool]:
        """No clear answer: the same bytes will be sent again, or the job found by its name."""
        return self._submit(flight, (AttemptState.SENDING,), "doubt", doubt=True, faults=faults)

    def seen_running(self, flight: Flight, node_id: str) -> Future[bool]:
        """The job runs."""
        now = self._db.clock.now()
        return self._submit(
            flight,
            (AttemptState.ACCEPTED,),
            "running",
            state=AttemptState.RUNNING,
            running_at=now,
            node_id=node_id,
        )

    def stopping(self, flight: Flight, reason: str) -> Future[bool]:
        """The attempt's job is to be stopped; written before the cluster is asked."""
        change = self._submit(flight, _ACCEPTED, "stopping", stop_reason=reason)
        return self._noted(flight, change)

    def stopped(self, flight: Flight, at: int, hold_until: int) -> Future[bool]:
        """The cluster was told to stop the job; another attempt may exist from `hold_until` on."""
        change = self._submit(flight, _ACCEPTED, "stopped", stopped_at=at, hold_until=hold_until)
        return self._noted(flight, change)

    def ended(self, flight: Flight, ending: Ending) -> Future[bool]:
        """The attempt has ended. The completer moves its run."""

        def operation(tx: Tx) -> bool:
            changed = self._change(
                tx,
                flight,
                _LIVE,
                state=ending.state,
                reason=_text(ending.reason),
                exit_code=ending.exit_code,
                node_id=ending.node_id or attempts.c.node_id,
                stdout=_text(ending.stdout),
                stderr=_text(ending.stderr),
                counted=ending.counted,
                retryable=ending.retryable,
                hold_until=ending.hold_until,
                ended_at=self._db.clock.now(),
                body=None,
            )
            if changed:
                tx.notify(Topic.ENDED)
            return changed

        return self._db.submit(operation, "end")

    def to_cancel(self, now: int, limit: int = 1000) -> list[Flight]:
        """Attempts whose run somebody wants to end, or whose deadline has passed.

        Those that are still being sent come too: what is never sent needs no stop.
        """
        values = {"b_owner": self.owner, "b_limit": limit}
        found: dict[tuple[str, int], Flight] = {}
        with self._db.read() as conn:
            for statement, more in ((_CANCELLED, {}), (_LATE, {"b_now": now})):
                for row in conn.execute(statement, values | more).mappings():
                    flight = to_flight(row)
                    found[flight.run_id, flight.number] = flight
        return list(found.values())

    def next_deadline(self) -> int | None:
        """When the time of this orchestrator's next attempt is over."""
        with self._db.read() as conn:
            return conn.scalar(_NEXT_DEADLINE, {"b_owner": self.owner})

    # -- helpers ----------------------------------------------------------------------------

    def _submit(
        self, flight: Flight, states: Sequence[AttemptState], label: str, **values: Any
    ) -> Future[bool]:
        return self._db.submit(lambda tx: self._change(tx, flight, states, **values), label)

    def _change(
        self, tx: Tx, flight: Flight, states: Sequence[AttemptState], **values: Any
    ) -> bool:
        return tx.conn.execute(_conditional(flight, states).values(**values)).rowcount == 1


def _text(text: str) -> str:
    """What a task or a node wrote, as any database takes it: PostgreSQL refuses NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _conditional(flight: Flight, states: Sequence[AttemptState]) -> Update:
    fenced = exists().where(runs.c.id == flight.run_id, runs.c.fence == flight.fence)
    return update(attempts).where(
        attempts.c.run_id == flight.run_id,
        attempts.c.number == flight.number,
        attempts.c.ended_at.is_(None),
        attempts.c.state.in_(states),
        fenced,
    )


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
        "created_at": now,
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


def in_flight_by_owner(conn: Connection) -> dict[str, int]:
    """Runs in flight of each orchestrator."""
    statement = select(runs.c.owner, func.count()).where(schema.in_flight).group_by(runs.c.owner)
    return {owner or "": count for owner, count in conn.execute(statement)}
