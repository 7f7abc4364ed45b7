"""Lag from the due time to the accepted job, with nothing else to do.

One schedule, a whole daemon, a stub at the pace of a real node. Accepted means: the node has
answered and the answer is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.cli.daemon import start_app
from orchestrator.domain.clock import SECOND
from tests.bench.population import group, populate
from tests.bench.processes import Place, StubNode
from tests.bench.report import Row, quantile
from tests.bench.watching import Accepted, now, running
from tests.support.waiting import until

_EVERY = 400_000  # µs
_WITHIN = 300.0


def run(place: Place) -> Iterator[Row]:
    """Measure; the first second is a warm-up."""
    firings = 3 if place.quick else 150
    data_dir = place.fresh("idle")
    first = (now() // _EVERY + 1) * _EVERY
    populate(place, data_dir, [group("idle", 1, first, every="400ms", catch_up="none")])
    with StubNode(place, "idle-node", "--pace", "560", "--latency", "0.001", "--ends") as node:
        lags = place.call(observe, data_dir=str(data_dir), bacalhau=node.url, firings=firings)[
            "lags"
        ]
    place.done("idle")
    for part in (0.5, 0.99):
        yield Row(
            what=f"lag to the accepted job, idle, p{part * 100:.0f}",
            unit="ms",
            orch=quantile(lags, part),
            n=f"{len(lags)}",
            note="of it about 3 ms are the node's" if part == 0.5 else f"worst {max(lags):,.1f} ms",
        )


def observe(data_dir: str, bacalhau: str, firings: int) -> dict[str, Any]:
    """Let a daemon run a schedule; returns the lags in ms."""
    with running(data_dir, bacalhau) as app:
        accepted = Accepted(app)
        start_app(app)
        # What was overdue when the daemon started says nothing about one that waits.
        since = now() + SECOND
        lags: list[float] = []

        def look() -> bool:
            seen = [(app.reads.run(run).due_at, at) for run, at in accepted.runs]
            lags[:] = [(at - due) / 1000 for due, at in seen if due > since]
            return len(lags) >= firings

        until(
            lambda: len(accepted.runs) >= firings,
            f"{firings} jobs accepted",
            within=_WITHIN,
            show=lambda: (len(accepted.runs), app.cluster.status),
        )
        until(look, f"{firings} of them on time", within=_WITHIN, show=lambda: len(lags))
    return {"lags": lags[:firings]}
