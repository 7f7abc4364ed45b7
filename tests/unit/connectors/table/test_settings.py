"""What people write: addresses, names, and what does not fit together."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from connectors.abc import JSON, Problem, SettingsError
from connectors.table import TableConnector
from connectors.table.dsn import Address, parse_dsn
from connectors.table.settings import parse_settings

GOOD: Mapping[str, JSON] = {"dsn": "postgresql://orch@db/shop", "table": "jobs"}


def _problem(**changes: JSON) -> Problem:
    given = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    with pytest.raises(SettingsError) as raised:
        parse_settings(given)
    [problem] = raised.value.problems
    return problem


@pytest.mark.parametrize(
    ("dsn", "address"),
    [
        (
            "postgresql://orch@db.example/shop",
            Address(
                dialect="postgresql", user="orch", host="db.example", port=5432, database="shop",
                options={},
            ),
        ),
        (
            "postgres://db:6432/a%20b?sslmode=verify-full",
            Address(
                dialect="postgresql", user=None, host="db", port=6432, database="a b",
                options={"sslmode": "verify-full"},
            ),
        ),
        (
            "mariadb://o%40x@/shop?unix_socket=/run/mysqld/mysqld.sock",
            Address(
                dialect="mysql", user="o@x", host="", port=3306, database="shop",
                options={"unix_socket": "/run/mysqld/mysqld.sock"},
            ),
        ),
        (
            "sqlite:////var/lib/a%20b.db",
            Address(
                dialect="sqlite", user=None, host="", port=0, database="/var/lib/a b.db",
                options={},
            ),
        ),
    ],
)  # fmt: skip
def test_addresses(dsn: str, address: Address):
    """As they are written, with what an escape stands for."""
    assert parse_dsn(dsn) == address


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        (5, "not text"),
        (["postgresql://u:hunter2@h/db"], "not text"),
        ("", "no database that is known"),
        ("shop", "no database that is known"),
        ("mssql://h/db", "'mssql' is no database"),
        ("postgresql://u:hunter2@h/db", "a password stands in it"),
        ("postgresql://u:@h/db", "a password stands in it"),
        ("mysql://h/db?passwd=hunter2", "a password stands in it"),
        ("postgresql://h/db?sslpassword=hunter2", "a password stands in it"),
        ("postgresql://h/db?options=-csearch_path%3Dx", "an option 'options'"),
        ("mysql://h/db?read_default_file=/etc/my.cnf", "an option 'read_default_file'"),
        ("mysql://h/db?local_infile=1", "an option 'local_infile'"),
        ("postgresql://h/db?sslmode=", "no value, or several"),
        ("postgresql://h/db?host=a&host=b", "no value, or several"),
        ("postgresql://h", "no database"),
        ("postgresql://h/a/b", "no database"),
        ("postgresql:///db", "no host"),
        ("mysql:///db?charset=utf8", "no host"),
        ("postgresql://h:0/db", "port 0"),
        ("postgresql://h:x/db", "not an address"),
        ("postgresql://[::1/db", "not an address"),
        ("postgresql://h/db#x", "not an address"),
        ("postgresql://h/d b", "not an address"),
        ("postgresql://h/db\0", "not an address"),
        ("sqlite://", "no absolute path"),
        ("sqlite:///jobs.db", "no absolute path"),
        ("sqlite://host/jobs.db", "no absolute path"),
        ("sqlite:////var/lib/", "no absolute path"),
        ("sqlite:////a.db?mode=rwc", "an option 'mode'"),
    ],
)
def test_bad_addresses(dsn: JSON, says: str):
    """With what to write instead, and without what may be a password."""
    problem = _problem(dsn=dsn)
    assert problem.path == "dsn"
    assert says in problem.message
    assert problem.remedy
    assert "hunter2" not in str(problem)


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        ({"password": "hunter2"}, "password", "a secret stands in the file"),
        ({"dsn": "sqlite:////a.db", "password": {"secret": "P"}}, "password", "has none"),
        ({"dsn": "sqlite:////a.db", "table": "main.jobs"}, "table", "one schema"),
        ({"dsn": "mysql://h/db", "notify": "jobs"}, "notify", "tells nobody"),
        ({"table": None}, "table", "is missing"),
        ({"table": ""}, "table", "printable"),
        ({"table": "a.b.c"}, "table", "more than one dot"),
        ({"table": "x" * 64}, "table", "longer than 63"),
        ({"table": ".jobs"}, "table", "printable"),
        ({"key": "a\0"}, "key", "printable"),
        ({"key": "claimed_by"}, "key", "'claimed_by' is `states.claimed_by`"),
        ({"mode": "claims"}, "mode", "not accepted"),
        ({"states": {"queued_at": "x", "finished_at": "x"}}, "states.finished_at", "already"),
        ({"states": {"claimed_by": None}}, "states.claimed_by", "not text"),
        ({"states": {"claimd_by": "x"}}, "states.claimd_by", "unknown"),
        ({"where": []}, "where", "not a mapping"),
        ({"where": {"": 1}}, "where", "no column"),
        ({"where": {"a": None}}, "where", "compared with"),
        ({"where": {"a": 1.5}}, "where", "compared with"),
        ({"where": {"a": "x\0"}}, "where", "compared with"),
        ({"where": {"a": 2**63}}, "where", "compared with"),
        ({"where": {"a": list(range(101))}}, "where", "101 values"),
        ({"columns": ["a", "b", "a"]}, "columns[2]", "twice"),
        ({"columns": []}, "columns", "0 columns"),
        ({"columns": ["a"], "json_columns": ["b"]}, "json_columns[0]", "not one of `columns`"),
        ({"every": "10ms"}, "every", "too short"),
        ({"every": 1}, "every", "no unit"),
        ({"batch_size": 10_001}, "batch_size", "not within"),
        ({"batch_window": "2h"}, "batch_window", "too long"),
        ({"batch_bytes": 10}, "batch_bytes", "not within"),
        ({"batch_bytes": 200_000}, "batch_bytes", "do not travel"),
        ({"rows_per_second": 0}, "rows_per_second", "not possible"),
        ({"rows_per_second": 1e9}, "rows_per_second", "not possible"),
        ({"rows_per_second": "50"}, "rows_per_second", "not a number"),
        ({"rows_per_second": True}, "rows_per_second", "not a number"),
        ({"max_returns": 101}, "max_returns", "not within"),
        ({"remember": "31d"}, "remember", "too long"),
        ({"start": "latest"}, "start", "does nothing with mode claim"),
        ({"look_back": "1m"}, "look_back", "does nothing with mode claim"),
        ({"mode": "follow", "look_back": "0s"}, "look_back", "too short"),
        ({"mode": "follow", "start": "soon"}, "start", "not accepted"),
        ({"mode": "follow", "max_returns": 1}, "max_returns", "does nothing with mode follow"),
        ({"mode": "follow", "states": {}}, "states", "does nothing with mode follow"),
        ({"mode": "follow", "rows_per_second": 5}, "rows_per_second", "does nothing"),
        ({"storage": "ftp://x"}, "storage", ""),
        ({"keep": "1d"}, "keep", "without `storage`"),
    ],
)
def test_bad_settings(changes: dict[str, JSON], path: str, says: str):
    """Each is one problem, at its place."""
    problem = _problem(**changes)
    assert problem.path == path
    assert says in problem.message
    assert "hunter2" not in str(problem)


def test_what_says_which_source_it_is():
    """Neither who asks nor how; what is the default is not mentioned."""
    connector = TableConnector()
    assert connector.identity(GOOD) == {"table": "jobs", "database": "db/shop"}
    other = {**GOOD, "dsn": "postgres://other@db:5432/shop?sslmode=require", "every": "5s"}
    assert connector.identity(other) == connector.identity(GOOD)
    follows = connector.identity({**GOOD, "mode": "follow", "key": "nr"})
    assert follows == {"table": "jobs", "database": "db/shop", "key": "nr", "mode": "follow"}


def test_how_long_ids_are_known():
    """Long enough for what may make a row come again, by how the table is read."""
    assert parse_settings(GOOD).remember_for == 600_000_000
    assert parse_settings({**GOOD, "mode": "follow"}).remember_for == 86_400_000_000
    assert parse_settings({**GOOD, "remember": 0}).remember_for == 0
