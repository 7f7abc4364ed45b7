"""Which schema this version has, known without the tools that would upgrade to it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from orchestrator.store import migrate, schema
from orchestrator.store.database import Database, normalise_url


def test_head_is_the_newest_revision() -> None:
    """A migration that is added without `HEAD` would never be carried out."""
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_a_daemon_starts_without_alembic() -> None:
    """It is loaded when there is something to upgrade: a restart should not wait for it."""
    code = "import orchestrator.cli.daemon, sys; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_store_of_an_earlier_version_is_upgraded(empty_url: str, revision: str) -> None:
    """By opening it; what is in it stays."""
    engine = sa.create_engine(normalise_url(empty_url))
    config = Config()
    config.set_main_option("script_location", str(migrate.SCRIPTS))
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, revision)
        conn.execute(sa.text("INSERT INTO meta (key, value) VALUES ('mark', 'there')"))
    engine.dispose()
    database = Database(empty_url)
    try:
        with database.read() as conn:
            assert conn.scalar(sa.text("SELECT version_num FROM alembic_version")) == migrate.HEAD
            assert conn.scalar(sa.text("SELECT value FROM meta WHERE key = 'mark'")) == "there"
            assert conn.execute(sa.select(schema.inbox)).all() == []
    finally:
        database.close()
