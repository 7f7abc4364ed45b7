"""One test body for both databases: every test that takes `ledger` or `store_url` runs twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from orchestrator.store import migrate
from orchestrator.store.database import normalise_url
from tests.support.clocks import FakeClock
from tests.support.inboxledger import Queue
from tests.support.ledger import Ledger
from tests.support.postgres import PostgresServer
from tests.support.streamledger import Stream

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without a schema."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'orch.db'}"


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresServer) -> str:
    """The URL of a PostgreSQL database with the schema and nothing in it, to be copied."""
    url = postgres_server.new_database()
    engine = create_engine(normalise_url(url))
    migrate.upgrade(engine)
    engine.dispose()
    return url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file of SQLite's."""
    path = tmp_path_factory.mktemp("migrated") / "orch.db"
    engine = create_engine(f"sqlite:///{path}")
    migrate.upgrade(engine)
    engine.dispose()
    return path


@pytest.fixture(params=BOTH)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        return server.new_database(request.getfixturevalue("migrated"))
    path = tmp_path / "orch.db"
    shutil.copy(request.getfixturevalue("migrated_file"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def open_ledger(store_url: str) -> Iterator[Callable[..., Ledger]]:
    """Open another orchestrator's view of the store, with its own clock if it brings one."""
    clock = FakeClock()
    opened: list[Ledger] = []

    def open_one(owner: str = "me") -> Ledger:
        opened.append(Ledger(store_url, clock, owner))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An open store that hears nobody but itself, for tests that count signals."""
    ledger = Ledger(f"sqlite:///{tmp_path / 'signals.db'}")
    yield ledger
    ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[..., Ledger]) -> Ledger:
    """An open store."""
    return open_ledger()


@pytest.fixture
def queue(ledger: Ledger) -> Queue:
    """A source without order, with nothing in its inbox."""
    return Queue(ledger)


@pytest.fixture
def stream(ledger: Ledger) -> Stream:
    """A stream with one partition that begins at 0."""
    return Stream(ledger)
