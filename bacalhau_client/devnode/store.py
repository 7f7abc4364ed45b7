"""Jobs, executions and history in SQLite: one writer thread, many changes in one commit.

WAL with `synchronous=NORMAL`: what was committed survives `kill -9` of the process, though not
necessarily a power cut. A dev node is not the place for the fsync that this would take.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from .config import ConfigError
from .model import Execution, Job, dumps
from .states import Compute, Desired

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, namespace TEXT NOT NULL, digest TEXT NOT NULL,
  labels TEXT NOT NULL, size INTEGER NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL,
  version INTEGER NOT NULL, revision INTEGER NOT NULL, history INTEGER NOT NULL,
  create_time INTEGER NOT NULL, modify_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (
  job_id TEXT NOT NULL, version INTEGER NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL,
  PRIMARY KEY (job_id, version)
);
CREATE TABLE IF NOT EXISTS executions (
  id TEXT PRIMARY KEY, job_id TEXT NOT NULL, job_version INTEGER NOT NULL, eval_id TEXT NOT NULL,
  node_id TEXT NOT NULL, namespace TEXT NOT NULL, partition INTEGER NOT NULL,
  snapshot TEXT NOT NULL, compute INTEGER NOT NULL, compute_message TEXT NOT NULL,
  desired INTEGER NOT NULL, desired_message TEXT NOT NULL, output TEXT NOT NULL,
  published TEXT NOT NULL, revision INTEGER NOT NULL, create_time INTEGER NOT NULL,
  modify_time INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS executions_of_job ON executions (job_id, create_time);
CREATE TABLE IF NOT EXISTS history (
  job_id TEXT NOT NULL, sequence INTEGER NOT NULL, version INTEGER NOT NULL,
  execution_id TEXT NOT NULL, entry TEXT NOT NULL, PRIMARY KEY (job_id, sequence)
) WITHOUT ROWID;
"""
_JOB = "id name namespace digest labels size state message version revision history create_time"
JOB_COLUMNS = tuple(f"{_JOB} modify_time".split())
EXECUTION_COLUMNS = tuple(Execution.__slots__)

Statement = tuple[str, tuple[Any, ...]]
Done = Callable[[Exception | None], object]


def _upsert(table: str, columns: tuple[str, ...], key: str) -> str:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    updates = ", ".join(f"{name}=excluded.{name}" for name in columns if name != key)
    return (
        f"INSERT INTO {table} ({names}) VALUES ({marks}) "  # noqa: S608 - names are constants
        f"ON CONFLICT ({key}) DO UPDATE SET {updates}"
    )


_PUT_JOB = _upsert("jobs", JOB_COLUMNS, "id")
_PUT_EXECUTION = _upsert("executions", EXECUTION_COLUMNS, "id")
_PUT_VERSION = "INSERT INTO versions VALUES (?, ?, ?, ?)"
_PUT_STATE = "UPDATE versions SET state = ? WHERE job_id = ? AND version = ?"
_PUT_EVENT = "INSERT INTO history VALUES (?, ?, ?, ?, ?)"
_PUT_META = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value=excluded.value"


def put_job(job: Job) -> list[Statement]:
    """The job's row, and the state of its latest version."""
    values = [getattr(job, name) for name in JOB_COLUMNS]
    values[JOB_COLUMNS.index("labels")] = dumps(job.labels)
    return [(_PUT_JOB, tuple(values)), put_state(job)]


def put_state(job: Job) -> Statement:
    """The state of the job's latest version."""
    return (_PUT_STATE, (job.render_state(), job.id, job.version))


def put_version(job: Job, body: str) -> Statement:
    """A new version's rendered spec."""
    return (_PUT_VERSION, (job.id, job.version, body, job.render_state()))


def put_execution(execution: Execution) -> Statement:
    """An execution's row."""
    return (_PUT_EXECUTION, tuple(getattr(execution, name) for name in EXECUTION_COLUMNS))


def put_event(job_id: str, sequence: int, version: int, execution_id: str, entry: str) -> Statement:
    """A rendered entry of a job's history."""
    return (_PUT_EVENT, (job_id, sequence, version, execution_id, entry))


def _commit(connection: sqlite3.Connection, statements: Iterable[Statement]) -> Exception | None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statement, values in statements:
            connection.execute(statement, values)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _log.exception("the dev node could not write its store")
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return error
    return None


