"""Due times by command: take in what is due, resume, fire now, fill gaps."""

from __future__ import annotations

import secrets
from dataclasses import replace

from connectors.abc import DemandConnector, Schedule, TimeConnector
from connectors.registry import Registry
from connectors.times import key
from orchestrator.domain.clock import Clock, to_rfc3339
from orchestrator.domain.states import TriggerState
from orchestrator.operations.resuming import Resumed, next_firing, passed
from orchestrator.services.chain import template_data
from orchestrator.services.definitions import Definition, Definitions
from orchestrator.services.firing import plan, static_data, wake_offset
from orchestrator.store.commands import Backfilled, Commands, Gap
from orchestrator.store.errors import Conflict
from orchestrator.store.intake import Intake
from orchestrator.store.triggers import Appointment, Triggers
from orchestrator.store.values import DuePartition, Trigger

BACKFILL_AT_MOST = 100_000  # due times a command


class Timing:
    """Commands on triggers whose events are due times."""

    def __init__(
        self,
        *,
        registry: Registry,
        definitions: Definitions,
        triggers: Triggers,
        intake: Intake,
        commands: Commands,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._definitions = definitions
        self._triggers = triggers
        self._intake = intake
        self._commands = commands
        self._clock = clock

    def schedule(self, trigger: Trigger) -> tuple[Definition, Schedule]:
        """A trigger's definition and schedule."""
        definition = self._definitions.get(trigger.definition)
        connector = self._registry.get(definition.kind)
        if not isinstance(connector, TimeConnector):
            raise Conflict(f"trigger {trigger.name!r} of kind {trigger.kind} has no due times")
        return definition, connector.schedule(definition.settings)

    def catch_up(self, trigger: Trigger) -> None:
        """Take in everything that is due by now; what came due in a pause is left out."""
        definition, schedule = self.schedule(trigger)
        paused = trigger.state is TriggerState.PAUSED
        for partition in self._intake.of_trigger(trigger.uid):
            self._take_in(partition, definition, schedule, skip="paused" if paused else "")

    def _take_in(
        self, partition: DuePartition, definition: Definition, schedule: Schedule, *, skip: str
    ) -> None:
        while True:
            batch = plan(partition, definition, schedule, self._clock.now())
            if not batch.firings:
                return
            if skip:
                firings = [replace(firing, skip=skip) for firing in batch.firings]
                batch = replace(batch, firings=firings, wake_at=partition.wake_at)
            self._intake.take_in([batch])
            following = [
                p
                for p in self._intake.of_trigger(partition.trigger_uid)
                if p.name == partition.name
            ]
            if not following:
                return
            partition = following[0]

    def resume(self, name: str, *, skip: bool, actor: str) -> Resumed:
        """Make firings again. What came due meanwhile follows `catch_up`, or is left out."""
        trigger = self._triggers.get(name)
        connector = self._registry.get(trigger.kind)
        if isinstance(connector, DemandConnector):
            return Resumed(trigger=self._triggers.resume(name, {}, actor))
        definition = self._definitions.get(trigger.definition)
        if definition.outside:
            if skip and not definition.service:
                raise Conflict(
                    f"trigger {name!r} goes on from where its source was left: to leave events out "
                    "of a stream, set its checkpoints forward (`orch checkpoints set`) before you "
                    "resume it"
                )
            return Resumed(trigger=self._triggers.resume(name, {}, actor))
        _, schedule = self.schedule(trigger)
        now = self._clock.now()
        before = self._intake.of_trigger(trigger.uid)
        if skip and trigger.state is TriggerState.PAUSED:
            self.catch_up(trigger)
        offset = wake_offset(trigger.uid, schedule)
        wake = {p.name: int(p.planned) + offset for p in self._intake.of_trigger(trigger.uid)}
        resumed = self._triggers.resume(name, wake, actor)
        if not before:
            return Resumed(trigger=resumed)
        return Resumed(
            trigger=resumed,
            next_at=next_firing(before[0], schedule, now),
            passed=passed(before[0], definition, schedule, now, skip=skip)
            if trigger.state is TriggerState.PAUSED
            else None,
        )

    def fire(self, name: str, actor: str) -> str:
        """Make a run now, beside the schedule. Returns its id."""
        trigger = self._triggers.get(name)
        definition = self._definitions.get(trigger.definition)
        if definition.outside:
            if definition.service:
                raise Conflict(f"trigger {name!r} is a service: its copies run by themselves")
            again = "pause it and set its checkpoints back (`orch checkpoints set`)"
            if definition.queue:
                again = "let their runs run again (`orch runs retry`)"
            raise Conflict(
                f"trigger {name!r} of kind {trigger.kind} runs for the events of its source: to "
                f"run them again, {again}"
            )
        unique = f"fire-{to_rfc3339(self._clock.now())}-{secrets.token_hex(4)}"
        connector = self._registry.get(definition.kind)
        data = static_data(definition)
        if isinstance(connector, DemandConnector):
            data = template_data(connector, definition.settings)
        return self._commands.fire(trigger, "schedule", unique, definition.admittance, actor, data)

    def delete(self, name: str, *, cancel: bool, actor: str) -> Trigger:
        """Make no firings any more. Appointments that have not fired are called off: their runs
        come into the ledger as cancelled, and `on_abort` is told."""
        trigger = self._triggers.get(name)
        appointments: list[Appointment] = []
        if isinstance(self._registry.get(trigger.kind), TimeConnector):
            definition, schedule = self.schedule(trigger)
            appointments = [
                Appointment(key=key(at), due_at=at, data=static_data(definition))
                for _, at in schedule.appointments()
            ]
        return self._triggers.delete(name, cancel=cancel, actor=actor, appointments=appointments)

    def backfill(
        self, name: str, since: int, until: int, actor: str, *, dry_run: bool = False
    ) -> Backfilled:
        """Run the due times in [since, until) that have not run. Raises Conflict."""
        trigger = self._triggers.get(name)
        definition, schedule = self.schedule(trigger)
        now = self._clock.now()
        if since >= until:
            raise Conflict("the window is empty: --since must be before --until")
        if until > now:
            raise Conflict(
                f"the window ends in the future ({to_rfc3339(until)}): the schedule itself takes "
                "care of what is to come"
            )
        gaps: list[Gap] = []
        due = schedule.next_after(since - 1)
        while due is not None and due < until:
            gaps.append(Gap(key=key(due), due_at=due))
            if len(gaps) > BACKFILL_AT_MOST:
                raise Conflict(
                    f"the window holds more than {BACKFILL_AT_MOST:,} due times: choose a smaller"
                )
            due = schedule.next_after(due)
        return self._commands.backfill(
            trigger, "schedule", gaps, definition.admittance, actor, dry_run=dry_run
        )
