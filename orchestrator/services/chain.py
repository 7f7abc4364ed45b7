"""Callbacks that are another trigger's job: the end of one run makes a run of another trigger."""

from __future__ import annotations

from orchestrator.domain.states import TriggerState
from orchestrator.services.definitions import Definitions
from orchestrator.services.webhook import Undelivered
from orchestrator.store.commands import Commands
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.outbox import Pending
from orchestrator.store.triggers import Triggers

_PARTITION = "schedule"  # where runs by command stand as well
_ACTOR = "callback"  # in the trail


class Chain:
    """Fires triggers, once for each callback: the key of the run is the callback's own."""

    def __init__(self, triggers: Triggers, definitions: Definitions, commands: Commands) -> None:
        self._triggers = triggers
        self._definitions = definitions
        self._commands = commands

    def fire(self, callback: Pending, delivery: str) -> None:
        """Make the run. Raises Undelivered."""
        name = str(callback.target["trigger"])
        try:
            trigger = self._triggers.get(name)
        except Missing as error:
            raise Undelivered(str(error), final=True) from error
        if trigger.state is not TriggerState.ACTIVE:
            raise Undelivered(f"trigger {name!r} is {trigger.state}")
        how = self._definitions.get(trigger.definition).admittance
        key = f"callback-{callback.run_id}-{callback.event}-{delivery[:16]}"
        try:
            self._commands.fire(trigger, _PARTITION, key, how, _ACTOR)
        except Conflict:
            return  # it was made before, and the process ended before that was noted