class Store:
    """One database file. Reads may come from one thread, writes go to the writer's queue.

    Raises ConfigError where another dev node has the same directory.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = path.with_suffix(".lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise ConfigError(
                f"{path.parent}: another dev node uses this directory; stop it, or choose "
                "another --data-dir"
            ) from error
        self._reader = self._connect()
        self._reader.executescript(_SCHEMA)
        self._queue: queue.SimpleQueue[tuple[list[Statement], Done | None] | None]
        self._queue = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="devnode-store", daemon=True)
        self._writer.start()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA busy_timeout=10000")
        return connection

    def submit(self, statements: list[Statement], done: Done | None = None) -> None:
        """Hands statements to the writer.

        `done` is called in its thread after the commit, with the error where there was one.
        """
        self._queue.put((statements, done))

    def _write(self) -> None:
        with contextlib.closing(self._connect()) as connection:
            open_for_more = True
            while open_for_more:
                batch = [self._queue.get()]
                with contextlib.suppress(queue.Empty):
                    while True:
                        batch.append(self._queue.get_nowait())
                open_for_more = None not in batch
                work = [entry for entry in batch if entry is not None]
                error = _commit(connection, (entry for entries, _ in work for entry in entries))
                for _, done in work:
                    if done is not None:
                        done(error)

    def close(self) -> None:
        """Writes what is queued and closes; may be called twice."""
        if self._writer.is_alive():
            self._queue.put(None)
            self._writer.join()
        self._reader.close()
        self._lock.close()

    def meta(self, key: str, default: str) -> str:
        """A remembered value; the default is remembered where there is none."""
        row = self._reader.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            self.set_meta(key, default)
            return default
        return str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Remembers a value."""
        self._reader.execute(_PUT_META, (key, value))

    def jobs(self) -> Iterator[Job]:
        """All jobs, without their specs."""
        columns = ", ".join(JOB_COLUMNS)
        for row in self._reader.execute(f"SELECT {columns} FROM jobs ORDER BY create_time"):  # noqa: S608
            values = dict(zip(JOB_COLUMNS, row, strict=True))
            values["labels"] = json.loads(values["labels"])
            yield Job(**values)

    def body(self, job_id: str, version: int) -> str | None:
        """The rendered spec of a version."""
        row = self._reader.execute(
            "SELECT body FROM versions WHERE job_id = ? AND version = ?", (job_id, version)
        ).fetchone()
        return None if row is None else str(row[0])

    def versions(self, job_id: str) -> list[str]:
        """All versions of a job as the API shows them, oldest first."""
        rows = self._reader.execute(
            "SELECT body, state FROM versions WHERE job_id = ? ORDER BY version", (job_id,)
        )
        return [f"{{{body},{state}}}" for body, state in rows]

    def executions(self, job_id: str) -> list[Execution]:
        """All executions of a job, oldest first."""
        return self._executions("job_id = ?", (job_id,))

    def unfinished(self) -> list[Execution]:
        """Executions that had not ended when the node stopped."""
        ended = (Compute.BID_REJECTED, Compute.COMPLETED, Compute.FAILED, Compute.CANCELLED)
        return self._executions("compute NOT IN (?, ?, ?, ?)", ended)

    def _executions(self, where: str, values: Iterable[Any]) -> list[Execution]:
        columns = ", ".join(EXECUTION_COLUMNS)
        query = f"SELECT {columns} FROM executions WHERE {where} ORDER BY create_time, id"  # noqa: S608
        found: list[Execution] = []
        for row in self._reader.execute(query, tuple(values)):
            fields = dict(zip(EXECUTION_COLUMNS, row, strict=True))
            fields["compute"] = Compute(fields["compute"])
            fields["desired"] = Desired(fields["desired"])
            found.append(Execution(**fields))
        return found

    def history(self, job_id: str, version: int | None) -> list[str]:
        """The history of one version, or of all, as the API shows it."""
        rows = self._reader.execute(
            "SELECT entry FROM history WHERE job_id = ? AND (version = ? OR ? IS NULL) "
            "ORDER BY sequence",
            (job_id, version, version),
        )
        return [str(row[0]) for row in rows]

    def wipe(self) -> None:
        """Forgets every job; the node keeps its identity."""
        for table in ("jobs", "versions", "executions", "history"):
            self._reader.execute(f"DELETE FROM {table}")  # noqa: S608 - names are constants
