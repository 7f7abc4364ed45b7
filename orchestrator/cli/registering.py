"""Makes a trigger of a file and options, and registers it."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import specs
from connectors.abc import SettingsError, SourceConnector, TimeConnector
from connectors.registry import Registry
from orchestrator.cli import files, output
from orchestrator.cli.errors import USAGE, CliError, say, usage
from orchestrator.cli.fields import Field
from orchestrator.cli.http import Api, Refused
from orchestrator.cli.summary import when_due, yaml_text
from orchestrator.operations.checking import CheckedFile, FileChecker

_PLACE = "command line"
_LONGEST_NAME = 60


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asks for. `given` holds the options by their place in a file."""

    kind: str
    name: str | None
    spec: Path | None
    values: Mapping[tuple[str, ...], Field]
    given: Mapping[tuple[str, ...], Any]


def carry_out(request: Request, *, dry_run: bool, url: str | None, as_json: bool) -> None:
    """Check the trigger here, then register it there."""
    try:
        checked = check(request)
    except specs.SpecError as error:
        raise _told(error, request) from error
    if dry_run:
        _show(checked, as_json=as_json)
        return
    api = Api(url)
    try:
        created = api.post("triggers", files.body_of(checked))
    except Refused as error:
        raise CliError(api.refusal(error)) from error
    if as_json:
        output.as_json(created)
        return
    state = ", paused" if created["state"] == "paused" else ""
    output.line(f"registered {created['name']}: {when_due(checked)}{state}")
    if created["next_at"]:
        output.line(f"next at {output.clock(created['next_at'])} {output.zone()}")
    for warning in created["warnings"]:
        say(f"orch: warning: {warning}")


def check(request: Request) -> CheckedFile:
    """The trigger that the file and the options make. Raises SpecError, CliError."""
    registry = Registry.load()
    checker = FileChecker(registry)
    if request.spec is None:
        return checker.check_file(checker.parse(_bare(registry, request)), base_dir=None)
    source = files.read(request.spec)
    document = files.load(source)
    if specs.is_job(document):
        values = _merged({}, request)
        name = request.name or document.data.get("Name")
        if not isinstance(name, str):
            name = _default_name(registry, request.kind, values)
        file = checker.wrap(document, kind=request.kind, name=name, values=values)
        return checker.check_file(file, base_dir=source.directory)
    written = document.data.get("kind")
    if isinstance(written, str) and written != request.kind and written in registry.kinds:
        raise usage(f"{source.name} is of kind {written}: say `orch register {written} --spec …`")
    document = _overridden(document, request, _exclusive(registry, request.kind))
    return checker.check_file(checker.parse(document), base_dir=source.directory)


def _bare(registry: Registry, request: Request) -> specs.Document:
    values = _merged({}, request)
    name = request.name or _default_name(registry, request.kind, values)
    own = {"apiVersion": specs.API_VERSION, "kind": request.kind, "name": name}
    return specs.from_data({**own, **values}, file=_PLACE)


def _default_name(registry: Registry, kind: str, values: Mapping[str, Any]) -> str:
    """What a trigger without a name is called: its kind and its source, `kafka-logs`."""
    connector = registry.get(kind)
    when: Any = values.get("when")
    if isinstance(connector, TimeConnector) and when:
        return _slug(kind, when if isinstance(when, str) else str(when[0]))
    if not isinstance(connector, SourceConnector):
        raise usage("--name is missing: say what the trigger is to be called")
    try:
        source = connector.identity(
            {key: value for key, value in values.items() if key in _settings(connector)}
        )
    except SettingsError:
        return kind  # what is wrong with the settings is told together with everything else
    return _slug(kind, " ".join(map(str, source.values())))


def _slug(kind: str, text: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", text.lower())
    return f"{kind}-{words}"[:_LONGEST_NAME].strip("-")


def _settings(connector: SourceConnector) -> set[str]:
    fields = connector.settings_model.model_fields
    return {field.alias or name for name, field in fields.items()}


def _merged(data: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """The top-level values that the options change, merged into what stands in a file."""
    changed: dict[str, Any] = {}
    for path, given in request.given.items():
        if given == []:
            continue  # a repeatable option that was not given
        top = path[0]
        if top not in changed and isinstance(data.get(top), dict) and len(path) > 1:
            changed[top] = copy.deepcopy(data[top])
        _put(changed, path, request.values[path].value(given))
    return changed


def _put(mapping: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *above, last = path
    here: Any = mapping
    for key in above:
        if not isinstance(here.get(key), dict):
            here[key] = {}
        here = here[key]
    here[last] = value


def _overridden(
    document: specs.Document, request: Request, groups: list[frozenset[str]]
) -> specs.Document:
    values = _merged(document.data, request)
    if request.name is not None:
        values["name"] = request.name
    # One of several settings that exclude each other takes the place of the others.
    out = {key for group in groups if group & values.keys() for key in group - values.keys()}
    kept = {key: value for key, value in document.data.items() if key not in out}
    return replace(document, data=kept).override(values)


def _exclusive(registry: Registry, kind: str) -> list[frozenset[str]]:
    schema = registry.get(kind).settings_model.model_json_schema()
    names = frozenset(n for one in schema.get("oneOf", []) for n in one.get("required", []))
    return [names] if names else []


def _told(error: specs.SpecError, request: Request) -> CliError:
    """Problems of what stands on the command line name the option; that alone is usage."""
    lines: list[str] = []
    own = 0
    for problem in error.problems:
        field = next((f for p, f in request.values.items() if p == problem.path[: len(p)]), None)
        flag = "--name" if problem.path[:1] == ("name",) else field.flag if field else None
        if problem.line is not None or (problem.path and flag is None):
            lines.append(str(problem))
            continue
        own += 1
        said = specs.sentence(problem.message, problem.remedy)
        if field is not None:
            said = said.replace("stands in the file", "stands on the command line")
            said = said.replace("{secret: NAME}", "NAME") if field.secret else said
        lines.append(f"{flag or _PLACE}: {said}")
    if len(lines) > 1:
        lines.insert(0, f"{len(lines)} problems")
    code = USAGE if own == len(error.problems) else 1
    return CliError("\n".join(lines), code)


def _show(checked: CheckedFile, *, as_json: bool) -> None:
    if as_json:
        output.as_json(checked.stated())
        return
    output.line(f"# would register {checked.file.name}: {when_due(checked)}")
    for line in yaml_text(checked.stated()).splitlines():
        output.line(line)
