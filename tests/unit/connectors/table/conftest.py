"""A table in a file of SQLite, and sources that read it by a clock of the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.jobtable import JobTable
from tests.support.tabledesk import Desk


@pytest.fixture
def table(tmp_path: Path) -> Iterator[JobTable]:
    """An empty table."""
    made = JobTable.sqlite(tmp_path)
    yield made
    made.close()


@pytest.fixture
def desk(table: JobTable, tmp_path: Path) -> Iterator[Desk]:
    """Opens sources of that table."""
    made = Desk(table, tmp_path / "own")
    yield made
    made.close()
