"""Dead runs: kept until somebody runs them again or lets them go."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import Field
from starlette.responses import JSONResponse

from orchestrator.domain.states import RunState
from orchestrator.store.errors import Conflict
from orchestrator.store.reads import RunFilter
from orchestrator.web import query, views
from orchestrator.web.body import JsonBody, Strict, openapi_model
from orchestrator.web.deps import Deps
from orchestrator.web.models import RUNS
from orchestrator.web.problems import invalid
from orchestrator.web.routes._common import STRICT, Actor, D, api_router, reply

router = api_router("dead")
_RUNS_AT_MOST = 1000


class Which(Strict):
    """Dead runs by id, or of a trigger, or both; without either all of them."""

    trigger: str | None = None
    runs: list[str] | None = Field(default=None, description=f"1 to {_RUNS_AT_MOST} run ids")


class WhichAndHow(Which):
    """The same; `latest` in place of the version of the job that each was made with."""

    latest: bool = False


class WhichWithNote(Which):
    """The same, and why."""

    note: str = ""


@router.get("/dead", dependencies=STRICT, responses=RUNS)
def list_dead(
    d: D,
    trigger: str | None = None,
    limit: Annotated[str | None, Query(description="1 to 1000, default 100")] = None,
    cursor: str | None = None,
) -> JSONResponse:
    """List the dead runs that nobody has discarded, the newest first."""
    wanted = RunFilter(trigger=trigger, states=[RunState.DEAD], held=True)
    found = d.reads.runs(wanted, limit=query.limit(limit), cursor=query.cursor(cursor, int, str))
    return reply(views.runs(found, d.reads.attempts([row.id for row in found.items])))


@router.post("/dead/redrive", dependencies=STRICT, openapi_extra=openapi_model(WhichAndHow))
def redrive(d: D, actor: Actor, body: JsonBody) -> JSONResponse:
    """Run them again, with all their attempts."""
    asked = body.check(WhichAndHow)
    runs = _chosen(d, asked)
    count = d.commands.redrive(asked.trigger, runs, actor, latest=asked.latest)
    return _answer(count, asked)


@router.post("/dead/discard", dependencies=STRICT, openapi_extra=openapi_model(WhichWithNote))
def discard(d: D, actor: Actor, body: JsonBody) -> JSONResponse:
    """Let go of them: they stay in the ledger as dead and hold nothing up any more."""
    asked = body.check(WhichWithNote)
    runs = _chosen(d, asked)
    count = d.commands.discard(asked.trigger, runs, asked.note[:1000], actor)
    return _answer(count, asked)


def _chosen(d: Deps, asked: Which) -> list[str]:
    if asked.runs is not None and not 1 <= len(asked.runs) <= _RUNS_AT_MOST:
        raise invalid(
            "runs",
            f"{len(asked.runs)} runs are named",
            f"Name 1 to {_RUNS_AT_MOST}, or leave `runs` out to mean all",
        )
    for run_id in asked.runs or ():
        d.reads.run(run_id)
    if asked.trigger is not None:
        d.reads.runs(RunFilter(trigger=asked.trigger), limit=1)  # raises for an unknown one
    return asked.runs or []


def _answer(count: int, asked: Which) -> JSONResponse:
    if asked.runs is not None and count == 0:
        raise Conflict("none of these runs is dead and kept: `orch dead list` shows those that are")
    return reply({"count": count})
