"""Connections to a publisher's database."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from connectors.streams import SourceUnavailable
from tests.support.jobtable import JobTable
from tests.support.tabledesk import Desk


def test_closing_leaves_no_connection_open(table: JobTable, desk: Desk):
    """Not even one whose transaction is under way, and comes to its end afterwards."""
    table.put(["a"])
    source = desk.claims()
    source.poll(9, 0)
    used: list[Any] = []
    with source.database.transaction() as conn:
        used.append(conn.connection.driver_connection)
        source.database.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        used[0].execute("SELECT 1")
    with pytest.raises(SourceUnavailable, match="closed"), source.database.transaction():
        pass
