"""The rate of a table, kept beside it: one for all that claim its rows, whoever they are."""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, Text, column, insert, select, table, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql.elements import quoted_name

from connectors.streams import SourceRefused, SourceUnavailable
from connectors.table import pace
from connectors.tables import PACE_TABLE, TableName


class Regulator:
    """Says how many rows may go, in the transaction that claims them."""

    def __init__(self, name: TableName, per_second: float, place: str) -> None:
        self._rate = per_second
        self._place = place
        self._table = table(
            quoted_name(PACE_TABLE, quote=True),
            column("name", Text()),
            column("free_at", BigInteger()),
            schema=None if name.schema is None else quoted_name(name.schema, quote=True),
        )
        self._mine = self._table.c.name == name.name
        self._name = name.name

    def allowed(self, conn: Connection, now: int) -> tuple[int, int]:
        """How many rows may go now, and the instant that `went` is to be given. Whoever else asks
        waits until the transaction ends."""
        try:
            free_at = pace.begun(self._hold(conn), now, self._rate)
        except IntegrityError as error:
            reason = f"{self._place}: another one has just begun to read it at this rate"
            raise SourceUnavailable(reason) from error
        except DBAPIError as error:
            if PACE_TABLE not in str(error.orig) or "denied" in str(error.orig):
                raise
            raise SourceRefused(
                f"{self._place}: `rows_per_second` needs the table {PACE_TABLE} beside it:"
                " `orch table-sql` prints one"
            ) from error
        return pace.allowance(free_at, now, self._rate), free_at

    def went(self, conn: Connection, free_at: int, now: int, rows: int) -> int:
        """So many rows go; returns when to look again."""
        if rows:
            free_at = pace.after(free_at, now, self._rate, rows)
            conn.execute(update(self._table).where(self._mine).values(free_at=free_at))
        return pace.due(free_at, now)

    def _hold(self, conn: Connection) -> int:
        # An update and not FOR UPDATE, which SQLite does not have.
        held = update(self._table).where(self._mine).values(free_at=self._table.c.free_at)
        if not conn.execute(held).rowcount:
            conn.execute(insert(self._table).values(name=self._name, free_at=0))
        return int(conn.scalar(select(self._table.c.free_at).where(self._mine)) or 0)
