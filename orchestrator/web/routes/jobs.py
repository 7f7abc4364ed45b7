"""Jobs: for programs that only want work done. A job is a run of a template."""

from __future__ import annotations

import re
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from orchestrator.domain.states import STATES_OF, JobStatus, RunState
from orchestrator.store.errors import Conflict
from orchestrator.store.jobs import KeyReused
from orchestrator.web import query, views
from orchestrator.web.asked import Asking, check_rights, read_asked, read_batch
from orchestrator.web.body import BatchBody, JsonBody, openapi_body, openapi_model
from orchestrator.web.deps import Deps
from orchestrator.web.models import JOB, JOB_TAKEN, JOBS
from orchestrator.web.problems import Trouble, error, invalid
from orchestrator.web.routes._common import STRICT, Actor, D, Rights, reply
from orchestrator.web.waiting import LONGEST

router = APIRouter(tags=["jobs"])
_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")
_WAIT = Annotated[
    str | None, Query(description=f"answer when it has ended, or after this: 10s, up to {LONGEST}s")
]
_BATCH = openapi_body(
    {
        "type": "object",
        "required": ["jobs"],
        "properties": {
            "jobs": {"type": "array", "items": Asking.model_json_schema(), "maxItems": 10_000}
        },
    },
    required=True,
)
_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 255},
    "description": "The same key again gives the same job, and makes no second one",
}


@router.post(
    "/jobs",
    status_code=202,
    dependencies=STRICT,
    responses=JOB_TAKEN,
    openapi_extra={**openapi_model(Asking, required=True), "parameters": [_HEADER]},
)
async def submit(
    request: Request, d: D, actor: Actor, role: Rights, body: JsonBody, wait: _WAIT = None
) -> JSONResponse:
    """Ask for a job: of a template, or whole. It is in the ledger when this is answered."""
    seconds = query.wait("wait", wait, LONGEST)
    asking = body.check(Asking)
    check_rights(role, asking.job)
    asked = read_asked(asking, d.clock.now(), key=_client_key(request), body=body)

    def take() -> str:
        return d.job_desk.take(asked, actor)

    try:
        run_id = await run_sync(take)
    except KeyReused as failure:
        entry = error("Idempotency-Key", str(failure), "Send a new key for a new job")
        raise Trouble(422, str(failure), errors=[entry]) from failure
    await request.app.state.ends.wait(run_id, seconds)
    return reply(await run_sync(_shown, d, run_id), 202, {"Location": f"/jobs/{run_id}"})


@router.post("/jobs:batch", status_code=202, dependencies=STRICT, openapi_extra=_BATCH)
def submit_batch(d: D, actor: Actor, role: Rights, body: BatchBody) -> JSONResponse:
    """Ask for up to 10,000 jobs, all or none; `items` has their ids in the order of the request.

    Each may have an `idempotency_key` of its own.
    """
    planned = read_batch(d, body, role)
    try:
        ids = d.jobs.take_in(planned, actor)
    except KeyReused as failure:
        entry = error("jobs", str(failure), "Send a new key for a new job")
        raise Trouble(422, str(failure), errors=[entry]) from failure
    return reply({"count": len(ids), "items": [{"id": run_id} for run_id in ids]}, 202)


@router.get("/jobs", dependencies=STRICT, responses=JOBS)
def list_jobs(
    d: D,
    status: Annotated[list[str], Query(description="repeated, or with commas")] = [],  # noqa: B006
    since: Annotated[str | None, Query(description="run_at at or after, RFC 3339")] = None,
    until: Annotated[str | None, Query(description="run_at before, RFC 3339")] = None,
    limit: Annotated[str | None, Query(description="1 to 1000, default 100")] = None,
    cursor: str | None = None,
) -> JSONResponse:
    """List jobs by the time at which they are to run, the latest first."""
    found = d.jobs.list(
        _states(status),
        since=query.instant("since", since),
        until=query.instant("until", until),
        limit=query.limit(limit),
        cursor=query.cursor(cursor, int, str),
    )
    attempts = d.reads.attempts([row.id for row in found.items])
    return reply(views.page([views.job(r, attempts[r.id]) for r in found.items], found.next))


@router.get("/jobs/{job_id}", dependencies=STRICT, responses=JOB)
async def show(request: Request, d: D, job_id: str, wait: _WAIT = None) -> JSONResponse:
    """One job; with `wait` when it has ended, or when that time is over."""
    seconds = query.wait("wait", wait, LONGEST)
    shown = await run_sync(_shown, d, job_id)
    if seconds and shown["ended_at"] is None:
        await request.app.state.ends.wait(job_id, seconds)
        shown = await run_sync(_shown, d, job_id)
    return reply(shown)


@router.delete("/jobs/{job_id}", status_code=202, dependencies=STRICT, responses=JOB_TAKEN)
def cancel(d: D, actor: Actor, job_id: str) -> JSONResponse:
    """End a job that has not ended: what runs is stopped, then it is Cancelled. 409: it is over."""
    row = d.jobs.get(job_id)
    if row.ended_at is not None:
        raise Conflict(f"job {job_id} is over: {views.job(row, ())['status']}")
    d.commands.cancel(job_id, "cancelled by request", actor)
    return reply(_shown(d, job_id), 202)


def _shown(d: Deps, job_id: str) -> dict[str, Any]:
    row = d.jobs.get(job_id)
    attempts = d.reads.attempts([row.id])[row.id] if row.attempts else []
    return views.job(row, attempts)


def _client_key(request: Request) -> str | None:
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise invalid(
            "Idempotency-Key",
            "is not one key of 1 to 255 visible ASCII characters",
            "Send one, such as a UUID, or none",
        )
    return given[0]


def _states(values: list[str]) -> list[RunState]:
    """Read statuses, given repeatedly or with commas; none are all."""
    words = [word for value in values for word in value.split(",") if word]
    known = {str(status).lower(): status for status in JobStatus}
    for word in words:
        if word.lower() not in known:
            remedy = f"Write one of {', '.join(JobStatus)}"
            raise invalid("status", f"there is no status {word[:60]!r}", remedy)
    wanted = {known[word.lower()] for word in words} or set(JobStatus)
    return sorted(state for status in wanted for state in STATES_OF[status])
