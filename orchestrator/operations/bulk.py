"""Many triggers brought to what their files say, each whole or not at all.

Those that are as they should be cost one indexed read together and no write. New ones share a
transaction by the thousand; a killed request has carried out some of them, and the same request
again does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import specs
from orchestrator.domain.states import TriggerState
from orchestrator.operations.registration import Applied, Checked, Registrar
from orchestrator.store.errors import Conflict, Lost
from orchestrator.store.triggers import NewTrigger, Triggers
from orchestrator.store.values import Trigger

_AT_ONCE = 1000  # new triggers a transaction: what else is to be written waits as long

_SIDE_BY_SIDE = 4  # changes: each reads the store, too, and others want to


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A trigger that stays as it was, or unregistered, and why."""

    name: str
    reason: Exception


class Bulk:
    """Applies many trigger files."""

    def __init__(self, registrar: Registrar, triggers: Triggers) -> None:
        self._registrar = registrar
        self._triggers = triggers

    def compare(self, wanted: Sequence[Checked]) -> list[str]:
        """What `apply` would do with each: created, changed, unchanged. Writes nothing."""
        known = self._triggers.named([one.file.name for one in wanted])
        return [_action(one, known) for one in wanted]

    def apply(
        self, wanted: Sequence[Checked], actor: str, *, reset: bool = False
    ) -> list[Applied | Refused]:
        """Register or change triggers with names of their own; an answer for each, in order."""
        known = self._triggers.named([one.file.name for one in wanted])
        answers: dict[str, Applied | Refused] = {}
        new: list[Checked] = []
        changed: list[Checked] = []
        for one in wanted:
            name = one.file.name
            match _action(one, known):
                case "unchanged":
                    answers[name] = Applied(trigger=known[name], action="unchanged")
                case "created":
                    new.append(one)
                case _:
                    changed.append(one)
        for answer in self._create(new, actor, reset=reset):
            answers[_name(answer)] = answer
        for answer in self._change(changed, actor, reset=reset):
            answers[_name(answer)] = answer
        return [answers[one.file.name] for one in wanted]

    def _create(
        self, new: Sequence[Checked], actor: str, *, reset: bool
    ) -> Iterator[Applied | Refused]:
        for start in range(0, len(new), _AT_ONCE):
            chunk = new[start : start + _AT_ONCE]
            planned: list[NewTrigger] = []
            for one in chunk:
                try:
                    planned.append(self._registrar.plan(one))
                except specs.SpecError as error:
                    yield Refused(name=one.file.name, reason=error)
            if not planned:
                continue
            try:
                created = self._registrar.create(planned, actor)
            except Conflict:
                # Somebody registered one of these names meanwhile: that one is to be compared.
                by_name = {one.file.name: one for one in chunk}
                for plan in planned:
                    yield self._one(by_name[plan.name], actor, reset=reset)
                continue
            for trigger in created:
                yield Applied(trigger=trigger, action="created")

    def _change(
        self, changed: Sequence[Checked], actor: str, *, reset: bool
    ) -> Iterable[Applied | Refused]:
        """Each has its own versions and checkpoints; side by side, they share commits."""
        change = partial(self._one, actor=actor, reset=reset)
        if len(changed) <= 1:
            return map(change, changed)
        with ThreadPoolExecutor(_SIDE_BY_SIDE, "apply") as pool:
            return list(pool.map(change, changed))

    def _one(self, checked: Checked, actor: str, *, reset: bool) -> Applied | Refused:
        try:
            return self._registrar.apply(checked, actor, reset=reset)
        except (specs.SpecError, Conflict, Lost) as error:
            return Refused(name=checked.file.name, reason=error)


def _action(checked: Checked, known: Mapping[str, Trigger]) -> str:
    trigger = known.get(checked.file.name)
    if trigger is None:
        return "created"
    same = trigger.definition == checked.digest and trigger.state is not TriggerState.DELETING
    return "unchanged" if same else "changed"


def _name(answer: Applied | Refused) -> str:
    return answer.name if isinstance(answer, Refused) else answer.trigger.name
