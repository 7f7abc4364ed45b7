"""A desk for every test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.desk import Desk
from tests.support.ledger import Ledger
from tests.support.migrated import copy_of_migrated_sqlite
from tests.support.queuebench import Bench


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A new store beside a cluster without jobs."""
    path = tmp_path / "orch.db"
    copy_of_migrated_sqlite(path)
    ledger = Ledger(f"sqlite:///{path}")
    yield Desk(ledger)
    ledger.close()


@pytest.fixture
def bench(desk: Desk, tmp_path: Path) -> Bench:
    return Bench(desk, tmp_path)
