"""Lag from the due time to the ledger, many schedules due in the same second.

orch: the whole daemon with a node (which takes jobs meanwhile), until the commit that holds the
run is on the disk. APScheduler: until the job's next run time is committed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.cli.daemon import start_app
from orchestrator.domain.clock import SECOND
from tests.bench import peer
from tests.bench.population import group, move, populate
from tests.bench.processes import Place, StubNode
from tests.bench.report import Row, quantile
from tests.bench.watching import Commits, now, running
from tests.support.waiting import until

_LEAD = 3  # seconds from now to the first instant, for the last preparations
_WITHIN = 300.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """`due` at one instant, in each of `rounds` that are `gap` seconds apart."""

    due: int
    rounds: int
    gap: int
    peer_rounds: int
    target_ms: float
    elsewhere: str


_FULL = (
    Size(due=100, rounds=20, gap=1, peer_rounds=5, target_ms=10, elsewhere="Later 8 ms"),
    Size(due=1_000, rounds=10, gap=2, peer_rounds=3, target_ms=60,
         elsewhere="Later 59 ms, dkron 1.7 s"),
    Size(due=20_000, rounds=5, gap=8, peer_rounds=1, target_ms=1500, elsewhere="Later 1.5 s"),
)  # fmt: skip
_QUICK = (Size(due=20, rounds=3, gap=1, peer_rounds=1, target_ms=0, elsewhere="nothing"),)


def run(place: Place) -> Iterator[Row]:
    """Measure; the first round is a warm-up."""
    for size in _QUICK if place.quick else _FULL:
        ours, theirs = _orch(place, size), _peer(place, size)
        for part in (0.5, 0.99):
            note = f"target {size.target_ms:g} ms; in memory or elsewhere: {size.elsewhere}"
            yield Row(
                what=f"lag to the ledger, {size.due:,} due at once, p{part * 100:.0f}",
                unit="ms",
                orch=quantile(ours, part),
                peer=quantile(theirs, part),
                n=f"{size.rounds - 1} x {size.due:,}; peer {size.peer_rounds} x",
                note=note if part > 0.5 else f"worst {max(ours):,.1f} ms",
            )


def _orch(place: Place, size: Size) -> list[float]:
    data_dir = place.fresh("lag")
    # Where they will be due is not known before they are registered.
    far = now() + 10**6 * SECOND
    groups = [
        group(f"lag{i}", size.due, far + i, variants=20, every="1h") for i in range(size.rounds)
    ]
    populate(place, data_dir, groups)
    with StubNode(place, "lag-node") as node:
        result = place.call(
            observe,
            data_dir=str(data_dir),
            bacalhau=node.url,
            far=far,
            rounds=size.rounds,
            gap=size.gap,
            due=size.due,
        )
    place.done("lag")
    return result["lags"]


def observe(
    data_dir: str, bacalhau: str, far: int, rounds: int, gap: int, due: int
) -> dict[str, Any]:
    """Let a daemon fire all rounds; returns the lags in ms, the first round's left out."""
    first = (now() // SECOND + _LEAD + 1 + rounds * due // 20_000) * SECOND
    instants = [first + i * gap * SECOND for i in range(rounds)]
    move(data_dir, {str(far + i): instant for i, instant in enumerate(instants)})
    with running(data_dir, bacalhau) as app:
        commits = Commits(app)
        start_app(app)
        if now() >= first:
            raise AssertionError("the daemon was not ready before the first instant")
        until(
            lambda: len(commits.firings) >= rounds * due,
            f"{rounds} x {due} firings",
            within=_WITHIN,
            show=lambda: len(commits.firings),
        )
    measured = [(at - instant) / 1000 for instant, at in commits.firings if instant != first]
    return {"lags": measured}


def _peer(place: Place, size: Size) -> list[float]:
    lags: list[float] = []
    for _ in range(size.peer_rounds):
        file = str(place.fresh("lag-peer") / "jobs.db")
        # A process starts and its jobs are inserted before they are due.
        at = int(time.time()) + _LEAD + 3 + size.due // 2_000
        place.call(peer.fill, file=file, due={str(at): size.due}, others=0)
        committed = place.call(peer.fire, file=file, count=size.due)["committed"]
        lags += [(instant - at) * 1000 for instant in committed]
        place.done("lag-peer")
    return lags
