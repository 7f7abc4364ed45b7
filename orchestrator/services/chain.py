"""Callbacks that are another trigger's job: the end of one run makes a run of another trigger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from connectors.abc import Connector, DemandConnector, SettingsError
from orchestrator.domain.states import Origin, TriggerState
from orchestrator.services.definitions import Definition, Definitions
from orchestrator.services.firing import static_data
from orchestrator.services.webhook import Undelivered
from orchestrator.store.commands import Commands
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.joins import Joins, Waiting
from orchestrator.store.outbox import Pending
from orchestrator.store.triggers import Triggers
from orchestrator.store.values import Trigger

_PARTITION = "schedule"  # where runs by command stand as well
_ACTOR = "callback"  # in the trail
_WITH_TIME = (Origin.SOURCE, Origin.BACKFILL)  # runs whose due time is one of their schedule's


class Chain:
    """Fires triggers, once for each callback: the key of the run is the callback's own."""

    def __init__(
        self,
        triggers: Triggers,
        definitions: Definitions,
        commands: Commands,
        joins: Joins,
        connectors: Mapping[str, Connector],
    ) -> None:
        self._triggers = triggers
        self._definitions = definitions
        self._commands = commands
        self._joins = joins
        self._connectors = connectors

    def fire(self, callback: Pending, delivery: str) -> None:
        """Make the run. Raises Undelivered."""
        trigger, definition = self._ready(str(callback.target["trigger"]))
        key = f"callback-{callback.run_id}-{callback.event}-{delivery[:16]}"
        data = static_data(definition)
        connector = self._connectors.get(definition.kind)
        if isinstance(connector, DemandConnector):
            data = {**_parameters(trigger, definition, connector), "after": _cause(callback)}
        how = definition.admittance
        try:
            self._commands.fire(trigger, _PARTITION, key, how, _ACTOR, data)
        except Conflict:
            return  # it was made before, and the process ended before that was noted

    def arrive(self, word: Pending) -> None:
        """Note that a run which another trigger waits for has succeeded; the last one that it
        waits for makes its run. Raises Undelivered."""
        trigger, definition = self._ready(str(word.target["after"]))
        connector = self._connectors.get(definition.kind)
        if not isinstance(connector, DemandConnector):
            return
        demand = connector.demand(definition.settings)
        said = json.loads(word.payload)
        if said["trigger"] not in demand.after:
            return  # it waited for this one when the run ended, and does no more
        if demand.same_time and said["origin"] not in _WITH_TIME:
            return  # made by hand, for no due time
        waiting = Waiting(
            trigger=trigger,
            partition=_PARTITION,
            names=demand.after,
            same_time=demand.same_time,
            how=definition.admittance,
            data=_parameters(trigger, definition, connector),
        )
        self._joins.arrive(word, waiting)

    def _ready(self, name: str) -> tuple[Trigger, Definition]:
        try:
            trigger = self._triggers.get(name)
        except Missing as error:
            raise Undelivered(str(error), final=True) from error
        if trigger.state is not TriggerState.ACTIVE:
            raise Undelivered(f"trigger {name!r} is {trigger.state}")
        return trigger, self._definitions.get(trigger.definition)


def template_data(connector: DemandConnector, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run that is given no parameters. Raises SettingsError where it needs some."""
    parameters = connector.parameters(settings, {})
    return {"parameters": parameters} if parameters else {}


def _parameters(
    trigger: Trigger, definition: Definition, connector: DemandConnector
) -> dict[str, Any]:
    try:
        return template_data(connector, definition.settings)
    except SettingsError as error:
        reason = f"trigger {trigger.name!r} needs parameters, and this gives it none: {error}"
        raise Undelivered(reason, final=True) from error


def _cause(callback: Pending) -> dict[str, Any]:
    said = json.loads(callback.payload)
    return {
        said["trigger"]: {
            "run": said["run"],
            "key": said["key"],
            "time": said.get("due_at"),
            "state": said.get("state"),
        }
    }
