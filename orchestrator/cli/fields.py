"""Options made of JSON Schemas: a connector's settings and the policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import typer

import specs
from connectors.abc import Connector
from connectors.fields import SecretName
from orchestrator.operations.checking import foreign_to

_YAML = "YAML"
_SECRET = f"/{SecretName.__name__}"  # the end of a reference to its schema
_TAKEN = frozenset({"name", "spec", "dry_run", "url", "as_json"})

# What the schemas of policies do not say.
_HELP = {
    "overlap": "What happens to a firing while the run before it goes on",
    "catch_up": "How far back missed due times still run, or none",
    "catch_up_limit": "How many missed due times run at most",
    "timeout": "Longest time of one execution",
    "queue_timeout": "Longest wait in the cluster's queue",
    "stop_grace": "Pause between stopping a job and trying again",
    "retry.max_attempts": "Attempts of a run before it is dead",
    "retry.max_age": "No further attempt after this time",
    "retry.backoff.initial": "First pause between attempts",
    "retry.backoff.max": "Longest pause between attempts",
    "retry.backoff.factor": "How much longer each pause is than the one before",
    "on_dead": "What a dead run does to its partition",
    "parallelism": "Runs of a partition at once",
    "max_in_flight": "Runs of this trigger at once",
    "trip_after": "Dead runs in a row that pause it",
    "rate": "Runs a second, at most",
    "priority": "Higher ones go first",
    "allow_shell_data": "Let data from outside into a shell's program text",
    "allow_static_secrets": "Let secrets into the job, which the node keeps for ever",
    "paused": "Register it paused",
    "callbacks.on_success": "Address that is told of runs that succeed",
    "callbacks.on_failure": "Address that is told of runs that are dead",
    "callbacks.on_abort": "Address that is told of runs that are cancelled",
}
_NAMES = {
    "retry.max_attempts": "max_attempts",
    "retry.max_age": "max_age",
    "retry.backoff.initial": "backoff_initial",
    "retry.backoff.max": "backoff_max",
    "retry.backoff.factor": "backoff_factor",
    "callbacks.on_success": "on_success",
    "callbacks.on_failure": "on_failure",
    "callbacks.on_abort": "on_abort",
}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One option: what it is called and where in a trigger file its value stands."""

    name: str
    path: tuple[str, ...]
    kind: Any
    help: str
    metavar: str | None
    mapping: bool = False  # keys with values may be given, as `{a: 1}`
    secret: bool = False  # the name of a secret, which stands in a file as `{secret: NAME}`
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """How it is written: `--max-attempts`."""
        return "--" + self.name.replace("_", "-")

    def option(self) -> Any:
        """It as Typer knows it."""
        written = self.flag
        if self.kind == bool | None:
            written = f"{written}/--no-{written[2:]}"
        return typer.Option(
            written,
            help=self.help,
            metavar=self.metavar,
            show_default=False,
            autocompletion=self._complete if self.choices else None,
        )

    def _complete(self, incomplete: str) -> list[str]:
        return [choice for choice in self.choices if choice.startswith(incomplete)]

    def value(self, given: Any) -> Any:
        """The value for a trigger file."""
        if self.path[0] == "callbacks":
            return {"url": given}
        if isinstance(given, list):
            return [self._one(item) for item in cast(list[Any], given)]
        return self._one(given)

    def _one(self, given: Any) -> Any:
        found = _braced(given) if self.mapping else given
        return {"secret": found} if self.secret and isinstance(found, str) else found


def fields_of(connector: Connector) -> dict[str, Field]:
    """The options of a kind, by the names of their parameters: its settings come first."""
    schema = connector.settings_model.model_json_schema()
    properties: dict[str, Any] = schema["properties"]
    found: dict[str, Field] = {}
    required = schema.get("required", ())
    for key in sorted(properties, key=lambda key: key not in required):
        property_ = properties[key]
        field = _field(key, (key,), property_)
        found[field.name] = field
    foreign = foreign_to(connector).policies
    for key, property_ in specs.policies_schema().items():
        if key in foreign:
            continue
        for path, inner in _leaves((key,), property_):
            field = _field(_NAMES.get(".".join(path), path[-1]), path, inner)
            found.setdefault(field.name, field)
    return found


def _leaves(
    path: tuple[str, ...], schema: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    properties = schema.get("properties")
    if properties is None:
        yield path, schema
        return
    for key, inner in properties.items():
        yield from _leaves((*path, key), inner)


def _field(name: str, path: tuple[str, ...], schema: Mapping[str, Any]) -> Field:
    kind, metavar = _kind(path, schema)
    if name in _TAKEN:
        name = f"{name}_setting"
    text = _HELP.get(".".join(path)) or str(schema.get("description", "")).rstrip(".")
    if metavar == _YAML:
        text += ", in braces as in a trigger file"
    choices = schema.get("enum")
    if choices:
        text += f": {', '.join(map(str, choices))}"
    return Field(
        name=name,
        path=path,
        kind=kind,
        help=f"{text}.{_default(schema.get('default'))}",
        metavar=metavar,
        mapping=any(_is_mapping(v) for v in _variants(schema)),
        secret=_is_secret(schema),
        choices=tuple(map(str, choices or ())),
    )


def _default(value: Any) -> str:
    if isinstance(value, list):
        value = ",".join(map(str, value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if value in (None, False, "", 0) or isinstance(value, dict):
        return ""
    return f" [default {value}]"


def _variants(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [v for v in schema.get("anyOf", [schema]) if v.get("type") != "null"]


def _is_mapping(schema: Mapping[str, Any]) -> bool:
    return "$ref" in schema or schema.get("type") == "object"


def _is_secret(schema: Mapping[str, Any]) -> bool:
    """Whether a setting is the name of a secret, or a list of such names."""
    variants = _variants(schema)
    return bool(variants) and all(
        str(v.get("items", v).get("$ref", "")).endswith(_SECRET) for v in variants
    )


def _braced(text: Any) -> Any:
    """What stands in braces, as in a trigger file; text that is not YAML stays what it is."""
    if not (isinstance(text, str) and text.lstrip().startswith("{")):
        return text
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _kind(path: tuple[str, ...], schema: Mapping[str, Any]) -> tuple[Any, str | None]:
    if path[0] == "callbacks":
        return str | None, "URL"
    variants = _variants(schema)
    types = {v.get("type") for v in variants}
    if _is_secret(schema):
        return (list[str] if "array" in types else str) | None, "NAME"
    if "array" in types:
        return list[str] | None, "TEXT"
    if types == {"boolean"}:
        return bool | None, None
    if types == {"integer"}:
        return int | None, "N"
    if types == {"number"}:
        return float | None, "N"
    if schema.get("enum"):
        return str | None, "WORD"
    if all(_is_mapping(v) for v in variants):
        return str | None, _YAML
    timed = any("pattern" in v or "5m" in v.get("examples", ()) for v in variants)
    return str | None, "TIME" if timed else "TEXT"
