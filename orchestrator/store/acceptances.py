"""Acceptances: the cluster's clear answers, written down many at a time.

Under load they come faster than the disk commits. Those that come while one commit is under way
share the statements of the next: a third of the work of one operation each.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
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


@dataclass(kw_only=True)
class _Batch:
    """What is written together: attempts, their jobs' ids, and who waits for the commit."""

    flights: list[Flight] = field(default_factory=list[Flight])
    jobs: list[str] = field(default_factory=list[str])
    futures: list[Future[bool]] = field(default_factory=list[Future[bool]])

    def resolve(self, done: Future[list[bool]]) -> None:
        error = done.exception()
        for index, future in enumerate(self.futures):
            if error is None:
                future.set_result(done.result()[index])
            else:
                future.set_exception(error)


class Acceptances:
    """Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._db = database
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
                self._db.submit(partial(self._write, batch), "accept", batch.resolve, patient=True)
                self._open = batch
            batch.flights.append(flight)
            batch.jobs.append(job_id)
            batch.futures.append(future)

    def _write(self, batch: _Batch, tx: Tx) -> list[bool]:
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
            cancelled = select(runs.c.id).where(
                runs.c.id.in_([flight.run_id for flight in won]), runs.c.cancel.is_not(None)
            )
            if tx.conn.scalar(cancelled.limit(1)) is not None:
                tx.notify(Topic.CANCEL)
        return taken
