"""From the start of `orch serve` to the first firing, with many schedules registered.

The schedules fall due spread over the minutes of an hour and the daemon was away for five: what
came due meanwhile must all be in the ledger. Committed means: seen by another connection.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from orchestrator.domain.clock import MINUTE
from tests.bench.population import group, populate
from tests.bench.processes import Daemon, Place, StubNode
from tests.bench.report import Row
from tests.bench.watching import now

_AWAY = 5  # minutes
_WITHIN = 120.0  # seconds
_LOOK = 0.002  # seconds between two looks


def run(place: Place) -> Iterator[Row]:
    """Measure; one start before the others is a warm-up."""
    schedules, rounds, warm_up = (600, 1, 0) if place.quick else (100_000, 5, 1)
    begin = now() // MINUTE * MINUTE - _AWAY * MINUTE
    groups = [
        group(f"m{minute:02}", schedules // 60, at, variants=5, schedule=f"{_minute(at)} * * * *")
        for minute in range(1, 61)
        if (at := begin + minute * MINUTE)
    ]
    seeded = place.fresh("restart-seed")
    populate(place, seeded, groups)
    missed = schedules // 60 * _AWAY
    with StubNode(place, "restart-node") as node:
        results = [_start(place, seeded, node.url, missed) for _ in range(warm_up + rounds)]
    place.done("restart-seed")
    measured = results[warm_up:]
    what = f"restart, {schedules:,} schedules"
    yield Row(
        what=f"{what}: first firing committed",
        unit="s",
        orch=median(r["first"] for r in measured),
        n=f"{rounds}",
        note="target 2 s; dkron elsewhere: 6.9 s at 10,000, 86 s at 50,000, and loses them",
    )
    yield Row(
        what=f"{what}: all that came due meanwhile",
        unit="s",
        orch=median(r["all"] for r in measured),
        n=f"{rounds} x {missed:,} missed",
        note="none lost: each has its run",
    )
    yield Row(
        what=f"{what}: the API is ready",
        unit="s",
        orch=median(r["api"] for r in measured),
        n=f"{rounds}",
        note="its log says so",
    )
    yield Row(
        what=f"{what}: memory of the daemon",
        unit="MB",
        orch=max(r["peak_mb"] for r in measured),
        n="peak",
    )


def _minute(instant: int) -> int:
    return instant // MINUTE % 60


def _start(place: Place, seeded: Path, bacalhau: str, missed: int) -> dict[str, float]:
    data_dir = place.fresh("restart")
    shutil.copytree(seeded, data_dir, dirs_exist_ok=True)
    begin = time.monotonic()
    with Daemon(place, data_dir, bacalhau) as daemon:
        ledger = Ledger(data_dir / "orch.db")
        first = ledger.until(1) - begin
        everything = ledger.until(missed) - begin
        lost = ledger.count(
            "SELECT count(*) FROM partitions p WHERE p.base < ? AND NOT EXISTS "
            "(SELECT 1 FROM runs r WHERE r.trigger_uid = p.trigger_uid)",
            str(now() - MINUTE),
        )
        ledger.close()
        daemon.find("url", event="API")
        api = _noted(daemon, begin)
        peak = daemon.peak_mb()
    place.done("restart")
    if lost:
        raise AssertionError(f"{lost} schedules that came due have no run")
    return {"first": first, "all": everything, "api": api, "peak_mb": peak}


def _noted(daemon: Daemon, begin: float) -> float:
    """Seconds from `begin` (monotonic) to the log line of the API."""
    at = datetime.fromisoformat(daemon.find("timestamp", event="API")).timestamp()
    return at - (time.time() - (time.monotonic() - begin))


class Ledger:
    """The runs in a store, seen from outside while a daemon writes them."""

    def __init__(self, file: Path) -> None:
        self._conn = sqlite3.connect(f"file:{file}?mode=ro", uri=True)

    def count(self, statement: str, *values: Any) -> int:
        """What a query counts."""
        with closing(self._conn.execute(statement, values)) as cursor:
            return int(cursor.fetchone()[0])

    def until(self, runs: int) -> float:
        """Wait until there are so many runs; returns the monotonic second."""
        deadline = time.monotonic() + _WITHIN
        # Counting all would slow down what is measured.
        statement = f"SELECT count(*) FROM (SELECT 1 FROM runs LIMIT {runs})"
        pause = threading.Event()
        while True:
            if self.count(statement) >= runs:
                return time.monotonic()
            if time.monotonic() > deadline:
                raise AssertionError(f"not {runs} runs within {_WITHIN:g} s")
            pause.wait(_LOOK if runs == 1 else 10 * _LOOK)

    def close(self) -> None:
        """Close the connection."""
        self._conn.close()
