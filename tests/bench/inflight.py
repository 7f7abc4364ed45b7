"""From the start of `orch serve` to a new submission, with many runs in flight.

They were submitted by a daemon that was then killed; none of their jobs may be sent again.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import requests

from orchestrator.domain.clock import SECOND
from tests.bench.population import group, populate
from tests.bench.processes import Daemon, Place, StubNode
from tests.bench.report import Row
from tests.bench.restart import Ledger
from tests.bench.watching import now
from tests.support.waiting import until

_WITHIN = 600.0


def run(place: Place) -> Iterator[Row]:
    """Measure; one start before the others is a warm-up."""
    runs, rounds, warm_up = (50, 1, 0) if place.quick else (10_000, 3, 1)
    seeded = place.fresh("inflight-seed")
    with StubNode(place, "inflight-node") as node:
        _fly(place, seeded, node.url, runs)
        results = [_start(place, seeded, node.url, runs) for _ in range(warm_up + rounds)]
        puts = requests.get(f"{node.url}/bench/puts", timeout=60).json()
    place.done("inflight-seed")
    sent = Counter(name for _, name in puts)
    again = [name for name, times in sent.items() if times > 1 and "-fly-" in name]
    if again:
        raise AssertionError(f"{len(again)} jobs were sent twice: {again[:3]}")
    measured = results[warm_up:]
    yield Row(
        what=f"restart, {runs:,} runs in flight: first new submission",
        unit="s",
        orch=median(first for first, _ in measured),
        n=f"{rounds}",
        note="until the node has it; no job sent twice",
    )
    yield Row(
        what=f"restart, {runs:,} runs in flight: memory of the daemon",
        unit="MB",
        orch=max(peak for _, peak in measured),
        n="peak",
    )


def _fly(place: Place, data_dir: Path, url: str, runs: int) -> None:
    """Bring runs into flight, and kill the daemon."""
    populate(place, data_dir, [group("fly", runs, now() - SECOND, variants=5, every="1d")])
    with Daemon(place, data_dir, url, "--max-in-flight", str(runs)) as daemon:
        ledger = Ledger(data_dir / "orch.db")
        until(
            lambda: ledger.count("SELECT count(*) FROM runs WHERE state = 'running'") >= runs,
            f"{runs} runs in flight",
            within=_WITHIN,
            show=daemon.tail,
        )
        ledger.close()
        daemon.kill()


def _start(place: Place, seeded: Path, url: str, runs: int) -> tuple[float, float]:
    data_dir = place.fresh("inflight")
    shutil.copytree(seeded, data_dir, dirs_exist_ok=True)
    populate(place, data_dir, [group("new", 1, now(), every="1d")])
    before = len(requests.get(f"{url}/bench/puts", timeout=60).json())
    begin = now()
    with Daemon(place, data_dir, url, "--max-in-flight", str(2 * runs)) as daemon:

        def look() -> int | None:
            puts = requests.get(f"{url}/bench/puts?from={before}", timeout=60).json()
            return next((at for at, name in puts if "-new-" in name), None)

        at = until(look, "a new submission", within=_WITHIN, show=daemon.tail)
        peak = daemon.peak_mb()
    place.done("inflight")
    return (at - begin) / SECOND, peak
