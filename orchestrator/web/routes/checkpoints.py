"""Checkpoints: where every partition stands, and setting those of a paused trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from starlette.responses import JSONResponse

from connectors.abc import Connector, TimeConnector
from connectors.queues import QueueConnector
from connectors.services import ServiceConnector
from connectors.streams import StreamConnector
from orchestrator.domain.states import TriggerState
from orchestrator.store.errors import Conflict
from orchestrator.web import query, views
from orchestrator.web.body import JsonBody, Strict, openapi_model
from orchestrator.web.deps import Deps
from orchestrator.web.problems import invalid
from orchestrator.web.routes._common import STRICT, Actor, D, api_router, reply

router = api_router("checkpoints")
_LONGEST_REASON = 1000


class Positions(Strict):
    """Where partitions of a paused trigger go on from, and why."""

    positions: dict[str, str]
    reason: str


class Restart(Strict):
    """Why a paused trigger begins anew where its settings say."""

    reason: str


@router.get("/checkpoints", dependencies=STRICT)
def checkpoints(
    d: D,
    trigger: str | None = None,
    limit: Annotated[str | None, Query(description="triggers a page, default 100")] = None,
    cursor: str | None = None,
) -> JSONResponse:
    """Where every partition stands: `planned` has no run yet, all before `done` is finished."""
    size, after = query.limit(limit), query.cursor(cursor, str)
    if trigger is not None:
        rows, following = [d.triggers.get(trigger)], None
    else:
        found = d.reads.triggers(limit=size, cursor=after)
        rows, following = found.items, found.next
    items: list[dict[str, Any]] = []
    for row in rows:
        times, lag = views.by_time(d.registry, row.kind), d.sources.lag(row.uid)
        troubles = d.sources.troubles(row.uid)
        items += [
            {
                "trigger": row.name,
                **views.partition(
                    p, by_time=times, lag=lag.get(p.name), trouble=troubles.get(p.name)
                ),
            }
            for p in d.reads.partitions(row.uid)
        ]
    return reply(views.page(items, following))


@router.post(
    "/checkpoints/{trigger}",
    dependencies=STRICT,
    openapi_extra=openapi_model(Positions, required=True),
)
def set_checkpoints(d: D, actor: Actor, trigger: str, body: JsonBody) -> JSONResponse:
    """Let partitions of a paused trigger go on from other positions."""
    asked = body.check(Positions)
    reason = _reason(asked.reason)
    if not asked.positions:
        raise invalid("positions", "nothing is to be set", 'Send {"positions": {"logs/0": "42"}}')
    row = d.triggers.get(trigger)
    connector = d.registry.get(row.kind)
    if not isinstance(connector, StreamConnector):
        raise Conflict(_no_positions(trigger, row.kind, connector))
    settings = d.definitions.get(row.definition).settings
    known = {p.name for p in d.reads.partitions(row.uid)}
    positions: dict[str, str] = {}
    for partition, text in asked.positions.items():
        if partition not in known:
            raise invalid(
                f"positions.{partition[:100]}",
                "there is no such partition",
                f"`orch checkpoints show {trigger}` lists them",
            )
        try:
            positions[partition] = connector.position(settings, text)
        except ValueError as error:
            raise invalid(
                f"positions.{partition}", "is no position of this source", str(error)
            ) from error
    d.source_store.set_checkpoints(trigger, positions, reason, actor)
    return checkpoints(d, trigger)


@router.post(
    "/checkpoints/{trigger}/restart",
    dependencies=STRICT,
    openapi_extra=openapi_model(Restart, required=True),
)
def restart(d: D, actor: Actor, trigger: str, body: JsonBody) -> JSONResponse:
    """Let a paused trigger begin anew where its settings say, once it is resumed."""
    row = d.triggers.get(trigger)
    connector = d.registry.get(row.kind)
    if isinstance(connector, ServiceConnector):
        raise Conflict(_no_positions(trigger, row.kind, connector))
    d.source_store.ask_restart(trigger, _reason(body.check(Restart).reason), actor)
    source = d.source_store.get(row.uid)
    return reply({"source": None if source is None else views.source(source, None)})


def _no_positions(trigger: str, kind: str, connector: Connector) -> str:
    match connector:
        case TimeConnector():
            why = "has due times: change its schedule, or fill a gap with `orch triggers backfill`"
        case ServiceConnector():
            why = (
                "begins where its copies have reported that they are; to begin without that, "
                "delete it and register it again"
            )
        case QueueConnector():
            why = (
                "has events without order: `orch checkpoints restart` lets it look at its source "
                "anew"
            )
        case _:
            why = "has no positions: its runs are asked for one by one, or follow others"
    return f"trigger {trigger!r} of kind {kind} {why}"


def _reason(text: str) -> str:
    if not text.strip():
        raise invalid("reason", "is empty", "Say why: it stands in the audit trail")
    return text.strip()[:_LONGEST_REASON]


def total(lag: Mapping[str, int]) -> int | None:
    """The lag of all partitions; None where it is not known."""
    return sum(lag.values()) if lag else None


def source_views(d: Deps) -> list[dict[str, Any]]:
    """All sources of triggers that are not deleted, with what they lack."""
    rows = [r for r in d.source_store.all() if r.trigger_state is not TriggerState.DELETED]
    definitions = d.definitions.get_many([row.definition for row in rows])
    return [
        {
            **views.source(row, total(d.sources.lag(row.trigger_uid))),
            "warnings": d.advice.warnings(row.kind, definitions[row.definition].settings),
        }
        for row in rows
    ]
