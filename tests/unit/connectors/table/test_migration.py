"""`orch table-sql`: what it prints makes a table that the connector reads; hostile names harm
nothing. Servers run it in tests/integration/table."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.cli import orch
from tests.support.jobtable import JobTable
from tests.support.tabledesk import Desk, ids, told


def _database(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


def _table(tmp_path: Path, connection: sqlite3.Connection, name: str) -> JobTable:
    dsn = f"sqlite:///{tmp_path / 'jobs.db'}"
    return JobTable("sqlite", connection, {"dsn": dsn}, table=name, make=False)


@pytest.mark.parametrize("name", ["jobs", 'my "jobs"; DROP TABLE x', "select", "ключ'"])
def test_a_table_is_made(tmp_path: Path, name: str):
    """By the statements that are printed, whatever the name, and the connector reads it."""
    done = orch("table-sql", "--dialect", "sqlite", "--table", name)
    assert (done.code, done.err) == (0, "")
    connection = _database(tmp_path)
    connection.executescript(done.out)
    table = _table(tmp_path, connection, name)
    table.put(["a"])
    desk = Desk(table, tmp_path / "own")
    assert ids(desk.claims(rows_per_second=5).poll(9, 0).messages) == ["1"]
    desk.close()
    table.close()


def test_a_table_that_is_there(tmp_path: Path):
    """Gets the columns that it needs; its rows and its key stay."""
    connection = _database(tmp_path)
    connection.executescript("CREATE TABLE mail (nr integer PRIMARY KEY, body text)")
    connection.execute("INSERT INTO mail (body) VALUES ('hello')")
    printed = orch(
        "table-sql", "--dialect", "sqlite", "--table", "mail", "--key", "nr", "--existing"
    )
    connection.executescript(printed.out)
    table = _table(tmp_path, connection, "mail")
    desk = Desk(table, tmp_path / "own")
    source = desk.claims(key="nr")
    [message] = source.poll(9, 0).messages
    assert message.body == {"nr": 1, "body": "hello", "created_at": None}
    source.acknowledge([told(message, run_id="r1", state="succeeded")])
    assert connection.execute("SELECT finished_at IS NOT NULL FROM mail").fetchone() == (1,)
    desk.close()
    table.close()


def test_its_indexes_are_used(tmp_path: Path):
    """However many rows are done: those that wait, and those that are claimed, are found by one."""
    connection = _database(tmp_path)
    connection.executescript(orch("table-sql", "--dialect", "sqlite").out)
    is_open = "finished_at IS NULL AND cancelled_at IS NULL"
    for condition, order, index in (
        ("queued_at IS NULL", "created_at, id", "ix_jobs_waiting"),
        ("queued_at IS NOT NULL", "claimed_by", "ix_jobs_claimed"),
    ):
        query = f"SELECT id FROM jobs WHERE {condition} AND {is_open} ORDER BY {order} LIMIT 9"
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall())
        assert index in plan
        assert "TEMP B-TREE" not in plan
    connection.close()


@pytest.mark.parametrize("dialect", ["postgresql", "mysql"])
def test_names_are_quoted_as_each_database_does(dialect: str):
    """A quote in a name is doubled."""
    name, mark = ('a"b', '"') if dialect == "postgresql" else ("a`b", "`")
    out = orch("table-sql", "--dialect", dialect, "--table", f"app.{name}").out
    assert f"{mark}app{mark}.{mark}a{mark}{mark}b{mark}" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--dialect", "oracle"], "--dialect: 'oracle' is none: write postgresql, mysql, sqlite"),
        (["--dialect", "sqlite", "--table", "a.b.c"], "--table: 'a.b.c' is no table"),
        (["--dialect", "sqlite", "--table", "a\nb"], "printable"),
        (["--dialect", "sqlite", "--key", ""], "printable"),
        (["--dialect", "sqlite", "--notify", "x"], "only PostgreSQL"),
        (["--dialect", "postgresql", "--notify", "x$orch$"], "no $"),
        (["--dialect", "postgresql", "--notify", "x\\"], "no backslash"),
        ([], "--dialect"),
    ],
)
def test_bad_options(options: list[str], says: str):
    """Nothing is printed, and it is said what to write."""
    done = orch("table-sql", *options)
    assert done.code == 2
    assert done.out == ""
    assert says in done.err


def test_a_table_is_registered_by_itself():
    """Without a job, a file or a name."""
    given = ("--dsn", "postgresql://orch@db/shop", "--table", "jobs", "--dry-run", "--json")
    done = orch("register", "table", *given, "--password", "{secret: SHOP}")
    assert done.code == 0, done.err
    assert done.json["name"] == "table-jobs-db-shop"
    assert done.json["password"] == {"secret": "SHOP"}
    refused = orch(
        "register", "table", "--dsn", "postgresql://u:hunter2@db/shop", "--table", "jobs"
    )
    assert refused.code == 2
    assert "--dsn: a password stands in it" in refused.err
    assert "hunter2" not in refused.err
