"""Triggers as they come over HTTP: whole files, plain jobs with settings beside them, batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import specs
from orchestrator.operations.registration import Checked, Checker
from orchestrator.store.triggers import NewTrigger
from orchestrator.web.body import Body
from orchestrator.web.deps import Deps
from orchestrator.web.problems import Trouble, error, invalid, spec_errors, summary

_PROBLEMS_AT_MOST = 1000
_PARTS = ("kind", "name", "settings", "job")


def read_trigger(
    checker: Checker, body: Body, parameters: Sequence[tuple[str, str]], *, name: str | None = None
) -> Checked:
    """Read and check one trigger. Raises SpecError, Trouble.

    The body is a trigger file; or a plain job, with kind, name, settings and policies as query
    parameters; or `{"kind", "name", "settings": {…}, "job"}`. `name` is that of a file without one.
    """
    document = body.document()
    values = _values(parameters)
    if specs.is_job(document):
        kind, given = values.pop("kind", None), values.pop("name", name)
        if not isinstance(kind, str) or not isinstance(given, str):
            missing = "name" if isinstance(kind, str) else "kind"
            raise invalid(
                missing,
                f"a plain job needs a {missing}",
                "Add ?kind=cron&name=…&schedule=… to the address, or send a trigger file",
            )
        return checker.check(
            checker.wrap(document, kind=kind, name=given, values=values), base_dir=None
        )
    document = _whole(document, name)
    if values:
        document = document.override(values)
    return checker.check(checker.parse(document), base_dir=None)


def _whole(document: specs.Document, name: str | None = None) -> specs.Document:
    """A document in parts made one, and what the request says of it anyway filled in."""
    data = document.data
    added: dict[str, Any] = {}
    settings = data.get("settings")
    if "apiVersion" not in data and "kind" in data:
        added["apiVersion"] = specs.API_VERSION
        if settings is not None:
            return _joined(document, settings, added, name)
    if name is not None and "name" not in data:
        added["name"] = name
    return document.override(added) if added else document


def _joined(
    document: specs.Document, settings: Any, added: dict[str, Any], name: str | None
) -> specs.Document:
    problems: list[specs.Problem] = []
    if not isinstance(settings, dict):
        problems.append(
            document.problem(("settings",), "must be a mapping", 'Send {"schedule": "0 2 * * *"}')
        )
        raise specs.SpecError(problems)
    top = {key: value for key, value in document.data.items() if key != "settings"}
    for key, value in settings.items():  # pyright: ignore[reportUnknownVariableType]
        if key in top or key in _PARTS:
            problems.append(
                document.problem(
                    ("settings", key),  # pyright: ignore[reportUnknownArgumentType]
                    f"{key!r} is not a setting, or stands beside `settings` too",
                    "Say it once",
                )
            )
        top[key] = value
    if problems:
        raise specs.SpecError(problems)
    if name is not None:
        top.setdefault("name", name)
    return specs.Document(data=top | added, file=document.file, places=document.places)


def _values(parameters: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Query parameters as a trigger file's values: JSON where it is JSON, text otherwise."""
    found: dict[str, Any] = {}
    for key, text in parameters:
        if key in found:
            raise invalid(key[:100], "is given twice", 'Give it once; a list as ["…", "…"]')
        found[key] = text if key in ("kind", "name") else _value(text)
    return found


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return specs.from_data({"value": value}, file="query").data["value"]


def plan_batch(d: Deps, body: Body) -> list[NewTrigger]:
    """Read and check a batch. Raises Trouble with every problem; its path begins with the place."""
    return _Batch(d).plan(listed(body))


def listed(body: Body) -> list[Any]:
    """The triggers in the body of a batch. Raises Trouble."""
    data = body.mapping()
    unknown = [key for key in data if key != "triggers"]
    triggers = data.get("triggers")
    if unknown or not isinstance(triggers, list):
        place = unknown[0][:100] if unknown else "triggers"
        raise invalid(
            place,
            "unknown key" if unknown else "the list of triggers is missing",
            'Send {"triggers": [trigger, …]}',
        )
    return triggers  # pyright: ignore[reportUnknownVariableType]


def check_listed(checker: Checker, item: Any, seen: dict[str, specs.TriggerFile]) -> Checked:
    """Check one of the triggers in a batch; `seen` is what its calls share. Raises SpecError."""
    if not isinstance(item, dict):
        problem = specs.Document(data={}, file="batch").problem(
            (), "must be a JSON object", "Send a trigger file"
        )
        raise specs.SpecError([problem])
    document = _whole(specs.Document(data=item, file="batch"))  # pyright: ignore
    return checker.check(checker.parse_like(document, seen), base_dir=None)


class _Batch:
    """Checks the triggers of one request and collects what is wrong with them."""

    def __init__(self, d: Deps) -> None:
        self._d = d
        self._errors: list[dict[str, Any]] = []
        self._conflicts = 0
        self._first: dict[str, int] = {}
        self._seen: dict[str, specs.TriggerFile] = {}

    def plan(self, triggers: Sequence[Any]) -> list[NewTrigger]:
        planned = [n for i, item in enumerate(triggers) if (n := self._one(i, item)) is not None]
        for name in sorted(self._d.triggers.named(list(self._first))):
            self._conflict(
                self._first[name],
                f"trigger {name!r} exists already",
                "Choose another name, change it with PUT, or delete it first",
            )
        if self._errors:
            status = 409 if self._conflicts == len(self._errors) else 422
            raise Trouble(status, summary(self._errors), errors=self._errors)
        return planned

    def _one(self, index: int, item: Any) -> NewTrigger | None:
        place = f"triggers[{index}]"
        if len(self._errors) >= _PROBLEMS_AT_MOST:
            return None
        registrar = self._d.registrar
        try:
            planned = registrar.plan(check_listed(registrar.checker, item, self._seen))
        except specs.SpecError as failure:
            self._errors += spec_errors(failure.problems, place)
            return None
        name = planned.name
        if name in self._first:
            before = self._first[name]
            self._conflict(index, f"{name!r} is also triggers[{before}]", "Rename one of the two")
        else:
            self._first[name] = index
        return planned

    def _conflict(self, index: int, message: str, remedy: str) -> None:
        self._conflicts += 1
        self._errors.append(error(f"triggers[{index}].name", message, remedy))
