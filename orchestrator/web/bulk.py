"""Answers a request that applies many triggers: an item for each, in the order of the request."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import specs
from orchestrator.operations.bulk import Bulk, Refused
from orchestrator.operations.registration import Applied, Checked
from orchestrator.store.errors import Conflict
from orchestrator.web.body import Body
from orchestrator.web.deps import Deps
from orchestrator.web.problems import translate
from orchestrator.web.submitted import check_listed, listed

_ERRORS_AT_MOST = 1000  # in an answer; after that only the first of each trigger is told


def apply_all(d: Deps, body: Body, actor: str, *, reset: bool, dry_run: bool) -> dict[str, Any]:
    """Check and apply each of the triggers in a body. Raises Trouble for the body as a whole."""
    found = _Reader(d, listed(body))
    wanted = list(found.checked.values())
    bulk = Bulk(d.registrar, d.triggers)
    view = _View()
    items = {index: view.failed(name, why) for index, (name, why) in found.refused.items()}
    if dry_run:
        actions = bulk.compare(wanted)
        for (index, one), action in zip(found.checked.items(), actions, strict=True):
            items[index] = {"name": one.file.name, "action": action}
    else:
        answers = bulk.apply(wanted, actor, reset=reset)
        for (index, one), answer in zip(found.checked.items(), answers, strict=True):
            items[index] = view.answer(answer)
            if isinstance(answer, Applied):
                items[index] |= _warned(d, one)
    listing = [items[index] for index in range(len(items))]
    return {"counts": Counter(item["action"] for item in listing), "items": listing}


class _Reader:
    """The triggers of one request by their places in it: those without a fault, and the others."""

    def __init__(self, d: Deps, triggers: list[Any]) -> None:
        self.checked: dict[int, Checked] = {}
        self.refused: dict[int, tuple[str | None, Exception]] = {}
        first: dict[str, int] = {}
        seen: dict[str, specs.TriggerFile] = {}
        for index, item in enumerate(triggers):
            try:
                one = check_listed(d.registrar.checker, item, seen)
            except specs.SpecError as failure:
                self.refused[index] = _name(item), failure
                continue
            name = one.file.name
            if first.setdefault(name, index) != index:
                message = f"{name!r} is also triggers[{first[name]}]: rename one of the two"
                self.refused[index] = name, Conflict(message)
                continue
            self.checked[index] = one


class _View:
    """Items of the answer."""

    def __init__(self) -> None:
        self._room = _ERRORS_AT_MOST

    def answer(self, answer: Applied | Refused) -> dict[str, Any]:
        if isinstance(answer, Refused):
            return self.failed(answer.name, answer.reason)
        trigger = answer.trigger
        return {
            "name": trigger.name,
            "action": answer.action,
            "uid": trigger.uid,
            "version": trigger.version,
        }

    def failed(self, name: str | None, reason: Exception) -> dict[str, Any]:
        """As the problem of a request that asked for this trigger alone."""
        trouble = translate(reason)
        errors = list(trouble.errors[: max(1, self._room)])
        self._room -= len(errors)
        return {
            "name": name,
            "action": "failed",
            "status": trouble.status,
            "detail": trouble.detail,
            "errors": errors,
        }


def _warned(d: Deps, one: Checked) -> dict[str, Any]:
    """What a trigger lacks; nothing where it lacks nothing."""
    job = json.loads(one.job) if "secret" in one.job else None
    warnings = d.advice.warnings(one.file.kind, one.file.settings, job)
    return {"warnings": warnings} if warnings else {}


def _name(item: Any) -> str | None:
    name = item.get("name") if isinstance(item, dict) else None  # pyright: ignore
    return name[:100] if isinstance(name, str) else None
