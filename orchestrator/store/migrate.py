"""Schema upgrades by Alembic, carried out whenever a store is opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from orchestrator.store.errors import StoreError

_turn = threading.Lock()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def upgrade(engine: Engine, lock: Callable[[Connection], None] = lambda _: None) -> None:
    """Bring the schema to this version's. A newer one is refused: its rows may mean more.

    `lock` lets one orchestrator at a time go on, until the transaction ends. Within a process
    Alembic's own context is global, so that threads take turns as well.
    """
    with _turn:
        _upgrade(engine, lock)


def _upgrade(engine: Engine, lock: Callable[[Connection], None]) -> None:
    config = _config()
    script = ScriptDirectory.from_config(config)
    with engine.connect() as conn:
        current = MigrationContext.configure(conn).get_current_revision()
        conn.rollback()
    if current == script.get_current_head():
        return
    if current is not None and current not in {s.revision for s in script.walk_revisions()}:
        raise StoreError(
            f"this store was written by a newer orch (schema {current}): upgrade orch, or restore "
            "a backup made by this version"
        )
    with engine.begin() as conn:
        lock(conn)
        config.attributes["connection"] = conn
        command.upgrade(config, "head")
