"""Claiming rows. Each call is one transaction.

A row waits while nothing stands in ``queued_at``, ``finished_at`` and ``cancelled_at``. Whoever
claims it writes ``queued_at`` and its own *claim* into ``claimed_by``, and from then on changes it
only while that claim stands there. A claim is ``orch/<instance>/<trigger>/<life>``: what an earlier
life of the same trigger has claimed and not finished is taken over by the next one, so that a claim
of which nobody heard the end is read again.

Which rows wait is asked of the rows themselves, never of how far somebody has read: a row that is
committed late is as good as any other. Rows that another transaction holds are skipped. A row whose
key makes no id is cancelled: it would stand in the way of all others.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, select, update

from connectors.streams import SourceUnavailable
from connectors.table.access import Access
from connectors.table.keys import BadKey
from connectors.table.layout import Layout
from connectors.table.portion import MOST
from connectors.table.regulator import Regulator

_log = logging.getLogger(__name__)

MOST_LAG = 100_000
"""Rows that wait are counted up to here."""
_RELEASE = 5.0  # seconds that giving up may take

Row: TypeAlias = tuple[str, int | None, Mapping[str, Any]]
"""Id, time and body, as :meth:`Layout.row` gives them."""


@dataclass(frozen=True, kw_only=True)
class Claimed:
    """What a claim has brought."""

    rows: Sequence[Row]
    due: int | None = None
    """When the rate allows more, microseconds since 1970; None where no rate holds rows back."""


class Claims:
    """Claims the rows of one table for one trigger. One thread at a time."""

    def __init__(self, access: Access, instance: str, trigger_uid: str) -> None:
        self._access = access
        self._trigger = f"orch/{instance}/{trigger_uid}/"
        self._regulator: Regulator | None = None
        settings = access.settings
        if settings.rows_per_second is not None:
            self._regulator = Regulator(settings.table_name, settings.rows_per_second, access.place)
        self.claim = ""
        """What rows are claimed with."""
        self.begin()

    def begin(self) -> None:
        """Begin another life: what was claimed before is to be taken over."""
        self.claim = self._trigger + secrets.token_hex(4)

    def take(self, most: int, now: int) -> Claimed:
        """Claim up to `most` rows that wait, the oldest first."""
        with self._access.transaction() as (conn, layout):
            most = min(most, self._access.portion.most)
            if self._regulator is None:
                return Claimed(rows=self._take(conn, layout, most, now))
            allowed, free_at = self._regulator.allowed(conn, now)
            rows = self._take(conn, layout, min(most, allowed), now) if allowed else ()
            due = self._regulator.went(conn, free_at, now, len(rows))
            return Claimed(rows=rows, due=due if len(rows) == allowed else None)

    def take_over(self, most: int, now: int) -> Sequence[Row]:
        """Rows that an earlier life of this trigger has claimed and not finished; nothing when
        there are no more."""
        with self._access.transaction() as (conn, layout):
            owner = layout.states["claimed_by"]
            statement = (
                select(*layout.selected)
                .where(
                    layout.states["queued_at"].is_not(None),
                    is_open(layout),
                    owner.startswith(self._trigger, autoescape=True),
                    owner != self.claim,
                )
                .order_by(layout.key_column)
                .limit(min(most, self._access.portion.most))
                .with_for_update(skip_locked=True)
            )
            found = conn.execute(statement).all()
            if found:
                mine = layout.is_one_of([row[0] for row in found])
                conn.execute(update(layout.table).where(mine).values({owner: self.claim}))
            return self._rows(conn, layout, found, now)

    def release(self, known: Callable[[Collection[str]], set[str]]) -> int:
        """Let others have the rows of this life that are not `known` to be in a run; returns how
        many."""
        with self._access.transaction(within=_RELEASE) as (conn, layout):
            queued, owner = layout.states["queued_at"], layout.states["claimed_by"]
            mine = and_(queued.is_not(None), is_open(layout), owner == self.claim)
            keys = conn.scalars(select(layout.key_column).where(mine)).all()
            ids = dict(_ids(layout, keys))
            free = [ids[one] for one in ids.keys() - known(list(ids))] if ids else []
            for start in range(0, len(free), MOST):
                some = layout.is_one_of(free[start : start + MOST])
                cleared = update(layout.table).where(mine, some).values({queued: None, owner: None})
                conn.execute(cleared)
            return len(free)

    def waiting(self) -> int:
        """How many rows wait, as far as they are counted."""
        with self._access.transaction(writes=False) as (conn, layout):
            some = (
                select(literal(1))
                .select_from(layout.table)
                .where(_waits(layout))
                .limit(MOST_LAG)
                .subquery()
            )
            return conn.scalar(select(func.count()).select_from(some)) or 0

    def _take(self, conn: Connection, layout: Layout, most: int, now: int) -> Sequence[Row]:
        queued, owner = layout.states["queued_at"], layout.states["claimed_by"]
        created = layout.states.get("created_at")
        order = [layout.key_column] if created is None else [created, layout.key_column]
        claimed = {queued: layout.writers["queued_at"](now), owner: self.claim}
        if layout.dialect == "postgresql":
            first = _first(select(layout.key_column), layout, order, most).cte("first")
            taken = update(layout.table).where(layout.key_column.in_(select(first.c[0])))
            found = conn.execute(taken.values(claimed).returning(*layout.selected)).all()
            rows = self._rows(conn, layout, found, now)
            # They come back in no order.
            return sorted(rows, key=lambda row: (row[1] or 0, len(row[0]), row[0]))
        found = conn.execute(_first(select(*layout.selected), layout, order, most)).all()
        if not found:
            return []
        mine = layout.is_one_of([row[0] for row in found])
        taken = update(layout.table).where(mine, queued.is_(None)).values(claimed)
        if conn.execute(taken).rowcount != len(found):
            raise SourceUnavailable(f"{self._access.place}: somebody else has taken some rows")
        return self._rows(conn, layout, found, now)

    def _rows(
        self, conn: Connection, layout: Layout, found: Sequence[Any], now: int
    ) -> Sequence[Row]:
        self._access.portion.came(found)
        rows: list[Row] = []
        for one in found:
            try:
                rows.append(layout.row(one))
            except BadKey as error:
                _log.warning("%s: a row is cancelled: %s", self._access.place, error)
                mine = update(layout.table).where(layout.is_one_of([one[0]]))
                conn.execute(mine.values(dict(layout.cancelled(now, str(error)))))
        return rows


def _ids(layout: Layout, keys: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for key in keys:
        with suppress(BadKey):
            yield layout.key.id(key), key


def _first(
    asked: Select[Any], layout: Layout, order: Sequence[ColumnElement[Any]], most: int
) -> Select[Any]:
    """The first rows that wait and that nobody holds."""
    waiting = asked.where(_waits(layout)).order_by(*order).limit(most)
    return waiting.with_for_update(skip_locked=True)


def is_open(layout: Layout) -> ColumnElement[bool]:
    """Whether nobody has finished or cancelled a row."""
    return and_(
        layout.states["finished_at"].is_(None),
        layout.states["cancelled_at"].is_(None),
    )


def _waits(layout: Layout) -> ColumnElement[bool]:
    return and_(layout.states["queued_at"].is_(None), is_open(layout), layout.wanted)
