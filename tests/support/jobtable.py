"""A publisher's table in a real database: a test inserts rows and looks what became of them."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

import psycopg
import pymysql

from connectors.abc import JSON
from connectors.tables import migration, parse_table, quoted
from tests.support.mariadb import MariaDb

Kind: TypeAlias = Literal["postgresql", "mysql", "sqlite"]
SECRETS = {"DB": "s3cret"}
_numbers = itertools.count()


class JobTable:
    """The table that `orch table-sql` prints, empty. Each statement is a transaction."""

    def __init__(
        self,
        kind: Kind,
        connection: Any,
        settings: Mapping[str, JSON],
        *,
        table: str = "jobs",
        notify: str | None = None,
        make: bool = True,
    ) -> None:
        self.kind: Kind = kind
        self._server: MariaDb | None = None
        self.connection = connection
        self._settings = dict(settings)
        self.name = parse_table(table)
        self.quoted = quoted(kind, self.name.schema, self.name.name)
        if make:
            for statement in migration(kind, self.name, notify=notify).split(";\n\n"):
                self.run(statement.rstrip().rstrip(";") + ";")

    @classmethod
    def postgres(cls, url: str, **options: Any) -> JobTable:
        """In the empty database of a URL of `postgres_url`."""
        connection = psycopg.connect(url, autocommit=True)
        given: dict[str, JSON] = {"dsn": url}
        if password := urlsplit(url).password:  # of a server that was given
            SECRETS["PG"] = unquote(password)
            given = {"dsn": url.replace(f":{password}@", "@"), "password": {"secret": "PG"}}
        return cls("postgresql", connection, given, **options)

    @classmethod
    def mariadb(cls, server: MariaDb, **options: Any) -> JobTable:
        """In a new database of a server."""
        database = server.new_database()
        settings: dict[str, JSON] = {"dsn": server.dsn(database), "password": {"secret": "DB"}}
        made = cls("mysql", server.connect(database), settings, **options)
        made._server = server
        return made

    @classmethod
    def sqlite(cls, directory: Path, **options: Any) -> JobTable:
        """In a new file."""
        path = directory / f"jobs-{next(_numbers)}.db"
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        return cls("sqlite", connection, {"dsn": f"sqlite:///{path}"}, **options)

    def again(self) -> JobTable:
        """The same table, by another connection."""
        if self.kind == "postgresql":
            other: Any = psycopg.connect(self.connection.info.dsn, autocommit=True)
        else:
            database = str(self._settings["dsn"]).rpartition("/")[2]
            assert self._server is not None
            other = self._server.connect(database)
        return JobTable(self.kind, other, self._settings, table=str(self.name), make=False)

    def settings(self, **more: JSON) -> dict[str, JSON]:
        """Of a trigger that reads it."""
        return {**self._settings, "table": str(self.name), **more}

    def run(self, statement: str, *values: Any) -> list[Any]:
        """A statement with ``?`` for values; its rows, if it has any."""
        marked = statement if self.kind == "sqlite" else statement.replace("?", "%s")
        cursor = self.connection.cursor()
        try:
            cursor.execute(marked, values)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            cursor.close()

    def put(self, payloads: Sequence[str]) -> None:
        """Rows with these texts, as JSON documents of their own."""
        cursor = self.connection.cursor()
        mark = "?" if self.kind == "sqlite" else "%s"
        cursor.executemany(
            f"INSERT INTO {self.quoted} (payload) VALUES ({mark})",
            [(f'{{"text": "{one}"}}',) for one in payloads],
        )
        cursor.close()

    def rows(self, *columns: str, where: str = "1 = 1") -> list[tuple[Any, ...]]:
        """Some columns of rows, in the order of their keys."""
        listed = ", ".join(columns)
        found = self.run(f"SELECT {listed} FROM {self.quoted} WHERE {where} ORDER BY id")
        return [tuple(row) for row in found]

    def open(self) -> int:
        """How many rows nobody has finished or cancelled."""
        where = "finished_at IS NULL AND cancelled_at IS NULL"
        return len(self.rows("id", where=where))

    def close(self) -> None:
        """Let go of it. May be called twice."""
        with suppress(pymysql.err.Error):
            self.connection.close()
