"""A store that is open: its engines, its writer, its instance name."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from orchestrator.domain import names
from orchestrator.domain.clock import Clock, SystemClock
from orchestrator.domain.signals import Signals
from orchestrator.store import migrate, schema
from orchestrator.store.dialect import Dialect
from orchestrator.store.errors import StoreError, Unavailable
from orchestrator.store.sqlite import Sqlite
from orchestrator.store.writer import Tx, Writer

T = TypeVar("T")


def sqlite_url(data_dir: Path) -> str:
    """The URL of the embedded database in a data directory."""
    return f"sqlite:///{data_dir / 'orch.db'}"


def normalise_url(url: str) -> str:
    """Name the driver that is used for PostgreSQL, however the user wrote the DSN."""
    for prefix in ("postgres://", "postgresql://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


def dialect_of(url: str) -> Dialect:
    """Choose the dialect for a database URL."""
    if url.startswith("sqlite:"):
        return Sqlite()
    if url.startswith("postgresql"):
        try:
            from orchestrator.store.postgres import Postgres
        except ImportError as error:
            raise StoreError(
                "PostgreSQL needs the extra: pip install 'orch-bacalhau[postgres]'"
            ) from error
        return Postgres()
    raise StoreError(
        f"database {url.split(':', 1)[0]!r} is not supported: use sqlite:///FILE or postgresql://…"
    )


def canonical(value: Any) -> str:
    """JSON with one form for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def storable(text: str) -> str:
    """What somebody outside wrote, as any database takes it: PostgreSQL refuses NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


class Database:
    """Everything that reads or writes the store goes through one of these."""

    def __init__(
        self, url: str, *, clock: Clock | None = None, signals: Signals | None = None
    ) -> None:
        """Open the store and bring its schema up to date. Raises StoreError."""
        self.url = normalise_url(url)
        self.clock = clock or SystemClock()
        self.signals = signals or Signals()
        self.dialect = dialect_of(self.url)
        self._write_engine, self._read_engine = self.dialect.engines(self.url)
        try:
            migrate.upgrade(self._write_engine, self.dialect.lock_claims)
        except StoreError:
            self._dispose()
            raise
        except (OperationalError, InterfaceError) as error:
            self._dispose()
            raise Unavailable(f"the database cannot be opened: {error.orig}") from error
        except DatabaseError as error:
            self._dispose()
            raise StoreError(
                f"{self._write_engine.url.database} cannot be used as a store: {error.orig}. "
                "Bring back a backup with `orch restore`, or choose another --data-dir"
            ) from error
        self._companion = self.dialect.companion(self.url)
        self._writer = Writer(
            self._write_engine, self.signals, self.dialect.publish, self._companion.committed
        )
        self.instance = self.write(self._instance, "instance")
        self._unsubscribe = self.dialect.subscribe(self.url, self.signals.raise_)

    @contextmanager
    def read(self) -> Generator[Connection]:
        """A consistent view of the store. Never use it to decide a write without a condition."""
        try:
            with self._read_engine.begin() as conn:
                yield conn
        except (OperationalError, InterfaceError) as error:
            raise Unavailable(f"the database does not answer: {error.orig}") from error
        except PoolTimeout as error:
            raise Unavailable("too many questions to the database at once: try again") from error

    def submit(
        self,
        operation: Callable[[Tx], T],
        label: str,
        then: Callable[[Future[T]], None] | None = None,
        *,
        patient: bool = False,
    ) -> Future[T]:
        """Carry out `operation` with others in one commit; `label` names its failpoints.

        `then` is called once it is committed, or has failed, before anyone is woken. A `patient`
        operation waits a little for others under load.
        """
        return self._writer.submit(operation, label, then, patient=patient)

    def write(self, operation: Callable[[Tx], T], label: str) -> T:
        """Carry out `operation` and wait for its commit."""
        return self._writer.submit(operation, label).result()

    def close(self) -> None:
        """Finish what was submitted and close. May be called twice."""
        self._writer.close()
        self._companion.close()
        self._unsubscribe()
        self._dispose()

    def _dispose(self) -> None:
        self._read_engine.dispose()
        self._write_engine.dispose()

    def _instance(self, tx: Tx) -> str:
        # Several orchestrators may open an empty store at once: one name stands.
        row = {"key": "instance", "value": names.new_instance()}
        self.dialect.insert_ignore(tx.conn, schema.meta, [row])
        return tx.conn.scalars(
            select(schema.meta.c.value).where(schema.meta.c.key == "instance")
        ).one()

    def meta(self, key: str) -> str | None:
        """What the store remembers under `key`."""
        with self.read() as conn:
            return get_meta(conn, key)


def get_meta(conn: Connection, key: str) -> str | None:
    """Read one of the store's own facts."""
    return conn.scalar(select(schema.meta.c.value).where(schema.meta.c.key == key))


def set_meta(conn: Connection, key: str, value: str | None) -> None:
    """Remember a fact, or forget it with None."""
    table = schema.meta
    if value is None:
        conn.execute(table.delete().where(table.c.key == key))
    elif not conn.execute(update(table).where(table.c.key == key).values(value=value)).rowcount:
        conn.execute(insert(table).values(key=key, value=value))
