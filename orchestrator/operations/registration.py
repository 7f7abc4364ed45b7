"""Registration: a trigger file becomes a trigger, or a list of problems and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import specs
from connectors.abc import Demand, DemandConnector, Schedule, SourceConnector, TimeConnector
from connectors.queues import QueueConnector
from connectors.services import ServiceConnector
from connectors.streams import StreamConnector
from orchestrator.domain.clock import Clock, to_rfc3339
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import TriggerState
from orchestrator.operations.checking import FileChecker, path_of
from orchestrator.operations.timing import Timing
from orchestrator.services.definitions import Definition, to_body
from orchestrator.services.firing import wake_offset
from orchestrator.store.database import canonical
from orchestrator.store.errors import Conflict, Lost, Missing
from orchestrator.store.follows import AFTER, Edge
from orchestrator.store.triggers import Change, NewPartition, NewTrigger, Triggers, new_uid
from orchestrator.store.values import Trigger

_CHANGE_TRIES = 3
_EVENTS = ("on_success", "on_failure", "on_abort")
PARTITION = "schedule"  # the one partition of a time connector, and where runs by command stand


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A trigger file without a fault: what would be registered."""

    file: specs.TriggerFile
    definition: Definition
    job: str  # canonical JSON
    connector: TimeConnector | SourceConnector | DemandConnector
    schedule: Schedule | None  # of a time connector

    @property
    def demand(self) -> Demand | None:
        """What it says of its runs, where they are asked for one by one."""
        if isinstance(self.connector, DemandConnector):
            return self.connector.demand(self.definition.settings)
        return None

    @cached_property
    def edges(self) -> list[Edge]:
        """What it sets off, and what it waits for."""
        name, policies = self.file.name, self.definition.policies
        found = [
            Edge(source=name, target=callback.trigger, event=event)
            for event in _EVENTS
            for callback in getattr(policies, event)
            if callback.trigger is not None
        ]
        after = self.demand.after if self.demand is not None else ()
        return found + [Edge(source=source, target=name, event=AFTER) for source in after]

    @cached_property
    def body(self) -> str:
        """The definition as the store keeps it: canonical JSON."""
        return canonical(to_body(self.definition))

    @cached_property
    def digest(self) -> str:
        """The hash under which the store keeps it."""
        return _digest(self.body)


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What `apply` did with one file."""

    trigger: Trigger
    action: str  # created, changed, unchanged


class Checker(FileChecker):
    """Checks trigger files and says what would be registered."""

    def check(self, file: specs.TriggerFile, *, base_dir: Path | None) -> Checked:
        """Check everything. Raises SpecError with all problems."""
        checked = self.check_file(file, base_dir=base_dir)
        definition = Definition(
            kind=file.kind,
            settings=file.settings,
            policies=file.policies,
            overlap=Overlap(file.policies.overlap or checked.connector.default_overlap),
            template=_digest(checked.job_text),
            stream=isinstance(checked.connector, StreamConnector),
            queue=isinstance(checked.connector, QueueConnector),
            service=isinstance(checked.connector, ServiceConnector),
            description=file.description,
            labels=file.labels,
        )
        return Checked(
            file=file,
            definition=definition,
            job=checked.job_text,
            connector=checked.connector,
            schedule=checked.schedule,
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Registrar:
    """Registers, changes and compares triggers."""

    def __init__(self, checker: Checker, triggers: Triggers, timing: Timing, clock: Clock) -> None:
        self.checker = checker
        self._triggers = triggers
        self._timing = timing
        self._clock = clock

    def register(self, checked: Sequence[Checked], actor: str) -> list[Trigger]:
        """Register new triggers, all or none. Raises Conflict, SpecError."""
        _refuse_repeated(checked)
        return self.create([self.plan(c) for c in checked], actor)

    def create(self, planned: Sequence[NewTrigger], actor: str) -> list[Trigger]:
        """Register what was planned, all or none. Raises Conflict for a name that exists."""
        return self._triggers.create(planned, actor)

    def plan(self, checked: Checked) -> NewTrigger:
        """A trigger as it would be registered now. Raises SpecError if nothing is due any more."""
        uid = new_uid()
        return NewTrigger(
            name=checked.file.name,
            kind=checked.file.kind,
            definition_hash=checked.digest,
            definition=checked.body,
            template_hash=checked.definition.template,
            job=checked.job,
            uid=uid,
            partitions=self._partitions(checked, uid),
            outside=isinstance(checked.connector, SourceConnector),
            paused=checked.file.policies.paused,
            edges=checked.edges,
            default=checked.demand is not None and checked.demand.default,
        )

    def _partitions(self, checked: Checked, uid: str) -> list[NewPartition]:
        if checked.schedule is not None:
            self._refuse_past(checked, checked.schedule)
            return [self._begin(checked, uid)]
        if checked.demand is not None:
            return [NewPartition(name=PARTITION, planned=None, wake_at=None)]
        return []

    def _refuse_past(self, checked: Checked, schedule: Schedule) -> None:
        """A time that somebody has named and that is over was not meant."""
        now = self._clock.now()
        past = [(place, at) for place, at in schedule.appointments() if at <= now]
        if past:
            raise specs.SpecError(
                [
                    checked.file.problem(
                        path_of(place),
                        f"{to_rfc3339(at)} is over: it is {to_rfc3339(now)}",
                        "Give a time that is still to come",
                    )
                    for place, at in past
                ]
            )

    def _begin(self, checked: Checked, uid: str) -> NewPartition:
        """From now on: what was due before the registration is nobody's."""
        schedule = checked.schedule
        if schedule is None:
            raise TypeError(f"kind {checked.file.kind} has no due times")
        first = schedule.next_after(self._clock.now())
        if first is None:
            path = next(iter(checked.file.settings), "schedule")
            raise specs.SpecError(
                [
                    checked.file.problem(
                        (path,), "nothing is due any more", "Give a time that is still to come"
                    )
                ]
            )
        return NewPartition(
            name=PARTITION, planned=str(first), wake_at=first + wake_offset(uid, schedule)
        )

    def apply(self, checked: Checked, actor: str, *, reset: bool = False) -> Applied:
        """Register a trigger, or bring the one of its name to what the file says.

        Raises Conflict where the change would make another source of it and `reset` is not set.
        """
        for _ in range(_CHANGE_TRIES):
            try:
                return self._apply(checked, actor, reset=reset)
            except Lost:
                continue  # it fired, or somebody changed it, between our look and our write
        raise Conflict(f"trigger {checked.file.name!r} changes all the time: try again")

    def _apply(self, checked: Checked, actor: str, *, reset: bool) -> Applied:
        try:
            trigger = self._triggers.get(checked.file.name)
        except Missing:
            return Applied(trigger=self.register([checked], actor)[0], action="created")
        if trigger.state is TriggerState.DELETING:
            raise Conflict(
                f"trigger {trigger.name!r} is being deleted: wait until its last run has ended"
            )
        if trigger.definition == checked.digest:
            return Applied(trigger=trigger, action="unchanged")
        if trigger.kind != checked.file.kind:
            raise Conflict(
                f"trigger {trigger.name!r} is of kind {trigger.kind}: delete it before you "
                f"register one of kind {checked.file.kind} under its name"
            )
        old = self._triggers.definitions([trigger.definition])[trigger.definition]
        connector = checked.connector
        other_source = connector.identity(old["settings"]) != connector.identity(
            checked.definition.settings
        )
        if other_source and not reset:
            raise Conflict(
                f"the change makes trigger {trigger.name!r} read another source, where its "
                "checkpoints mean nothing: say --reset to begin anew there"
            )
        partitions = None
        if checked.schedule is not None and canonical(old["settings"]) != canonical(
            checked.definition.settings
        ):
            # What came due by the old settings goes into the ledger before the new ones hold.
            self._timing.catch_up(trigger)
            partitions = [self._begin(checked, trigger.uid)]
        change = Change(
            definition_hash=checked.digest,
            definition=checked.body,
            template_hash=checked.definition.template,
            job=checked.job,
            partitions=partitions,
            restart=isinstance(checked.connector, SourceConnector) and other_source,
            edges=checked.edges,
            default=checked.demand is not None and checked.demand.default,
        )
        return Applied(trigger=self._triggers.change(trigger, change, actor), action="changed")


def _refuse_repeated(checked: Sequence[Checked]) -> None:
    seen: set[str] = set()
    for item in checked:
        if item.file.name in seen:
            raise Conflict(f"two of the triggers are called {item.file.name!r}: rename one")
        seen.add(item.file.name)
