"""Schema upgrades by Alembic, carried out whenever a store is opened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect

from orchestrator.store.errors import StoreError

HEAD = "0009"  # the newest revision in migrations/versions
SCRIPTS = Path(__file__).parent / "migrations"

_turn = threading.Lock()


def upgrade(engine: Engine, lock: Callable[[Connection], None] = lambda _: None) -> None:
    """Bring the schema to this version's. A newer one is refused: its rows may mean more.

    `lock` lets one orchestrator at a time go on, until the transaction ends. Within a process
    Alembic's own context is global, so that threads take turns as well.
    """
    with _turn:
        _upgrade(engine, lock)


def _upgrade(engine: Engine, lock: Callable[[Connection], None]) -> None:
    current = _revision(engine)
    if current == HEAD:
        return
    # A tenth of the time that a restart takes; nearly none has anything to upgrade.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    script = ScriptDirectory.from_config(config)
    if current is not None and current not in {s.revision for s in script.walk_revisions()}:
        raise StoreError(
            f"this store was written by a newer orch (schema {current}): upgrade orch, or restore "
            "a backup made by this version"
        )
    with engine.begin() as conn:
        lock(conn)
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def _revision(engine: Engine) -> str | None:
    """The revision that a store says it has; None for an empty database."""
    with engine.connect() as conn:
        found = None
        if inspect(conn).has_table("alembic_version"):
            found = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        conn.rollback()
    return found
