"""The daemon itself: status, cluster, audit, trail, connectors, schemas."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import JSONResponse

import orchestrator
from orchestrator.domain.clock import SECOND
from orchestrator.operations.schemas import trigger_schema
from orchestrator.store.trail import record
from orchestrator.web import query, views
from orchestrator.web.body import JsonBody, Strict, openapi_model
from orchestrator.web.copyviews import services
from orchestrator.web.deps import Deps
from orchestrator.web.routes._common import STRICT, Actor, D, api_router, reply
from orchestrator.web.routes.checkpoints import source_views

router = api_router("system")


class Nothing(Strict):
    """A body without content."""


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
            "sources": source_views(d),
            "keep_alive": services(d),
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


@router.post("/cluster/accept", dependencies=STRICT, openapi_extra=openapi_model(Nothing))
def accept_cluster(d: D, actor: Actor, body: JsonBody) -> JSONResponse:
    """Take the cluster that answers now as ours, after it changed or lost its jobs."""
    body.check(Nothing)
    identity = d.cluster.accept()
    record(d.database, actor, "cluster.accept", "cluster", {"identity": identity})
    return reply(cluster_view(d))


@router.get("/audit", dependencies=STRICT)
def audit(d: D, trigger: str | None = None) -> JSONResponse:
    """Prove from the ledger that nothing is missing and nothing is there twice."""
    return reply(d.auditor.audit(trigger))


@router.get("/trail", dependencies=STRICT)
def trail(
    d: D,
    limit: Annotated[str | None, Query(description="1 to 1000, default 100")] = None,
    cursor: str | None = None,
) -> JSONResponse:
    """Who did what, the newest first."""
    found = d.reads.trail(limit=query.limit(limit), cursor=query.cursor(cursor, int))
    items = [
        {**row, "at": views.when(row["at"]), "detail": json.loads(row["detail"])}
        for row in found.items
    ]
    return reply(views.page(items, found.next))


@router.get("/connectors", dependencies=STRICT)
def connectors(d: D) -> JSONResponse:
    """The connectors that are installed; `error` says why one cannot be used."""
    items = [
        {
            "kind": r.kind,
            "version": r.version,
            "summary": r.summary,
            "origin": r.origin,
            "error": r.error,
        }
        for r in d.registry
    ]
    return reply(views.page(items, None))


@router.get("/schema/{kind}", dependencies=STRICT)
def schema(d: D, kind: str) -> JSONResponse:
    """The JSON Schema of a trigger file of this kind."""
    return reply(trigger_schema(d.registry, kind))
