"""The audit trail: who did what, written with what was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert

from orchestrator.store.database import Database, canonical
from orchestrator.store.schema import trail
from orchestrator.store.writer import Tx

_INSERT = insert(trail)


def write(
    tx: Tx, actor: str, action: str, subject: str, detail: Mapping[str, Any], now: int
) -> None:
    """Write one entry."""
    write_many(tx, actor, action, [(subject, detail)], now)


def write_many(
    tx: Tx,
    actor: str,
    action: str,
    subjects: Sequence[tuple[str, Mapping[str, Any]]],
    now: int,
) -> None:
    """Write an entry for each subject."""
    rows = [
        {
            "at": now,
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": canonical(detail),
        }
        for subject, detail in subjects
    ]
    tx.conn.execute(_INSERT, rows)


def record(
    database: Database, actor: str, action: str, subject: str, detail: Mapping[str, Any]
) -> None:
    """Write one entry by itself, for what is done outside the store."""
    database.write(
        lambda tx: write(tx, actor, action, subject, detail, database.clock.now()), "trail"
    )
