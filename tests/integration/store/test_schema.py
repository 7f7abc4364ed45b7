"""The schema: migrations build what the metadata says, and an unknown schema is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from orchestrator.store import schema
from orchestrator.store.database import Database, normalise_url
from orchestrator.store.errors import StoreError
from tests.support.ledger import Ledger


def test_the_upgraded_schema_is_the_metadata(store_url: str, ledger: Ledger) -> None:
    """Tables, columns, defaults, indexes and constraints of the migrations are those declared."""
    engine = sa.create_engine(normalise_url(store_url))
    with engine.connect() as conn:
        # Alembic reads neither an empty string's default nor DESC back from SQLite; the index is
        # compared by the next test, the defaults on PostgreSQL.
        whole = conn.dialect.name != "sqlite"
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": whole}
        )
        differences = [
            difference
            for difference in compare_metadata(context, schema.metadata)
            if whole or getattr(difference[1], "name", "") != "ix_runs_ready"
        ]
    engine.dispose()
    assert differences == []


def test_partial_indexes_have_the_same_conditions(
    store_url: str, ledger: Ledger, tmp_path: Path
) -> None:
    """What `compare_metadata` does not see, the WHERE of an index, is the same in both."""
    made = f"sqlite:///{tmp_path / 'made.db'}"
    if not store_url.startswith("sqlite"):
        pytest.skip("index definitions are compared as SQLite keeps them")
    engine = sa.create_engine(made)
    schema.metadata.create_all(engine)
    question = sa.text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOTNULL")
    with engine.connect() as conn:
        declared = {name: " ".join(sql.split()) for name, sql in conn.execute(question)}
    engine.dispose()
    migrated = {row["name"]: " ".join(row["sql"].split()) for row in ledger.rows(question)}
    assert migrated == declared


def test_opening_again_changes_nothing(open_ledger: Callable[..., Ledger]) -> None:
    """A store that is up to date is opened as it is, with the instance name it was given."""
    first = open_ledger()
    trigger = first.trigger()
    second = open_ledger("other")
    assert second.db.instance == first.db.instance
    assert second.triggers.get("tick") == trigger


def test_a_newer_schema_is_refused(store_url: str, ledger: Ledger) -> None:
    """A store written by a newer version is left alone, with the remedy in the message."""
    ledger.close()
    engine = sa.create_engine(normalise_url(store_url))
    with engine.begin() as conn:
        conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"newer orch \(schema 9999\): upgrade orch"):
        Database(store_url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A damaged or foreign file is a StoreError in words, not the driver's exception."""
    path = tmp_path / "orch.db"
    path.write_bytes(b"this is not a database\n" * 1000)
    with pytest.raises(StoreError, match=r"orch\.db|not a database"):
        Database(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["mysql://host/db", "nonsense", ""])
def test_an_unknown_database_is_refused(url: str) -> None:
    """A DSN of another product names what is supported."""
    with pytest.raises(StoreError, match="use sqlite:///FILE or postgresql://"):
        Database(url)


def test_many_orchestrators_open_an_empty_store_at_once(empty_url: str) -> None:
    """The first start of several orchestrators makes one schema and one instance name."""
    opened: list[Database] = []
    problems: list[BaseException] = []
    together = threading.Barrier(4)

    def open_one() -> None:
        together.wait()
        try:
            opened.append(Database(empty_url))
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    instances = {database.instance for database in opened}
    for database in opened:
        database.close()
    assert problems == []
    assert len(instances) == 1
