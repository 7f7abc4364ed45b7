"""A publisher's database: connections, transactions, and errors as the contract has them.

Connections are made by the drivers' own calls, with the password read at that moment, so that no
address with a password exists anywhere.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Pool, QueuePool, create_engine

from connectors.fields import SecretName, reveal
from connectors.streams import SourceRefused, SourceUnavailable
from connectors.table import errors
from connectors.table.dsn import Address
from connectors.tables import TableName

_CONNECT = 10  # seconds
_STATEMENT = 30  # seconds
_LOCK = 10  # seconds
_SESSION = (
    ("timezone", "UTC"),
    ("statement_timeout", f"{_STATEMENT}s"),
    ("lock_timeout", f"{_LOCK}s"),
    ("idle_in_transaction_session_timeout", f"{2 * _STATEMENT}s"),
)
_OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0, 1)}
_NAMES = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}


class TableDatabase:
    """The database of one trigger. Thread-safe; connects on first use."""

    def __init__(
        self,
        address: Address,
        table: TableName,
        password: SecretName | None,
        secrets: Mapping[str, str],
    ) -> None:
        self.address = address
        self.place = f"the table {table} at {address.place}"
        self._password = password
        self._secrets = secrets
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._under_way: dict[int, Any] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing is asked any more."""
        return self._closed

    @contextmanager
    def transaction(
        self, *, writes: bool = True, within: float | None = None
    ) -> Generator[Connection]:
        """A transaction, committed at the end. After `within` seconds it is cut off.

        Raises :class:`connectors.streams.SourceUnavailable`, also where it is not known whether
        the commit was done, and :class:`connectors.streams.SourceRefused`.
        """
        timer = None if within is None else threading.Timer(within, self.cut)
        pool: Pool | None = None
        try:
            if timer is not None:
                timer.start()
            engine = self._open()
            pool = engine.pool
            with engine.connect() as conn, self._watched(conn):
                if self.address.dialect == "sqlite":
                    conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
                yield conn
                conn.commit()
        except Exception as error:
            found = self._meaning(error)
            if found is None or found is error:
                raise
            raise found from error
        finally:
            if timer is not None:
                timer.cancel()
            if pool is not None and self._closed:
                pool.dispose()  # this one was in use when the others were let go

    def cut(self) -> None:
        """End what is under way: those who wait for an answer get an error."""
        with self._lock:
            raw = list(self._under_way.values())
        for connection in raw:
            # Closing it would free what another thread is using; its socket may go at any time.
            with suppress(Exception):
                fd = os.dup(connection.fileno())
                with socket.socket(fileno=fd) as line:
                    line.shutdown(socket.SHUT_RDWR)

    def connect(self) -> Any:
        """A connection of the driver's own, that the caller closes. Raises as `transaction`."""
        try:
            return self._creator()()
        except Exception as error:
            found = self._meaning(error)
            if found is None or found is error:
                raise
            raise found from error

    def meaning(self, error: Exception) -> Exception:
        """An error of a connection that `connect` gave, as the contract has it."""
        return self._meaning(error) or error

    def close(self) -> None:
        """Let go of connections. May be called twice."""
        with self._lock:
            self._closed = True
            engine, self._engine = self._engine, None
        self.cut()
        if engine is not None:
            engine.dispose()

    def _meaning(self, error: Exception) -> Exception | None:
        return errors.translate(error, self.place, [*self._revealed()])

    def _revealed(self) -> Iterator[str]:
        with suppress(LookupError):
            if self._password is not None:
                yield reveal(self._password, self._secrets)

    def _open(self) -> Engine:
        with self._lock:
            if self._closed:
                raise SourceUnavailable(f"{self.place} is closed")
            if self._engine is None:
                dialect = self.address.dialect
                more = {} if dialect == "sqlite" else {"isolation_level": "READ COMMITTED"}
                self._engine = create_engine(
                    f"{_NAMES[dialect]}://",
                    creator=self._creator(),
                    poolclass=QueuePool,
                    pool_size=2,
                    max_overflow=2,
                    pool_timeout=_CONNECT,
                    hide_parameters=True,
                    **more,
                )
            return self._engine

    @contextmanager
    def _watched(self, conn: Connection) -> Generator[None]:
        raw = conn.connection.driver_connection
        self._check_version(conn)
        with self._lock:
            self._under_way[id(raw)] = raw
        try:
            yield
        finally:
            with self._lock:
                self._under_way.pop(id(raw), None)

    def _check_version(self, conn: Connection) -> None:
        if self.address.dialect != "mysql":
            return
        dialect: Any = conn.dialect
        name = "MariaDB" if dialect.is_mariadb else "MySQL"
        found = tuple(n for n in dialect.server_version_info if isinstance(n, int))
        if found < _OLDEST[name]:
            oldest = ".".join(map(str, _OLDEST[name]))
            version = ".".join(map(str, found))
            raise SourceRefused(f"{self.place}: {name} {version} is too old, at least {oldest}")

    def _creator(self) -> Callable[[], Any]:
        makers = {"postgresql": self._postgres, "mysql": self._mysql, "sqlite": self._sqlite}
        return makers[self.address.dialect]

    def _secret(self) -> str | None:
        try:
            return None if self._password is None else reveal(self._password, self._secrets)
        except LookupError as error:
            raise SourceRefused(f"{self.place}: {error.args[0]}") from error

    def _postgres(self) -> Any:
        import psycopg

        address = self.address
        given: dict[str, Any] = {
            "host": address.host or None,
            "port": address.port,
            "user": address.user,
            "password": self._secret(),
            "dbname": address.database,
            **address.options,
        }
        connection: Any = psycopg.connect(
            "",
            autocommit=True,
            connect_timeout=_CONNECT,
            application_name="orch",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            tcp_user_timeout=_STATEMENT * 1000,
            **{key: value for key, value in given.items() if value is not None},
        )
        try:
            for name, value in _SESSION:
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            connection.autocommit = False
        except BaseException:
            connection.close()
            raise
        return connection

    def _mysql(self) -> Any:
        import pymysql
        from pymysql.constants import CLIENT

        address = self.address
        given: dict[str, Any] = {
            "host": address.host or None,
            "user": address.user,
            "password": self._secret(),
            "charset": "utf8mb4",
            **address.options,
        }
        return pymysql.connect(
            port=address.port,
            database=address.database,
            connect_timeout=_CONNECT,
            read_timeout=_STATEMENT,
            write_timeout=_STATEMENT,
            # A row that was found but not changed counts, as it does everywhere else.
            client_flag=int(CLIENT.FOUND_ROWS),
            init_command=f"SET SESSION innodb_lock_wait_timeout = {_LOCK}, time_zone = '+00:00'",
            **{key: value for key, value in given.items() if value is not None},
        )

    def _sqlite(self) -> Any:
        # A file that is not there is not made, and statements begin no transaction by themselves.
        connection = sqlite3.connect(
            f"file:{quote(self.address.database)}?mode=rw",
            uri=True,
            timeout=_LOCK,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.text_factory = _text
        return connection


def _text(content: bytes) -> str:
    return content.decode(errors="replace")
