"""The write-ahead log of SQLite is copied beside the writer, and does not grow for ever."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.store import walcopy
from orchestrator.store.database import Database, sqlite_url
from orchestrator.store.schema import meta
from orchestrator.store.writer import Tx
from tests.support.waiting import until


def _fill(database: Database, name: str) -> None:
    """A commit of a megabyte."""

    def operation(tx: Tx) -> None:
        tx.conn.execute(sa.insert(meta).values(key=name, value="x" * 2**20))

    database.write(operation, "test")


def test_the_log_is_copied_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a checkpoint by the writer, what is committed is in the database file, and the log
    begins anew instead of growing with every commit."""
    monkeypatch.setattr(walcopy, "_SOON", 0.01)
    monkeypatch.setattr(walcopy, "_LATER", 0.01)
    database = Database(sqlite_url(tmp_path))
    file, log = tmp_path / "orch.db", tmp_path / "orch.db-wal"
    try:
        for number in range(48):
            size = file.stat().st_size
            _fill(database, f"k{number}")
            if number >= 8:
                until(lambda size=size: file.stat().st_size > size, "it is copied")
        assert log.stat().st_size < 40 * 2**20
    finally:
        database.close()
    with closing(sqlite3.connect(file)) as conn:
        assert conn.execute("SELECT count(*) FROM meta WHERE key LIKE 'k%'").fetchone() == (48,)


def test_closing_ends_its_thread(tmp_path: Path) -> None:
    """Closing twice, too, and no log is left behind."""
    copier = walcopy.WalCopier(tmp_path / "orch.db")
    copier.committed()
    copier.close()
    copier.close()
    database = Database(sqlite_url(tmp_path))
    database.close()
    assert not (tmp_path / "orch.db-wal").exists()
