"""Puts the application together."""

from __future__ import annotations

from fastapi import FastAPI

import orchestrator
from orchestrator.web import problems
from orchestrator.web.access import Access
from orchestrator.web.deps import Deps
from orchestrator.web.gauges import Gauges
from orchestrator.web.guard import Guard
from orchestrator.web.models import PROBLEMS
from orchestrator.web.routes import (
    backup,
    checkpoints,
    dead,
    health,
    heartbeats,
    hooks,
    jobs,
    logs,
    runs,
    system,
    tokens,
    triggers,
)
from orchestrator.web.waiting import Ends

_ROUTERS = (
    triggers.router,
    runs.router,
    heartbeats.router,
    logs.router,
    dead.router,
    checkpoints.router,
    system.router,
    jobs.router,
    backup.router,
    backup.exported,
    tokens.router,
    health.router,
    hooks.router,
)


def build(deps: Deps) -> FastAPI:
    """The application over what the daemon has."""
    app = FastAPI(
        title="orch",
        version=orchestrator.__version__,
        description="Triggers, runs and state of an orchestrator for Bacalhau. Errors are RFC 9457 "
        "problem details; times are RFC 3339 in UTC; lists are pages of `items` and `next`.",
        # The pages of FastAPI's own would load their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=PROBLEMS,
    )
    app.state.deps = deps
    app.state.gauges = Gauges(deps)
    app.state.ends = Ends(deps)
    backup.remove_stale(deps.data_dir)
    problems.install(app)
    for router in _ROUTERS:
        app.include_router(router)
    app.add_middleware(Guard, deps=deps)
    app.add_middleware(Access, deps=deps)  # the last one added is the outermost
    return app
