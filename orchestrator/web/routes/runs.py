"""Runs: the ledger to read, and single runs to cancel or repeat."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import JSONResponse

from orchestrator.store.reads import RunFilter
from orchestrator.web import query, views
from orchestrator.web.body import JsonBody, Strict, openapi_model
from orchestrator.web.models import RUN, RUNS
from orchestrator.web.routes._common import STRICT, Actor, D, api_router, reply

router = api_router("runs")


class Cancel(Strict):
    """Why a run is to end."""

    reason: str = "cancelled by command"


class CancelMany(Strict):
    """The open runs of which trigger are to end, and why; `backfilled`: only those of backfills."""

    trigger: str
    backfilled: bool = False
    reason: str = "cancelled by command"


class Nothing(Strict):
    """A body without content."""


@router.get("/runs", dependencies=STRICT, responses=RUNS)
def list_runs(
    d: D,
    trigger: str | None = None,
    state: Annotated[list[str], Query(description="repeated, or with commas")] = [],  # noqa: B006
    since: Annotated[str | None, Query(description="due at or after, RFC 3339")] = None,
    until: Annotated[str | None, Query(description="due before, RFC 3339")] = None,
    limit: Annotated[str | None, Query(description="1 to 1000, default 100")] = None,
    cursor: str | None = None,
    order: Annotated[str | None, Query(description="newest (default) or oldest")] = None,
) -> JSONResponse:
    """List runs by due time."""
    wanted = RunFilter(
        trigger=trigger,
        states=query.states(state),
        since=query.instant("since", since),
        until=query.instant("until", until),
        oldest_first=query.choice("order", order, ("newest", "oldest")) == "oldest",
    )
    found = d.reads.runs(wanted, limit=query.limit(limit), cursor=query.cursor(cursor, int, str))
    return reply(views.runs(found, d.reads.attempts([row.id for row in found.items])))


@router.post(
    "/runs:cancel", dependencies=STRICT, openapi_extra=openapi_model(CancelMany, required=True)
)
def cancel_runs(d: D, actor: Actor, body: JsonBody) -> JSONResponse:
    """Ask for the end of a trigger's open runs; `count` of them had not been asked to end."""
    asked = body.check(CancelMany)
    d.reads.runs(RunFilter(trigger=asked.trigger), limit=1)  # raises for an unknown one
    count = d.commands.cancel_open(
        asked.trigger, asked.reason[:500], actor, backfilled=asked.backfilled
    )
    return reply({"count": count})


@router.get("/runs/{run_id}", dependencies=STRICT, responses=RUN)
def show_run(d: D, run_id: str) -> JSONResponse:
    """One run with its attempts."""
    row = d.reads.run(run_id)
    return reply(views.run(row, d.reads.attempts([row.id])[row.id]))


@router.post(
    "/runs/{run_id}/cancel", dependencies=STRICT, responses=RUN, openapi_extra=openapi_model(Cancel)
)
def cancel_run(d: D, actor: Actor, run_id: str, body: JsonBody) -> JSONResponse:
    """Ask for the end of an open run; its job is stopped, then the run is `cancelled`."""
    asked = body.check(Cancel)
    d.commands.cancel(run_id, asked.reason[:500], actor)
    return show_run(d, run_id)


@router.post(
    "/runs/{run_id}/retry", dependencies=STRICT, responses=RUN, openapi_extra=openapi_model(Nothing)
)
def retry_run(d: D, actor: Actor, run_id: str, body: JsonBody) -> JSONResponse:
    """Run it again: a run that ended without success, or one that waits for its next attempt."""
    body.check(Nothing)
    d.commands.retry(run_id, actor)
    return show_run(d, run_id)
