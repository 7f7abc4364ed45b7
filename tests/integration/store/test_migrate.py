"""Which schema this version has, known without the tools that would upgrade to it."""

from __future__ import annotations

import subprocess
import sys

from alembic.config import Config
from alembic.script import ScriptDirectory

from orchestrator.store import migrate


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
