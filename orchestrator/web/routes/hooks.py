"""Where others bring events. What a request must prove is its trigger's affair, not a token's."""

from __future__ import annotations

from anyio import fail_after
from anyio.to_thread import run_sync
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from connectors.push import PushRefused, PushRequest
from orchestrator.web.body import read_body
from orchestrator.web.problems import Trouble
from orchestrator.web.routes._common import D, reply

router = APIRouter(tags=["hooks"])
_WITHIN = 30.0  # seconds that a body may take


@router.post("/hooks/{trigger}", status_code=202)
async def receive(request: Request, d: D, trigger: str) -> JSONResponse:
    """Bring an event to a trigger. It is in the ledger when this is answered; what the request
    has to prove, and what a good answer is, depends on the trigger's kind."""
    hook = await run_sync(d.hooks.find, trigger)
    try:
        with fail_after(_WITHIN):
            body = await read_body(request, hook.max_body)
    except TimeoutError as error:
        headers = {"Connection": "close"}
        raise Trouble(408, f"the body took more than {_WITHIN:g} s", headers=headers) from error
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    asked = PushRequest(
        headers=headers,
        query=dict(request.query_params),
        body=body,
        sender=request.client.host if request.client else "",
        at=d.clock.now(),
    )
    try:
        answer = await run_sync(hook.receive, asked)
    except PushRefused as refused:
        again = {"Retry-After": "30"} if refused.status == 503 else {}
        raise Trouble(refused.status, refused.reason, headers=again) from refused
    return reply(answer.body, answer.status)
