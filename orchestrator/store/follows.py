"""Which trigger follows which, and the promise that none follows itself.

An edge leads from a trigger to one that its runs set off, by name: a callback that is another
trigger's job, or `after`. Edges change in the transaction of the registration that states them,
and no transaction that would close a circle of them commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from orchestrator.store.dialect import Dialect
from orchestrator.store.errors import Conflict
from orchestrator.store.schema import arrivals, edges
from orchestrator.store.writer import Tx

AFTER = "after"
_IN_CHUNK = 500
_SHOWN = 10  # names of a circle


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The end of a run of `source` sets off `target`."""

    source: str
    target: str
    event: str  # on_success, on_failure, on_abort, after


def keep_edges(dialect: Dialect, tx: Tx, stated: Mapping[str, Sequence[Edge]]) -> None:
    """Write the edges of triggers, by uid, beside those that there are. Raises Conflict for a
    circle."""
    rows = [
        {"trigger_uid": uid, "source": e.source, "target": e.target, "event": e.event}
        for uid, found in stated.items()
        for e in found
    ]
    if not rows:
        return
    # Two registrations at once could close a circle that neither of them sees.
    dialect.lock_claims(tx.conn)
    dialect.insert_ignore(tx.conn, edges, rows)
    circle = _circle(tx.conn, {row["source"] for row in rows})
    if circle is not None:
        raise Conflict(
            f"triggers would set off each other for ever: {' → '.join(_short(circle))}. Leave one "
            "of these out of `after` or `callbacks`"
        )


def drop_edges(tx: Tx, trigger_uid: str) -> None:
    """Forget what a trigger has stated."""
    tx.conn.execute(delete(edges).where(edges.c.trigger_uid == trigger_uid))


def drop_arrivals(tx: Tx, trigger_uid: str) -> None:
    """Forget what a trigger has waited for."""
    tx.conn.execute(delete(arrivals).where(arrivals.c.trigger_uid == trigger_uid))


def followers(conn: Connection, names: Iterable[str]) -> dict[str, list[str]]:
    """The triggers that wait for these, by name: those with `after`."""
    found: dict[str, list[str]] = {}
    wanted = sorted(set(names))
    for start in range(0, len(wanted), _IN_CHUNK):
        statement = select(edges.c.source, edges.c.target).where(
            edges.c.source.in_(wanted[start : start + _IN_CHUNK]), edges.c.event == AFTER
        )
        for source, target in conn.execute(statement):
            found.setdefault(source, []).append(target)
    return found


def _short(circle: Sequence[str]) -> Sequence[str]:
    if len(circle) <= _SHOWN:
        return circle
    return [*circle[: _SHOWN // 2], "…", *circle[-_SHOWN // 2 :]]


def _circle(conn: Connection, begins: Iterable[str]) -> list[str] | None:
    """The names along a circle that leads through one of these, if there is any."""
    following: dict[str, list[str]] = {}

    def next_of(name: str) -> list[str]:
        if name not in following:
            statement = select(edges.c.target).where(edges.c.source == name).distinct()
            following[name] = sorted(conn.scalars(statement))
        return following[name]

    clear: set[str] = set()
    for begin in sorted(begins):
        path, left = [begin], [list(next_of(begin))]
        while path:
            if not left[-1]:
                clear.add(path.pop())
                left.pop()
                continue
            name = left[-1].pop()
            if name in path:
                return [*path[path.index(name) :], name]
            if name not in clear:
                path.append(name)
                left.append(list(next_of(name)))
    return None
