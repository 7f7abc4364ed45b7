"""Settings of the daemon and keys of a trigger file, from their models."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from types import UnionType
from typing import Any

import specs
from connectors.registry import Registry
from generator.markdown import code, page, sentence, table
from orchestrator import config
from orchestrator.operations.checking import known_paths

_INTRODUCTION = (
    "Unknown keys are errors that name the nearest right one. `orch schema KIND` prints the JSON "
    "Schema for editors."
)
POLICIES: Mapping[str, str] = {
    "overlap": "What a firing does while earlier runs of its partition are open: `skip` leaves it "
    "out, `queue` lets it wait in line, `queue_one` lets one wait, `replace` cancels the open runs "
    "first, `allow` runs beside them. The connector chooses where nothing is said.",
    "catch_up": "How far back missed due times still run; the latest missed one always runs. "
    "`none`: what was missed is missed.",
    "catch_up_limit": "At most so many missed due times run, the newest.",
    "timeout": "Longest time of one execution.",
    "queue_timeout": "Longest wait for a node; added to `timeout` it is the job's TotalTimeout.",
    "stop_grace": "Time after the deadline, and after a stop, before another attempt.",
    "retry": "`max_attempts` (default 5), `max_age`, and `backoff` with `initial` (1s), `max` (5m) "
    "and `factor` (2). Waits have full jitter.",
    "on_dead": "What a dead run does to its partition, for sources read in order: `block`, `skip` "
    "or `bisect`.",
    "parallelism": "Runs of one partition out of its line at once, with `overlap: queue`.",
    "max_in_flight": "Runs of one partition at once, with `overlap: allow`.",
    "rate": "Runs per second, evenly spaced.",
    "priority": "Higher goes first; a backfill goes 100 below.",
    "allow_shell_data": "Take data from outside in a shell's program text.",
    "allow_static_secrets": "Take `${{ secret.NAME }}`, which the node keeps and shows.",
    "paused": "Register without making firings.",
    "callbacks": "`on_success`, `on_failure`, `on_abort`: each one or several of `{url: …}` and "
    "`{trigger: …}`.",
}


def settings() -> str:
    """What `orch serve` takes."""
    rows: list[tuple[str, ...]] = []
    for name, field in config.Config.model_fields.items():
        option = "" if name in config.SECRETS else code(config.option_name(name))
        rows.append(
            (
                code(name),
                option,
                code(config.variable_name(name)),
                _default(name, field.default),
                sentence(field.description or ""),
            )
        )
    return page(
        "Settings of the daemon",
        "An option wins over an environment variable, that over `orch.yaml` (in the working "
        "directory, or where `--config` or `ORCH_CONFIG` points). Unknown keys of the file are "
        "errors. Durations are written `200ms`, `10s`, `5m`, `1h30m`, `7d`. Settings without an "
        "option are secrets: a command line can be read by every user of the machine.",
        table(("Key of orch.yaml", "Option", "Variable", "Default", "Meaning"), rows),
    )


def _default(name: str, value: Any) -> str:
    if value is None:
        return ""
    if config.is_duration(name):
        return code(specs.format_duration(value))
    return code(str(value).lower() if isinstance(value, bool) else value)


def trigger_file() -> str:
    """Keys of a trigger file."""
    registry = Registry.load()
    schema = specs.policies_schema()
    parts = [
        _INTRODUCTION,
        "## Keys of every kind",
        table(
            ("Key", "Meaning"),
            [
                (code("apiVersion"), f"Always {code(specs.API_VERSION)}"),
                (code("kind"), f"The connector: {', '.join(code(k) for k in registry.kinds)}"),
                (code("name"), f"Name of the trigger: {code(specs.NAME_PATTERN)}"),
                (code("description"), "For people"),
                (code("labels"), "Texts by name, for people and selectors"),
                (code("job"), "A Bacalhau job; see [job templates](../job-templates.md)"),
            ],
        ),
        "## Policies",
        table(
            ("Key", "Value", "Default", "Meaning"),
            [
                (code(key), _kind(schema[key]), _shown(schema[key].get("default")), POLICIES[key])
                for key in specs.POLICY_KEYS
            ],
        ),
    ]
    for kind in registry.kinds:
        connector = registry.get(kind)
        parts += [f"## Kind `{kind}`", f"{connector.summary[:1].upper()}{connector.summary[1:]}."]
        rows = [
            (
                code(key),
                _type(field.annotation),
                _shown(None if field.is_required() else field.default),
                sentence(field.description or ""),
                ", ".join(_shown(example) for example in field.examples or ()),
            )
            for key, field in connector.settings_model.model_fields.items()
        ]
        parts.append(table(("Key", "Value", "Default", "Meaning", "Examples"), rows))
        paths = ", ".join(code(path) for path in known_paths(registry, kind))
        parts.append(f"Paths for `${{{{ }}}}`: {paths}, `secret.NAME`.")
    return page("Trigger file", *parts)


def _shown(value: Any) -> str:
    if value is None or value == 0:
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(value)


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(code(word) for word in schema["enum"])
    if "anyOf" in schema:
        return ", ".join(_kind(part) for part in schema["anyOf"])
    if "const" in schema:
        return code(schema["const"])
    if schema.get("type") == "string":
        return "duration"
    return {"integer": "whole number", "boolean": "true or false", "object": "mapping"}.get(
        str(schema.get("type")), str(schema.get("type", ""))
    )


def _type(annotation: Any) -> str:
    if typing.get_origin(annotation) in (UnionType, typing.Union):
        return " or ".join(_type(a) for a in typing.get_args(annotation) if a is not type(None))
    if typing.get_origin(annotation) is typing.Annotated:
        return _type(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is tuple:
        return "text or list of texts"
    return {int: "duration", str: "text"}.get(annotation, str(annotation))
