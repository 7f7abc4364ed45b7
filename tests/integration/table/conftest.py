"""Tables in real databases, and desks that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.jobtable import JobTable
from tests.support.mariadb import MariaDb
from tests.support.tabledesk import Desk


@pytest.fixture(params=["postgresql", "mysql"])
def table(request: pytest.FixtureRequest) -> Iterator[JobTable]:
    """An empty table on either server, which `orch table-sql` has made."""
    if request.param == "postgresql":
        made = JobTable.postgres(request.getfixturevalue("postgres_url"))
    else:
        made = JobTable.mariadb(request.getfixturevalue("mariadb"))
    yield made
    made.close()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[JobTable]:
    """An empty table in a schema of its own, that tells of new rows on a channel."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA app")
    made = JobTable.postgres(postgres_url, table="app.jobs", notify="it's new")
    yield made
    made.close()


@pytest.fixture
def maria(mariadb: MariaDb) -> Iterator[JobTable]:
    """An empty table."""
    made = JobTable.mariadb(mariadb)
    yield made
    made.close()


@pytest.fixture
def desk_of(tmp_path: Path) -> Iterator[Callable[[JobTable], Desk]]:
    """Makes desks, and closes what they have opened."""
    made: list[Desk] = []

    def make(table: JobTable) -> Desk:
        made.append(Desk(table, tmp_path / "own"))
        return made[-1]

    yield make
    for desk in made:
        desk.close()
