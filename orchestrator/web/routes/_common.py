"""What every endpoint needs: the daemon's parts, who asks, how answers are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse

from orchestrator.domain.roles import Role
from orchestrator.web.accesslog import ACTOR, ROLE
from orchestrator.web.deps import Deps
from orchestrator.web.query import known_only

STRICT = [Depends(known_only)]


async def _deps(request: Request) -> Deps:
    return request.app.state.deps


async def _actor(request: Request) -> str:
    return request.scope[ACTOR]


async def _role(request: Request) -> Role:
    return request.scope[ROLE]


D = Annotated[Deps, Depends(_deps)]
Actor = Annotated[str, Depends(_actor)]
Rights = Annotated[Role, Depends(_role)]


def api_router(tag: str) -> APIRouter:
    """A router below /api/v1."""
    return APIRouter(prefix="/api/v1", tags=[tag])


def reply(
    data: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Write an answer. It is JSON already, so no encoder has to look at every value."""
    return JSONResponse(data, status_code=status, headers=dict(headers or {}))
