"""Triggers: register, change, read, pause, resume, fire, backfill, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import JSONResponse

from orchestrator.operations.registration import Checked
from orchestrator.web import query, views
from orchestrator.web.body import (
    BatchBody,
    DocumentBody,
    JsonBody,
    Strict,
    openapi_body,
    openapi_model,
)
from orchestrator.web.bulk import apply_all
from orchestrator.web.copyviews import copies_of
from orchestrator.web.deps import Deps
from orchestrator.web.models import TRIGGERS
from orchestrator.web.problems import invalid
from orchestrator.web.routes._common import STRICT, Actor, D, api_router, reply
from orchestrator.web.routes.checkpoints import total
from orchestrator.web.submitted import plan_batch, read_trigger

router = api_router("triggers")
_DOCUMENT = openapi_body(
    {
        "type": "object",
        "description": "A trigger file; GET /api/v1/schema/{kind} gives its JSON Schema",
    },
    required=True,
    yaml=True,
)
_BATCH = openapi_body(
    {
        "type": "object",
        "required": ["triggers"],
        "properties": {"triggers": {"type": "array", "items": {"type": "object"}}},
    },
    required=True,
)


class Pause(Strict):
    """Why a trigger makes no firings for now."""

    note: str = ""


class Resume(Strict):
    """Whether what came due in the pause is left out."""

    skip: bool = False


class Window(Strict):
    """Due times from `since` up to, not including, `until`; RFC 3339."""

    since: str
    until: str
    dry_run: bool = False


class Nothing(Strict):
    """A body without content."""


@router.get("/triggers", dependencies=STRICT, responses=TRIGGERS)
def list_triggers(
    d: D,
    kind: str | None = None,
    limit: Annotated[str | None, Query(description="1 to 1000, default 100")] = None,
    cursor: str | None = None,
) -> JSONResponse:
    """List triggers by name."""
    found = d.reads.triggers(limit=query.limit(limit), cursor=query.cursor(cursor, str), kind=kind)
    wakes = d.reads.next_wakes([row.uid for row in found.items])
    items = [views.trigger(row, wakes.get(row.uid)) for row in found.items]
    return reply(views.page(items, found.next))


@router.post("/triggers", status_code=201, openapi_extra=_DOCUMENT)
def register(d: D, actor: Actor, request: Request, body: DocumentBody) -> JSONResponse:
    """Register a trigger: its file, or a plain job with `?kind=…&name=…` and its settings."""
    checked = read_trigger(d.registrar.checker, body, request.query_params.multi_items())
    row = d.registrar.register([checked], actor)[0]
    return reply(_shown(d, row.name), 201, {"Location": f"/api/v1/triggers/{row.name}"})


@router.post("/triggers:batch", status_code=201, dependencies=STRICT, openapi_extra=_BATCH)
def register_batch(d: D, actor: Actor, body: BatchBody) -> JSONResponse:
    """Register many triggers, all or none; every problem is told with its index."""
    rows = d.registrar.create(plan_batch(d, body), actor)
    items = [{"name": row.name, "uid": row.uid, "version": row.version} for row in rows]
    return reply({"count": len(items), "items": items}, 201)


@router.post("/triggers:apply", dependencies=STRICT, openapi_extra=_BATCH)
def apply_batch(
    d: D,
    actor: Actor,
    body: BatchBody,
    reset: Annotated[str | None, Query(description="begin anew at other sources")] = None,
    dry_run: Annotated[str | None, Query(description="compare only, write nothing")] = None,
) -> JSONResponse:
    """Bring many triggers to what their files say, each whole or not at all.

    The answer has an item for each, in the order of the request, whose `action` is `created`,
    `changed`, `unchanged` or `failed`; a failed one tells why as a problem would. One that lacks
    something, such as a secret, has `warnings`. The same request again does what is left to do.
    `counts` has the number of each action.
    """
    again, dry = query.flag("reset", reset), query.flag("dry_run", dry_run)
    return reply(apply_all(d, body, actor, reset=again, dry_run=dry))


@router.get("/triggers/{name}", dependencies=STRICT)
def show(d: D, name: str) -> JSONResponse:
    """One trigger: its file, its policies, its checkpoints, its last run."""
    return reply(_shown(d, name))


@router.put("/triggers/{name}", dependencies=STRICT, openapi_extra=_DOCUMENT)
def apply(
    d: D,
    actor: Actor,
    name: str,
    body: DocumentBody,
    reset: Annotated[str | None, Query(description="begin anew at another source")] = None,
) -> JSONResponse:
    """Register a trigger or bring it to what its file says; `action` tells what was done."""
    again = query.flag("reset", reset)
    checked = _named(read_trigger(d.registrar.checker, body, [], name=name), name)
    applied = d.registrar.apply(checked, actor, reset=again)
    status = 201 if applied.action == "created" else 200
    return reply({"action": applied.action, "trigger": _shown(d, name)}, status)


@router.delete("/triggers/{name}", dependencies=STRICT)
def delete(
    d: D,
    actor: Actor,
    name: str,
    cancel: Annotated[str | None, Query(description="end its open runs too")] = None,
) -> JSONResponse:
    """Make no firings any more; the trigger goes when its open runs have ended."""
    row = d.timing.delete(name, cancel=query.flag("cancel", cancel), actor=actor)
    return reply(views.trigger(row, None), 202)


@router.post("/triggers/{name}/pause", dependencies=STRICT, openapi_extra=openapi_model(Pause))
def pause(d: D, actor: Actor, name: str, body: JsonBody) -> JSONResponse:
    """Make no new firings; runs that exist go on."""
    asked = body.check(Pause)
    return reply(views.trigger(d.triggers.pause(name, asked.note[:1000], actor), None))


@router.post("/triggers/{name}/resume", dependencies=STRICT, openapi_extra=openapi_model(Resume))
def resume(d: D, actor: Actor, name: str, body: JsonBody) -> JSONResponse:
    """Make firings again. What came due meanwhile follows `catch_up`, or is left out.

    `next_at` is the first firing that is still to come. `passed` counts the due times of the pause
    (`count`, at most 1000; `more` says that there are others) and those of them that `catch_up`
    lets run, as far as `overlap` does (`caught_up`; null where there are more than were counted).
    """
    return reply(views.resumed(d.timing.resume(name, skip=body.check(Resume).skip, actor=actor)))


@router.post(
    "/triggers/{name}/fire",
    status_code=201,
    dependencies=STRICT,
    openapi_extra=openapi_model(Nothing),
)
def fire(d: D, actor: Actor, name: str, body: JsonBody) -> JSONResponse:
    """Make a run now, beside the schedule."""
    body.check(Nothing)
    run_id = d.timing.fire(name, actor)
    row = d.reads.run(run_id)
    shown = views.run(row, d.reads.attempts([run_id])[run_id])
    return reply(shown, 201, {"Location": f"/api/v1/runs/{run_id}"})


@router.post(
    "/triggers/{name}/backfill",
    dependencies=STRICT,
    openapi_extra=openapi_model(Window, required=True),
)
def backfill(d: D, actor: Actor, name: str, body: JsonBody) -> JSONResponse:
    """Run the due times of a window that have not run. `kept` ones have."""
    asked = body.check(Window)
    since, until = query.instant("since", asked.since), query.instant("until", asked.until)
    if since is None or until is None:
        raise invalid("since", "a window has two ends", "Send since and until")
    done = d.timing.backfill(name, since, until, actor, dry_run=asked.dry_run)
    return reply(
        {
            "created": done.created,
            "revived": done.revived,
            "kept": done.kept,
            "dry_run": asked.dry_run,
        }
    )


def _named(checked: Checked, name: str) -> Checked:
    if checked.file.name != name:
        raise invalid(
            "name",
            f"the file is called {checked.file.name!r}, the address says {name[:100]!r}",
            "Make them the same, or leave the name out of the file",
        )
    return checked


def _shown(d: Deps, name: str) -> dict[str, Any]:
    row = d.triggers.get(name)
    definition = d.definitions.get(row.definition)
    times = views.by_time(d.registry, row.kind)
    last = d.reads.last_runs([row.uid]).get(row.uid)
    wakes = d.reads.next_wakes([row.uid])
    outside, lag = d.source_store.get(row.uid), d.sources.lag(row.uid)
    troubles = d.sources.troubles(row.uid)
    job = d.triggers.template(definition.template)
    return {
        **views.trigger(row, wakes.get(row.uid)),
        "warnings": d.advice.warnings(row.kind, definition.settings, job),
        "document": views.document(row.name, definition, job),
        "policies": views.policies(definition),
        "source": None if outside is None else views.source(outside, total(lag)),
        "partitions": [
            views.partition(p, by_time=times, lag=lag.get(p.name), trouble=troubles.get(p.name))
            for p in d.reads.partitions(row.uid)
        ],
        "copies": copies_of(d, row),
        "versions": [
            {
                "version": version["version"],
                "created_at": views.when(version["created_at"]),
                "created_by": version["created_by"],
            }
            for version in d.reads.versions(row.uid)
        ],
        "last_run": None if last is None else views.run(last, d.reads.attempts([last.id])[last.id]),
        "counts": d.reads.run_counts(row.uid),
    }
