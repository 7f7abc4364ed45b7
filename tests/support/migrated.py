"""An empty SQLite store, migrated once a process and copied for each test that needs one."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine

from orchestrator.store import migrate


@cache
def _content() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "orch.db"
        engine = create_engine(f"sqlite:///{path}")
        migrate.upgrade(engine)
        engine.dispose()
        return path.read_bytes()


def copy_of_migrated_sqlite(path: Path) -> None:
    """Write an empty store to `path`."""
    path.write_bytes(_content())
