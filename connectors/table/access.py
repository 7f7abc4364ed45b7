"""Transactions on a table whose columns are known."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Connection

from connectors.streams import SourceRefused
from connectors.table.database import TableDatabase
from connectors.table.keys import BadKey
from connectors.table.layout import Layout, look
from connectors.table.portion import Portion
from connectors.table.settings import TableSettings


class Access:
    """The table of one trigger. Thread-safe."""

    def __init__(self, settings: TableSettings, database: TableDatabase) -> None:
        self.settings = settings
        self.database = database
        self.portion = Portion()
        self._layout: Layout | None = None

    @property
    def place(self) -> str:
        """The table in words for people."""
        return self.database.place

    @contextmanager
    def transaction(
        self, *, writes: bool = True, within: float | None = None
    ) -> Generator[tuple[Connection, Layout]]:
        """As :meth:`TableDatabase.transaction`. What the columns are is asked once, and again after
        the database has refused something. A key that can be none is refused, too."""
        try:
            with self.database.transaction(writes=writes, within=within) as conn:
                layout = self._layout
                if layout is None:
                    layout = self._layout = look(conn, self.settings, self.place)
                yield conn, layout
        except SourceRefused:
            self._layout = None
            raise
        except BadKey as error:
            raise SourceRefused(f"{self.place}: a row can be no event: {error}") from error
