"""Hot backups, and what a restored store must know before it goes on.

A backup is one SQLite file, whatever the database. It never holds the key that opens sealed bytes.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, func, insert, select, text, update

from orchestrator.domain import names
from orchestrator.domain.states import OPEN, AttemptState, RunState, TriggerState
from orchestrator.store import migrate, schema
from orchestrator.store.database import Database, get_meta, set_meta
from orchestrator.store.errors import StoreError
from orchestrator.store.lock import DirectoryLock
from orchestrator.store.schema import (
    attempts,
    orchestrators,
    outbox,
    partitions,
    runs,
    triggers,
)
from orchestrator.store.seal import KNOWN_KEY
from orchestrator.store.sqlite import make_private

BACKUP_AT = "backup.at"
RESTORED = "restore.pending"
_PAGES = 1000  # a step of the online backup; writers go on between steps
_ROWS = 1000


def create(database: Database, file: Path) -> dict[str, Any]:
    """Write a backup while the orchestrator runs. Raises StoreError if `file` exists.

    Returns `{"file", "bytes", "runs", "triggers", "at"}`; the file is complete or absent.
    """
    if file.exists():
        raise StoreError(f"{file} exists already: a backup overwrites nothing, choose another name")
    partial = file.with_name(f".{file.name}.partial")
    partial.unlink(missing_ok=True)
    at = database.clock.now()
    try:
        if database.dialect.name == "sqlite":
            _copy_online(database, partial)
        else:
            _copy_rows(database, partial)
        with closing(sqlite3.connect(partial)) as conn:
            conn.execute("PRAGMA journal_mode=DELETE")
            conn.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (BACKUP_AT, str(at)))
            conn.execute("DELETE FROM orchestrators")
            conn.commit()
            counts = {
                "runs": conn.execute("SELECT count(*) FROM runs").fetchone()[0],
                "triggers": conn.execute(
                    "SELECT count(*) FROM triggers WHERE state <> ?", (TriggerState.DELETED,)
                ).fetchone()[0],
            }
        _sync(partial)
        partial.rename(file)
        _sync(file.parent)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"the backup {file} cannot be written: {error}") from error
    return {"file": str(file), "bytes": file.stat().st_size, "at": at, **counts}


def _copy_online(database: Database, file: Path) -> None:
    with database.read() as conn, closing(sqlite3.connect(file)) as target:
        source: Any = conn.connection.driver_connection
        # The reader's own transaction pins one state of the store.
        source.backup(target, pages=_PAGES)


def _copy_rows(database: Database, file: Path) -> None:
    engine = create_engine(f"sqlite:///{file}")
    migrate.upgrade(engine)
    with database.read() as source, engine.begin() as target:
        source.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in schema.metadata.sorted_tables:
            _copy_table(source, target, table)
    engine.dispose()


def _copy_table(source: Connection, target: Connection, table: Table) -> None:
    rows = source.execution_options(yield_per=_ROWS).execute(select(table)).mappings()
    for chunk in rows.partitions(_ROWS):
        target.execute(insert(table), [dict(row) for row in chunk])


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def restore(file: Path, data_dir: Path, *, copy: bool) -> dict[str, Any]:
    """Make a data directory from a backup. Raises StoreError; then nothing is there.

    The restored store asks the cluster for its jobs before it dispatches anything. A copy takes a
    new instance name, pauses every trigger and ends every open run: the original's jobs are not
    its own. Returns `{"instance", "runs", "triggers", "copy"}`.
    """
    _check(file)
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = DirectoryLock(data_dir)
    target = data_dir / "orch.db"
    partial = data_dir / ".orch.db.partial"
    try:
        if target.exists():
            raise StoreError(f"{data_dir} holds a store already: restore into an empty directory")
        partial.unlink(missing_ok=True)
        make_private(partial)
        with (
            closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(partial)) as out,
        ):
            source.backup(out, pages=_PAGES)
        result = _prepare(partial, copy=copy)
        _sync(partial)
        partial.rename(target)
        _sync(data_dir)
        return result
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{file} cannot be restored to {data_dir}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
        lock.release()


def _check(file: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as conn:
            if conn.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise StoreError(f"{file} is damaged: use another backup")
            if conn.execute("SELECT 1 FROM meta WHERE key = ?", (BACKUP_AT,)).fetchone() is None:
                raise StoreError(f"{file} is not a backup of orch: make one with `orch backup`")
    except sqlite3.Error as error:
        raise StoreError(f"{file} is not a backup of orch: {error}") from error


def _prepare(file: Path, *, copy: bool) -> dict[str, Any]:
    engine = create_engine(f"sqlite:///{file}")
    try:
        migrate.upgrade(engine)
        with engine.begin() as conn:
            conn.execute(orchestrators.delete())
            at = int(get_meta(conn, BACKUP_AT) or 0)
            if copy:
                _make_copy(conn, at)
            else:
                set_meta(conn, RESTORED, str(at))
            return {
                "instance": get_meta(conn, "instance"),
                "runs": conn.scalar(select(func.count()).select_from(runs)),
                "triggers": conn.scalar(
                    select(func.count()).where(triggers.c.state != TriggerState.DELETED)
                ),
                "copy": copy,
            }
    finally:
        engine.dispose()


def _make_copy(conn: Connection, at: int) -> None:
    set_meta(conn, "instance", names.new_instance())
    set_meta(conn, "cluster.id", None)
    set_meta(conn, "cluster.block", None)
    set_meta(conn, KNOWN_KEY, None)  # it gets a key of its own
    conn.execute(
        update(triggers)
        .where(triggers.c.state == TriggerState.ACTIVE)
        .values(state=TriggerState.PAUSED, note="copied from another store")
    )
    conn.execute(update(partitions).values(wake_at=None, epoch=partitions.c.epoch + 1))
    reason = "belongs to the store that this one was copied from"
    conn.execute(
        update(attempts)
        .where(attempts.c.ended_at.is_(None))
        .values(state=AttemptState.STOPPED, reason=reason, ended_at=at, settled=True, body=None)
    )
    conn.execute(update(attempts).where(~attempts.c.settled).values(settled=True))
    conn.execute(
        update(runs)
        .where(runs.c.state.in_(OPEN))
        .values(
            state=RunState.CANCELLED,
            queue=None,
            reason=reason,
            cancel=None,
            owner=None,
            ended_at=at,
        )
    )
    conn.execute(update(partitions).values(done=partitions.c.planned))
    conn.execute(outbox.update().where(outbox.c.done_at.is_(None)).values(done_at=at, error=reason))
