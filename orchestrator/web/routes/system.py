"""The daemon itself: status, cluster, audit, trail, backup."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

import orchestrator
from orchestrator.domain.clock import SECOND
from orchestrator.web import views
from orchestrator.web.deps import Deps
from orchestrator.web.routes._common import STRICT, D, api_router, reply

router = api_router("system")


@router.get("/status", dependencies=STRICT)
def status(d: D) -> JSONResponse:
    """How everything stands."""
    return reply(
        {
            "instance": d.database.instance,
            "version": orchestrator.__version__,
            "time": views.when(d.clock.now()),
            "database": d.database.dialect.name,
            "triggers": d.reads.trigger_counts(),
            "runs": d.reads.run_counts(),
            "queues": d.reads.queue_counts(),
            "lag_seconds": lag(d),
            "cluster": cluster_view(d),
            "services": [
                {"name": s.name, "running": s.running, "last_error": s.last_error or None}
                for s in d.services
            ],
            "orchestrators": d.leases.alive(),
        }
    )


def lag(d: Deps) -> float:
    """How long the earliest due time waits to be taken in, in seconds."""
    wake_at = d.intake.next_wake()
    return 0.0 if wake_at is None else max(0, d.clock.now() - wake_at) / SECOND


def cluster_view(d: Deps) -> dict[str, Any]:
    """The cluster as the daemon sees it."""
    found = d.cluster.status
    return {
        "url": d.cluster.client.url,
        "state": found.state,
        "detail": found.detail,
        "since": views.when(found.since),
        "identity": found.identity,
        "dispatching": not found.blocked,
    }
