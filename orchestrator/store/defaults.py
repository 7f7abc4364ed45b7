"""The default template: the one trigger that takes jobs which name none."""

from __future__ import annotations

from sqlalchemy import Connection, select

from orchestrator.store.database import get_meta, set_meta
from orchestrator.store.errors import Conflict
from orchestrator.store.schema import triggers

_DEFAULT = "default_template"  # in `meta`: its uid


def default_holder(conn: Connection) -> str | None:
    """The uid of the default template."""
    return get_meta(conn, _DEFAULT)


def take_default(conn: Connection, uid: str, name: str) -> None:
    """Make a trigger the default. Raises Conflict where another is."""
    holder = get_meta(conn, _DEFAULT)
    if holder not in (None, uid):
        taken = conn.scalar(select(triggers.c.name).where(triggers.c.uid == holder))
        raise Conflict(
            f"trigger {taken!r} is the default template already: take `default` from it before "
            f"{name!r} gets it"
        )
    set_meta(conn, _DEFAULT, uid)


def give_default_back(conn: Connection, uid: str) -> None:
    """Let a trigger be the default no more, if it is."""
    if get_meta(conn, _DEFAULT) == uid:
        set_meta(conn, _DEFAULT, None)
