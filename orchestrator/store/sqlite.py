"""SQLite: the embedded default. One orchestrator a data directory, WAL, every commit on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from orchestrator.domain.signals import Topic
from orchestrator.store.dialect import Companion, Dialect
from orchestrator.store.walcopy import WRITER_FROM, WalCopier

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=10000",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-65536",  # 64 MiB
    "PRAGMA journal_size_limit=67108864",
    f"PRAGMA wal_autocheckpoint={WRITER_FROM}",
)


def _prepare(engine: Engine, *, begin: str, pragmas: Sequence[str]) -> None:
    def on_connect(dbapi_connection: Any, _record: object) -> None:
        # The driver must not begin transactions by itself: BEGIN IMMEDIATE takes the write lock at
        # once, so that no transaction fails half-way because another one wrote.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    def on_begin(conn: Connection) -> None:
        conn.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)


def make_private(file: Path) -> None:
    """Make the file of a new store, for its owner alone: what SQLite puts beside it has its mode.

    One that is there keeps its mode; why one cannot be made is for SQLite to tell.
    """
    with suppress(OSError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


_ANNOUNCE = (
    "INSERT INTO announcements (run_id, revision) VALUES (NEW.id, 1)"
    " ON CONFLICT (run_id) DO UPDATE SET revision = revision + 1;"
)
_ANNOUNCING = {
    "runs_announced_new": f"AFTER INSERT ON runs BEGIN {_ANNOUNCE} END",
    "runs_announced": "AFTER UPDATE OF state, ended_at ON runs"
    " WHEN OLD.state <> NEW.state OR OLD.ended_at IS NOT NEW.ended_at"
    f" BEGIN {_ANNOUNCE} END",
}


class Sqlite(Dialect):
    """SQLite 3.35 or later."""

    name = "sqlite"

    def engines(self, url: str) -> tuple[Engine, Engine]:
        file = make_url(url).database
        if file and file != ":memory:":
            make_private(Path(file))
        arguments = {"check_same_thread": False}
        writer = create_engine(url, poolclass=StaticPool, connect_args=arguments)
        _prepare(writer, begin="BEGIN IMMEDIATE", pragmas=_PRAGMAS)
        reader = create_engine(
            url, poolclass=QueuePool, pool_size=8, max_overflow=8, connect_args=arguments
        )
        small = [p for p in _PRAGMAS if "cache_size" not in p and "journal_mode" not in p]
        _prepare(reader, begin="BEGIN", pragmas=[*small, "PRAGMA query_only=ON"])
        return writer, reader

    def lock_claims(self, conn: Connection) -> None:
        """Nothing to do: BEGIN IMMEDIATE holds the only write lock."""

    def now(self, conn: Connection) -> int:
        return time.time_ns() // 1000

    def _parameters(self, compiled: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
        names: list[str] = compiled.positiontup
        constants: dict[str, Any] = compiled.params
        if set(names) <= set(rows[0]):
            take = itemgetter(*names)
            return [take(row) for row in rows]
        return [tuple(row[n] if n in row else constants[n] for n in names) for row in rows]

    def update_many(
        self, conn: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]
    ) -> list[bool]:
        if not rows:
            return []
        conn.exec_driver_sql("SAVEPOINT many")
        matched = self.execute_many(conn, statement, rows)
        if matched == len(rows):
            conn.exec_driver_sql("RELEASE SAVEPOINT many")
            return [True] * len(rows)
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT many")
        conn.exec_driver_sql("RELEASE SAVEPOINT many")
        return [conn.execute(statement, dict(row)).rowcount == 1 for row in rows]

    def insert_ignore(
        self, conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> int:
        if not rows:
            return 0
        statement = insert(table).prefix_with("OR IGNORE")
        return conn.execute(statement, [dict(row) for row in rows]).rowcount

    def publish(self, conn: Connection, topics: set[Topic]) -> None:
        """Nobody else to tell."""

    def subscribe(self, url: str, heard: Callable[[set[Topic]], None]) -> Callable[[], None]:
        return lambda: None

    def announces(self, conn: Connection) -> bool:
        statement = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name = ?"
        return bool(conn.exec_driver_sql(statement, ("runs_announced",)).scalar())

    def announcing(self, on: bool) -> Sequence[str]:
        if not on:
            return [f"DROP TRIGGER {name}" for name in _ANNOUNCING]
        return [f"CREATE TRIGGER {name} {does}" for name, does in _ANNOUNCING.items()]

    def companion(self, url: str) -> Companion:
        return WalCopier(Path(str(make_url(url).database)))
