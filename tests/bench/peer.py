"""APScheduler 3 with its SQLAlchemy job store on SQLite: what firing and registration are held
against.

It is measured as it comes (SQLite's rollback journal, as durable as orch's store) and, where it is
asked for, with orch's own pragmas (WAL, `synchronous=FULL`), which its users would have to set.
Many jobs are inserted in bulk in the form that the store writes itself (`add_job` would take long
for a million); `add_job` is measured apart.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.util import datetime_to_utc_timestamp
from sqlalchemy import create_engine, event, insert

_A_COMMIT = 5000
_WITHIN = 1800.0  # seconds


def work() -> None:
    """The job: nothing."""


class _Store(SQLAlchemyJobStore):
    """Notes when a job that was fired is back in the store, committed."""

    def __init__(self, file: Path, *, wal: bool = False) -> None:
        super().__init__(engine=_engine(file, wal=wal))
        self.committed: list[float] = []  # seconds since the epoch
        self.expected = 0
        self.complete = threading.Event()

    def update_job(self, job: Job) -> None:
        super().update_job(job)
        self.committed.append(time.time())
        if len(self.committed) == self.expected:
            self.complete.set()


def _engine(file: Path, *, wal: bool) -> Any:
    engine = create_engine(f"sqlite:///{file}")
    if not wal:
        return engine

    def on_connect(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    event.listen(engine, "connect", on_connect)
    return engine


def _scheduler(store: _Store) -> BackgroundScheduler:
    return BackgroundScheduler(
        jobstores={"default": store},
        executors={"default": ThreadPoolExecutor(10)},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        timezone=UTC,
    )


def fill(file: str, due: dict[str, int], others: int) -> dict[str, float]:
    """Insert jobs that are due at instants (seconds since the epoch → how many), and others that
    are due next year. A second call lets the first ones be due again."""
    begin = time.perf_counter()
    store = _Store(Path(file))
    scheduler = _scheduler(store)
    # Only the store: a scheduler that is shut down looks once more for what is due.
    store.start(scheduler, "default")
    rows = _rows(scheduler, due, others)
    with store.engine.connect() as conn:
        while chunk := list(islice(rows, _A_COMMIT)):
            conn.execute(insert(store.jobs_t).prefix_with("OR REPLACE"), chunk)
            conn.commit()
    store.shutdown()
    return {"seconds": time.perf_counter() - begin}


def _rows(
    scheduler: BackgroundScheduler, due: dict[str, int], others: int
) -> Iterator[dict[str, Any]]:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=360)
    hourly, yearly = CronTrigger(minute=0, timezone=UTC), CronTrigger(month=1, timezone=UTC)
    groups = [(datetime.fromtimestamp(float(at), UTC), n, hourly) for at, n in due.items()]
    number = 0
    for at, count, trigger in [*groups, (later, others, yearly)]:
        job = Job(scheduler, id="x", func=work, trigger=trigger, executor="default", args=(),
                  kwargs={}, name="work", misfire_grace_time=None, coalesce=True,
                  max_instances=1, next_run_time=at)  # fmt: skip
        state = job.__getstate__()
        for _ in range(count):
            number += 1
            state["id"] = f"job-{number:07}"
            yield {
                "id": state["id"],
                "next_run_time": datetime_to_utc_timestamp(at),
                "job_state": pickle.dumps(state, pickle.HIGHEST_PROTOCOL),
            }


def fire(file: str, count: int, *, wal: bool = False) -> dict[str, Any]:
    """Run the scheduler until `count` jobs that are due have been fired and stored again.

    Returns the seconds it took and when each was committed (seconds since the epoch).
    """
    store = _Store(Path(file), wal=wal)
    store.expected = count
    scheduler = _scheduler(store)
    scheduler.start(paused=True)
    begin = time.time()
    scheduler.resume()
    if not store.complete.wait(_WITHIN):
        raise TimeoutError(f"{len(store.committed)} of {count} fired in {_WITHIN:g} s")
    scheduler.shutdown()
    committed = store.committed[:count]
    return {"seconds": committed[-1] - begin, "committed": committed}


def register(file: str, count: int) -> dict[str, float]:
    """`add_job` one by one, as the scheduler's users do."""
    scheduler = _scheduler(_Store(Path(file)))
    scheduler.start(paused=True)
    begin = time.perf_counter()
    for index in range(count):
        scheduler.add_job(work, "cron", minute=index % 60, id=f"job-{index:07}")
    seconds = time.perf_counter() - begin
    scheduler.shutdown()
    return {"seconds": seconds}
