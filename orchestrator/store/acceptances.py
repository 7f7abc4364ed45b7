"""Acceptances: the cluster's clear answers, written down many at a time.

Under load they come faster than the disk commits. Those that come while one commit is under way
share the statements of the next: a third of the work of one operation each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy import bindparam, exists, select, update

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.store.database import Database
from orchestrator.store.schema import attempts, runs
from orchestrator.store.values import Flight
from orchestrator.store.writer import Tx

_AT_MOST = 500  # in one batch: its runs stand in one IN list

# Built once: on the paths that every submission takes, putting a statement together would cost
# more than the database's answer.
_ACCEPT = (
    update(attempts)
    .where(
        attempts.c.run_id == bindparam("b_run"),
        attempts.c.number == bindparam("b_number"),
        attempts.c.ended_at.is_(None),
        attempts.c.state == AttemptState.SENDING,
        exists().where(runs.c.id == bindparam("b_run"), runs.c.fence == bindparam("b_fence")),
    )
    .values(
        state=AttemptState.ACCEPTED,
        job_id=bindparam("v_job"),
        body=None,
        doubt=False,
        submitted_at=bindparam("v_now"),
        deadline_at=bindparam("v_deadline"),
    )
)
_RUNNING = (
    update(runs)
    .where(
        runs.c.id == bindparam("b_run"),
        runs.c.fence == bindparam("b_fence"),
        runs.c.state == RunState.SUBMITTING,
    )
    .values(state=RunState.RUNNING)
)
_CANCELLED = (
    select(runs.c.id)
    .where(runs.c.id.in_(bindparam("b_ids", expanding=True)), runs.c.cancel.is_not(None))
    .limit(1)
)


@dataclass(kw_only=True)
class _Batch:
    """What is written together: attempts, their jobs' ids, and who waits for the commit."""

    flights: list[Flight] = field(default_factory=list[Flight])
    jobs: list[str] = field(default_factory=list[str])
    futures: list[Future[bool]] = field(default_factory=list[Future[bool]])


class Acceptances:
    """Thread-safe."""

    def __init__(self, database: Database, tell: Callable[[Flight], None]) -> None:
        """`tell` is called with each attempt as it is after its acceptance was committed."""
        self._db = database
        self._tell = tell
        self._lock = threading.Lock()
        self._open: _Batch | None = None  # submitted, and not begun by the writer yet
        self._awaited: int | None = None

    def await_deadline(self, at: int | None) -> None:
        """Say `DEADLINE` only for what ends before this instant, µs; None: for every acceptance."""
        self._awaited = at

    def submit(self, flight: Flight, job_id: str, future: Future[bool]) -> None:
        """The cluster has the job: forget its bytes, start its deadline.

        The future gets its result before anyone is woken by the commit; False for an attempt that
        is not ours to change any more. Raises Unavailable.
        """
        with self._lock:
            batch = self._open
            if batch is None or len(batch.flights) >= _AT_MOST:
                batch = _Batch()
                then = partial(self._resolve, batch)
                self._db.submit(partial(self._write, batch), "accept", then, patient=True)
                self._open = batch
            batch.flights.append(flight)
            batch.jobs.append(job_id)
            batch.futures.append(future)

    def _resolve(self, batch: _Batch, done: Future[list[Flight | None]]) -> None:
        error = done.exception()
        if error is not None:
            for future in batch.futures:
                future.set_exception(error)
            return
        for future, accepted in zip(batch.futures, done.result(), strict=True):
            if accepted is not None:
                self._tell(accepted)
            future.set_result(accepted is not None)

    def _write(self, batch: _Batch, tx: Tx) -> list[Flight | None]:
        with self._lock:
            if self._open is batch:
                self._open = None
        now = self._db.clock.now()
        dialect = self._db.dialect
        rows: list[dict[str, Any]] = [
            {
                "b_run": flight.run_id,
                "b_number": flight.number,
                "b_fence": flight.fence,
                "v_job": job_id,
                "v_now": now,
                "v_deadline": now + flight.total_us + flight.grace_us,
            }
            for flight, job_id in zip(batch.flights, batch.jobs, strict=True)
        ]
        taken = dialect.update_many(tx.conn, _ACCEPT, rows)
        won = [flight for flight, ok in zip(batch.flights, taken, strict=True) if ok]
        if won:
            dialect.update_many(
                tx.conn, _RUNNING, [{"b_run": f.run_id, "b_fence": f.fence} for f in won]
            )
            tx.notify(Topic.FLIGHT, Topic.CHANGED)
            awaited = self._awaited
            if awaited is None or min(row["v_deadline"] for row in rows) < awaited:
                tx.notify(Topic.DEADLINE)
            ids = [flight.run_id for flight in won]
            if tx.conn.scalar(_CANCELLED, {"b_ids": ids}) is not None:
                tx.notify(Topic.CANCEL)
        return [
            _accepted(flight, row) if ok else None
            for flight, row, ok in zip(batch.flights, rows, taken, strict=True)
        ]


def _accepted(flight: Flight, row: Mapping[str, Any]) -> Flight:
    """What `_ACCEPT` makes of an attempt."""
    return replace(
        flight,
        state=AttemptState.ACCEPTED,
        job_id=row["v_job"],
        body=None,
        doubt=False,
        submitted_at=row["v_now"],
        deadline_at=row["v_deadline"],
    )
