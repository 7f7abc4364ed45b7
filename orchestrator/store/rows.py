"""Rows become values."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from sqlalchemy import RowMapping

from orchestrator.domain.states import AttemptState, Origin, Queue, RunState, TriggerState
from orchestrator.store.schema import attempts, runs, triggers
from orchestrator.store.values import Attempt, Flight, Run, Trigger

_RUN = [f.name for f in fields(Run)]
_ATTEMPT = [f.name for f in fields(Attempt)]
_TRIGGER = [f.name for f in fields(Trigger)]
_FLIGHT = [f.name for f in fields(Flight)]
_FLIGHT_FROM = {
    "trigger_uid": runs.c.trigger_uid,
    "trigger_name": triggers.c.name.label("trigger_name"),
    "fence": runs.c.fence,
    "cancel": runs.c.cancel,
}
FLIGHT_COLUMNS: list[Any] = [_FLIGHT_FROM.get(name, attempts.c.get(name)) for name in _FLIGHT]


def to_run(row: RowMapping) -> Run:
    """A row of `runs` joined with its trigger's name."""
    values: dict[str, Any] = {name: row[name] for name in _RUN}
    values["state"] = RunState(values["state"])
    values["origin"] = Origin(values["origin"])
    values["queue"] = Queue(values["queue"]) if values["queue"] else None
    values["data"] = json.loads(values["data"])
    return Run(**values)


def to_attempt(row: RowMapping) -> Attempt:
    """A row of `attempts`, without its bytes."""
    values: dict[str, Any] = {name: row[name] for name in _ATTEMPT}
    values["state"] = AttemptState(values["state"])
    return Attempt(**values)


def to_trigger(row: RowMapping) -> Trigger:
    """A row of `triggers`."""
    values: dict[str, Any] = {name: row[name] for name in _TRIGGER}
    values["state"] = TriggerState(values["state"])
    return Trigger(**values)


def to_flight(row: RowMapping) -> Flight:
    """A row of FLIGHT_COLUMNS."""
    values: dict[str, Any] = {name: row[name] for name in _FLIGHT}
    values["state"] = AttemptState(values["state"])
    return Flight(**values)
