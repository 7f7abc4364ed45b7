"""What supervisors and monitors ask for."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from orchestrator import metrics
from orchestrator.store.errors import StoreError
from orchestrator.web.routes._common import STRICT, D, reply

router = APIRouter(tags=["health"])


@router.get("/healthz", dependencies=STRICT)
async def healthz() -> JSONResponse:
    """The process is up and answers."""
    return reply({"ok": True})


@router.get("/readyz", dependencies=STRICT)
def readyz(d: D) -> JSONResponse:
    """Ready: the store answers and the services run. A cluster that is away is told, no more."""
    stopped = [service.name for service in d.services if not service.running]
    try:
        d.reads.queue_counts()
        store = "ok"
    except StoreError:
        store = "away"
    ready = store == "ok" and not stopped
    body = {
        "ready": ready,
        "store": store,
        "stopped_services": stopped,
        "cluster": d.cluster.status.state,
    }
    return reply(body, 200 if ready else 503)


@router.get("/metrics", dependencies=STRICT, response_class=Response)
def prometheus(request: Request) -> Response:
    """Prometheus' text format."""
    text = metrics.exposition() + request.app.state.gauges.exposition()
    return Response(text, media_type=CONTENT_TYPE_LATEST)
