"""What supervisors and monitors ask for."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

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
