"""What works on a data directory without a running orchestrator."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

import specs
from orchestrator.cli import times
from orchestrator.cli.errors import CliError, say
from orchestrator.domain.clock import from_rfc3339, to_rfc3339
from orchestrator.domain.roles import Role
from orchestrator.store.database import Database, sqlite_url
from orchestrator.store.errors import StoreError
from orchestrator.store.tokens import Tokens

_ACTOR = "local"


def create_token(
    data_dir: Path, database: str | None, name: str, role: Role, expires: str | None
) -> dict[str, Any]:
    """Make a token in a store. Raises CliError."""
    expires_at = None if expires is None else _expiry(expires)
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = database is None and not (data_dir / "orch.db").exists()
        with closing(Database(database or sqlite_url(data_dir))) as store:
            secret = Tokens(store).create(name, role, expires_at, _ACTOR)
    except (StoreError, SQLAlchemyError) as error:
        raise CliError(str(getattr(error, "orig", None) or error)) from error
    if new:
        say(f"orch: {data_dir} had no store, so one was made there")
    shown = None if expires_at is None else to_rfc3339(expires_at)
    return {"name": name, "role": role.value, "token": secret, "expires_at": shown}


def _expiry(text: str) -> int:
    try:
        return times.now() + specs.duration(text)
    except ValueError:
        pass
    try:
        return from_rfc3339(text)
    except ValueError:
        message = f"--expires {text[:60]!r}: write how long (30d) or until when "
        raise CliError(f"{message}(2026-03-29T01:00:00Z)", 2) from None
