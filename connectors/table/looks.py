"""Reading a table that only grows, by its key. Each call is a transaction that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, literal, select

from connectors.table.access import Access
from connectors.table.claims import Row
from connectors.table.layout import Layout

PAGE = 1000
"""Keys of one look."""


class Looks:
    """The rows of one table. One thread at a time. Keys are given and told by their ids."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def newest(self) -> str | None:
        """The highest key; None in a table without rows."""
        with self._access.transaction(writes=False) as (conn, layout):
            found = conn.scalar(select(func.max(layout.key_column)))
            return None if found is None else layout.key.id(found)

    def reaches(self, floor: str) -> bool:
        """Whether there is any row at a key or behind it, wanted or not."""
        with self._access.transaction(writes=False) as (conn, layout):
            there = layout.key_column >= layout.key.value(floor)
            return (
                conn.scalar(select(literal(1)).select_from(layout.table).where(there).limit(1))
                is not None
            )

    def behind(self, top: str | None, most: int) -> Sequence[Row]:
        """The first rows behind a key, in their order."""
        with self._access.transaction(writes=False) as (conn, layout):
            statement = select(*layout.selected).where(*_between(layout, top, None))
            most = min(most, self._access.portion.most)
            found = conn.execute(statement.order_by(layout.key_column).limit(most)).all()
            self._access.portion.came(found)
            return [layout.row(row) for row in found]

    def keys(self, floor: str | None, top: str) -> Sequence[str]:
        """The first keys behind one, up to another, in their order."""
        with self._access.transaction(writes=False) as (conn, layout):
            statement = select(layout.key_column).where(*_between(layout, floor, top))
            found = conn.scalars(statement.order_by(layout.key_column).limit(PAGE))
            return [layout.key.id(key) for key in found]

    def rows(self, ids: Sequence[str]) -> Sequence[Row]:
        """These rows, as far as they are still there."""
        if not ids:
            return ()
        with self._access.transaction(writes=False) as (conn, layout):
            mine = layout.is_one_of([layout.key.value(one) for one in ids])
            asked = select(*layout.selected).where(mine).order_by(layout.key_column)
            found = conn.execute(asked).all()
            self._access.portion.came(found)
            return [layout.row(row) for row in found]


def _between(layout: Layout, floor: str | None, top: str | None) -> list[ColumnElement[Any]]:
    conditions: list[ColumnElement[Any]] = [layout.wanted]
    if floor is not None:
        conditions.append(layout.key_column > layout.key.value(floor))
    if top is not None:
        conditions.append(layout.key_column <= layout.key.value(top))
    return conditions
