"""PostgreSQL: several orchestrators on one store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, text
from sqlalchemy.dialects.postgresql import insert

from orchestrator.domain.signals import Topic
from orchestrator.store.dialect import Dialect

_CHANNEL = "orch"
_CLAIM_LOCK = 0x6F726368  # "orch": claims of one database are made one after the other
_POLL = 0.2  # seconds: how long a listener takes to notice that it is to end
_RECONNECT = 1.0  # seconds
_ROWS = 1000  # of one INSERT: a statement has at most 65,535 parameters


_ANNOUNCE = """\
CREATE OR REPLACE FUNCTION orch_announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO announcements AS a (run_id, revision) VALUES (NEW.id, 1)
    ON CONFLICT (run_id) DO UPDATE SET revision = a.revision + 1;
    RETURN NULL;
END $$"""
_ANNOUNCING = {
    "runs_announced_new": "AFTER INSERT ON runs FOR EACH ROW",
    "runs_announced": "AFTER UPDATE OF state, ended_at ON runs FOR EACH ROW"
    " WHEN (OLD.state <> NEW.state OR OLD.ended_at IS DISTINCT FROM NEW.ended_at)",
}


class Postgres(Dialect):
    """PostgreSQL 13 or later, by psycopg 3."""

    name = "postgresql"

    def engines(self, url: str) -> tuple[Engine, Engine]:
        writer = create_engine(url, pool_size=1, max_overflow=1, pool_pre_ping=True)
        # Several questions of one `read` see the same state, as they do on SQLite.
        reader = create_engine(
            url,
            pool_size=8,
            max_overflow=8,
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ",
        )
        return writer, reader

    def lock_claims(self, conn: Connection) -> None:
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CLAIM_LOCK})

    def now(self, conn: Connection) -> int:
        row = conn.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"))
        return int(row.scalar_one())

    def _parameters(self, compiled: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
        constants: dict[str, Any] = compiled.params
        return [{**constants, **row} for row in rows]

    def update_many(
        self, conn: Connection, statement: Any, rows: Sequence[Mapping[str, Any]]
    ) -> list[bool]:
        return [conn.execute(statement, dict(row)).rowcount == 1 for row in rows]

    def insert_ignore(
        self, conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> int:
        key = next(iter(table.primary_key))
        inserted = 0
        for start in range(0, len(rows), _ROWS):
            values = [dict(row) for row in rows[start : start + _ROWS]]
            statement = insert(table).values(values).on_conflict_do_nothing().returning(key)
            # The driver's row count says nothing about an INSERT of several rows.
            inserted += len(conn.execute(statement).all())
        return inserted

    def publish(self, conn: Connection, topics: set[Topic]) -> None:
        payload = ",".join(sorted(topics))
        conn.execute(
            text("SELECT pg_notify(:channel, :payload)"), {"channel": _CHANNEL, "payload": payload}
        )

    def announces(self, conn: Connection) -> bool:
        found = text(
            "SELECT count(*) FROM pg_trigger"
            " WHERE tgname = :name AND tgrelid = to_regclass('runs') AND NOT tgisinternal"
        )
        return bool(conn.scalar(found, {"name": "runs_announced"}))

    def announcing(self, on: bool) -> Sequence[str]:
        if not on:
            return [f"DROP TRIGGER {name} ON runs" for name in _ANNOUNCING]
        made = [
            f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION orch_announce()"
            for name, when in _ANNOUNCING.items()
        ]
        return [_ANNOUNCE, *made]

    def subscribe(self, url: str, heard: Callable[[set[Topic]], None]) -> Callable[[], None]:
        stop = threading.Event()
        thread = threading.Thread(
            target=_listen, args=(url, heard, stop), name="store-listener", daemon=True
        )
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        return end


def _listen(url: str, heard: Callable[[set[Topic]], None], stop: threading.Event) -> None:
    import psycopg

    dsn = url.replace("postgresql+psycopg://", "postgresql://")
    while not stop.is_set():
        try:
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute(f"LISTEN {_CHANNEL}")
                # What was published while nobody listened is found by looking once.
                heard(set(Topic))
                while not stop.is_set():
                    for note in conn.notifies(timeout=_POLL):
                        heard({Topic(t) for t in note.payload.split(",") if t in set(Topic)})
        except psycopg.Error:
            stop.wait(_RECONNECT)
