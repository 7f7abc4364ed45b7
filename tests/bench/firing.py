"""Firings per second into the ledger, and the memory that it takes, by the number of schedules.

orch: the daemon's own objects and its web server's modules in a process of their own, on a clock
that is set to the due time; the time until every run is committed. APScheduler: a running
scheduler that finds as many jobs overdue; the time until each has its next run time committed.
"""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from orchestrator.app import App
from orchestrator.config import Config
from orchestrator.domain.clock import MINUTE, SECOND, from_rfc3339
from tests.bench import peer
from tests.bench.population import SetClock, group, populate
from tests.bench.processes import Place, resident_mb
from tests.bench.report import Row

_START = from_rfc3339("2026-03-02T08:00:00Z")
_YEARLY = "0 4 3 11 *"
_LATER = from_rfc3339("2026-11-03T04:00:00Z")
_TARGET_MB = 200


@dataclass(frozen=True, kw_only=True)
class Size:
    """`schedules` in the store, of them `due` at once in each of `rounds`; the first round is a
    warm-up. `definitions`: how many different ones are among them."""

    schedules: int
    due: int
    rounds: int
    definitions: int
    peer_due: int


_FULL = (
    Size(schedules=1_000, due=250, rounds=4, definitions=100, peer_due=1_000),
    Size(schedules=100_000, due=20_000, rounds=4, definitions=100, peer_due=5_000),
    Size(schedules=1_000_000, due=20_000, rounds=4, definitions=1_000, peer_due=5_000),
)
_DISTINCT = Size(schedules=100_000, due=20_000, rounds=4, definitions=100_000, peer_due=0)
_QUICK = (Size(schedules=400, due=100, rounds=3, definitions=10, peer_due=50),)
_QUICK_DISTINCT = Size(schedules=400, due=100, rounds=3, definitions=400, peer_due=0)


def run(place: Place) -> Iterator[Row]:
    """Measure; rows come as they are ready."""
    for size in _QUICK if place.quick else _FULL:
        last = size.schedules == (_QUICK if place.quick else _FULL)[-1].schedules
        yield from _rows(place, size, all_due=last)
    distinct = _QUICK_DISTINCT if place.quick else _DISTINCT
    result = _orch(place, distinct, all_due=False)
    yield Row(
        what=f"firings, {distinct.schedules:,} schedules, no two of one definition",
        unit="/s",
        orch=distinct.due / median(result["seconds"][1:]),
        n=f"{distinct.rounds - 1} x {distinct.due:,}",
        note="each reads its own definition",
    )


def _rows(place: Place, size: Size, *, all_due: bool) -> Iterator[Row]:
    result = _orch(place, size, all_due=all_due)
    file = place.fresh("peer") / "jobs.db"
    due = {str(int(time.time()) - 1): size.peer_due}
    place.call(peer.fill, file=str(file), due=due, others=size.schedules - size.peer_due)
    other = place.call(peer.fire, file=str(file), count=size.peer_due)
    place.call(peer.fill, file=str(file), due=due, others=0)
    tuned = place.call(peer.fire, file=str(file), count=size.peer_due, wal=True)
    place.done("peer")
    yield Row(
        what=f"firings, {size.schedules:,} schedules",
        unit="/s",
        orch=size.due / median(result["seconds"][1:]),
        peer=size.peer_due / other["seconds"],
        n=f"{size.rounds - 1} x {size.due:,}; peer {size.peer_due:,}",
        note="due at once; median; peer: APScheduler as it comes",
    )
    yield Row(
        what=f"firings, {size.schedules:,} schedules, peer with WAL",
        unit="/s",
        orch=size.due / median(result["seconds"][1:]),
        peer=size.peer_due / tuned["seconds"],
        n=f"{size.rounds - 1} x {size.due:,}; peer {size.peer_due:,}",
        note="the same, with orch's pragmas in the peer's store",
    )
    if all_due:
        yield Row(
            what=f"firings, the other {result['others']:,} due at once",
            unit="/s",
            orch=result["others"] / result["others_seconds"],
            n="1",
            note="one backlog until all are committed",
        )
    yield Row(
        what=f"memory, {size.schedules:,} schedules",
        unit="MB",
        orch=result["peak_mb"],
        peer=other["peak_mb"],
        n="peak",
        note=f"{result['before_mb']:.0f} MB before the first firing; target < {_TARGET_MB}",
    )


def _orch(place: Place, size: Size, *, all_due: bool) -> dict[str, Any]:
    data_dir = place.fresh("firing")
    rest = size.schedules - size.rounds * size.due
    variants = max(1, size.definitions // (size.rounds + 1))
    groups = [
        group(f"now{i}", size.due, _START + i * MINUTE, variants=variants, schedule="0 8 2 3 *")
        for i in range(size.rounds)
    ]
    if rest:
        groups.append(group("rest", rest, _LATER, variants=variants, schedule=_YEARLY))
    populate(place, data_dir, groups)
    result = place.call(
        fire, data_dir=str(data_dir), size=vars(size), later=_LATER if all_due else None
    )
    place.done("firing")
    return result | {"others": rest}


def fire(data_dir: str, size: dict[str, int], later: int | None) -> dict[str, Any]:
    """Fire each round, and then all others; checks that the ledger has every firing."""
    clock = SetClock(_START - SECOND)
    config = Config(data_dir=Path(data_dir), bacalhau="http://127.0.0.1:9", listen="127.0.0.1:0")
    app = App(config, clock=clock)
    for module in ("uvicorn", "orchestrator.web"):
        importlib.import_module(module)
    gc.freeze()  # as the daemon does once it has started
    before = resident_mb()
    seconds: list[float] = []
    for index in range(size["rounds"]):
        clock.at = _START + index * MINUTE
        seconds.append(_timed(app))
    expected = size["due"] * size["rounds"]
    others = 0.0
    if later is not None:
        clock.at = later
        others = _timed(app)
        expected = size["schedules"]
    with app.database.read() as conn:
        found = conn.exec_driver_sql("SELECT count(*) FROM runs").scalar()
    app.stop()
    if found != expected:
        raise AssertionError(f"{found} runs, {expected} were due")
    return {"seconds": seconds, "others_seconds": others, "before_mb": before}


def _timed(app: App) -> float:
    begin = time.perf_counter()
    app.firing.run_once()
    return time.perf_counter() - begin
