"""Attempts under way: sent, accepted, seen running, stopped, ended.

Every change carries the run's fencing token in its WHERE: an orchestrator that was taken for dead
and comes back changes nothing that another has taken over.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Executable,
    Text,
    Update,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    update,
)

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import AttemptState
from orchestrator.store import schema
from orchestrator.store.acceptances import Acceptances
from orchestrator.store.database import Database, storable
from orchestrator.store.rows import FLIGHT_COLUMNS, to_flight
from orchestrator.store.schema import attempts, runs, triggers
from orchestrator.store.values import Flight
from orchestrator.store.writer import Tx


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended."""

    state: AttemptState
    reason: str = ""
    exit_code: int | None = None
    node_id: str = ""
    stdout: str = ""
    stderr: str = ""
    failed: Sequence[tuple[int, int]] = ()
    """Places of events that its published result says have failed, half-open ranges."""
    counted: bool = True
    retryable: bool = True
    hold_until: int = 0


_IN_CHUNK = 500
_INT32 = 2**31
_LIVE = (AttemptState.SENDING, AttemptState.ACCEPTED, AttemptState.RUNNING)
_ACCEPTED = (AttemptState.ACCEPTED, AttemptState.RUNNING)

# Built once: on the paths that every submission takes, putting a statement together would cost
# more than the database's answer.
_OURS = runs.c.owner == bindparam("b_owner")
_FLIGHTS = (
    select(*FLIGHT_COLUMNS)
    .join(runs, runs.c.id == attempts.c.run_id)
    .join(triggers, triggers.c.uid == runs.c.trigger_uid)
    .where(attempts.c.number == runs.c.attempts, attempts.c.ended_at.is_(None))
)
_NEWS = _FLIGHTS.where(
    schema.in_flight,
    _OURS,
    runs.c.id.in_(bindparam("b_ids", expanding=True)),
    attempts.c.state.in_(_ACCEPTED),
)
_CANCELLED = _FLIGHTS.where(schema.wants_cancel, attempts.c.stopped_at.is_(None), _OURS).limit(
    bindparam("b_limit")
)
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
        self._news: deque[Flight | str] = deque()  # as it is now, or of which run one is to be read
        self._acceptances = Acceptances(database, self._news.append)
        self.owner = owner

    def load(self, states: Sequence[AttemptState]) -> list[Flight]:
        """The attempts of this orchestrator that are under way, for a restart."""
        return self._select(runs.c.owner == self.owner, attempts.c.state.in_(states))

    def news(self) -> list[Flight]:
        """Those that were accepted or stopped here since the last call: the first as they were
        then, the others as they are now."""
        found: dict[str, Flight] = {}
        changed: set[str] = set()
        while self._news:
            news = self._news.popleft()
            if isinstance(news, Flight):
                found[news.run_id] = news
            else:
                changed.add(news)
        wanted = list(changed)
        for start in range(0, len(wanted), _IN_CHUNK):
            ids = wanted[start : start + _IN_CHUNK]
            for flight in self._read(_NEWS, {"b_ids": ids, "b_owner": self.owner}):
                found[flight.run_id] = flight
        return list(found.values())

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
                self._news.append(flight.run_id)

        change.add_done_callback(note)
        return change

    def _select(self, *conditions: Any) -> list[Flight]:
        return self._read(_FLIGHTS.where(schema.in_flight, *conditions), {})

    def _read(self, statement: Executable, values: Mapping[str, Any]) -> list[Flight]:
        with self._db.read() as conn:
            return [to_flight(row) for row in conn.execute(statement, values).mappings()]

    def accepted(self, flight: Flight, job_id: str) -> Future[bool]:
        """The cluster has the job: forget its bytes, start its deadline."""
        future: Future[bool] = Future()
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
            state=AttemptState.RUNNING.value,
            running_at=now,
            node_id=storable(node_id),
        )

    def stopping(self, flight: Flight, reason: str) -> Future[bool]:
        """The attempt's job is to be stopped; written before the cluster is asked."""
        change = self._submit(flight, _ACCEPTED, "stopping", stop_reason=reason)
        return self._noted(flight, change)

    def stopped(self, flight: Flight, at: int, hold_until: int) -> Future[bool]:
        """The cluster was told to stop the job; another attempt may exist from `hold_until` on."""
        change = self._submit(flight, _ACCEPTED, "stopped", stopped_at=at, hold_until=hold_until)
        return self._noted(flight, change)

    def stop_again(self, flight: Flight) -> Future[bool]:
        """The cluster was told to stop the job, and it goes on: it is to be told once more.

        False if that is known already. Until then `hold_until` stands.
        """

        def operation(tx: Tx) -> bool:
            told = attempts.c.stopped_at == flight.stopped_at
            statement = _conditional(flight, _ACCEPTED).where(told).values(stopped_at=None)
            changed = tx.conn.execute(statement).rowcount == 1
            if changed:
                tx.notify(Topic.CANCEL)
            return changed

        return self._db.submit(operation, "unheeded")

    def ended(self, flight: Flight, ending: Ending) -> Future[bool]:
        """The attempt has ended. The completer moves its run."""

        def operation(tx: Tx) -> bool:
            changed = self._change(
                tx,
                flight,
                _LIVE,
                state=ending.state.value,
                reason=storable(ending.reason),
                exit_code=_exit_code(ending.exit_code),
                node_id=storable(ending.node_id),
                stdout=storable(ending.stdout),
                stderr=storable(ending.stderr),
                failed=json.dumps(ending.failed) if ending.failed else "",
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
        """Attempts whose run somebody wants to end, or whose deadline has passed, and whose job
        the cluster was not told to stop.

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
        """When the time of this orchestrator's next attempt is over. From then on `DEADLINE` is
        said of those alone whose time is over before."""
        self._acceptances.await_deadline(None)  # what is accepted meanwhile is told of
        with self._db.read() as conn:
            at = conn.scalar(_NEXT_DEADLINE, {"b_owner": self.owner})
        self._acceptances.await_deadline(at)
        return at

    # -- helpers ----------------------------------------------------------------------------

    def _submit(
        self, flight: Flight, states: Sequence[AttemptState], label: str, **values: Any
    ) -> Future[bool]:
        return self._db.submit(lambda tx: self._change(tx, flight, states, **values), label)

    def _change(
        self, tx: Tx, flight: Flight, states: Sequence[AttemptState], **values: Any
    ) -> bool:
        row = {"b_run": flight.run_id, "b_number": flight.number, "b_fence": flight.fence}
        row |= {f"v_{name}": value for name, value in values.items()}
        statement = _change_statement(tuple(states), tuple(values))
        return self._db.dialect.execute_many(tx.conn, statement, [row]) == 1


def _exit_code(code: int | None) -> int | None:
    """As the column holds it; no operating system has larger ones."""
    return None if code is None else max(-_INT32, min(code, _INT32 - 1))


@lru_cache(maxsize=64)
def _change_statement(states: tuple[AttemptState, ...], names: tuple[str, ...]) -> Update:
    """The conditional update of an attempt. Putting it together costs more than carrying it out,
    so each form is made once; values come as `v_<column>`."""
    fenced = exists().where(runs.c.id == bindparam("b_run"), runs.c.fence == bindparam("b_fence"))
    values: dict[str, Any] = {name: bindparam(f"v_{name}") for name in names}
    if "node_id" in values:  # what is not said now was said before
        said = func.nullif(bindparam("v_node_id", type_=Text), literal_column("''"))
        values["node_id"] = func.coalesce(said, attempts.c.node_id)
    return (
        update(attempts)
        .where(
            attempts.c.run_id == bindparam("b_run"),
            attempts.c.number == bindparam("b_number"),
            attempts.c.ended_at.is_(None),
            attempts.c.state.in_([literal_column(f"'{state.value}'") for state in states]),
            fenced,
        )
        .values(values)
    )


def _conditional(flight: Flight, states: Sequence[AttemptState]) -> Update:
    fenced = exists().where(runs.c.id == flight.run_id, runs.c.fence == flight.fence)
    return update(attempts).where(
        attempts.c.run_id == flight.run_id,
        attempts.c.number == flight.number,
        attempts.c.ended_at.is_(None),
        attempts.c.state.in_(states),
        fenced,
    )
