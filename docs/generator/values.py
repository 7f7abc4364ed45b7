"""Settings of the daemon and keys of a trigger file, from their models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

import specs
from connectors import durations
from connectors.registry import Registry
from generator.markdown import code, page, sentence, table
from orchestrator import config
from orchestrator.operations.checking import known_paths

_INTRODUCTION = (
    "Unknown keys are errors that name the nearest right one. `orch schema KIND` prints the JSON "
    "Schema for editors."
)
_TYPES = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "nothing",
    None: "anything",
}
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
    "trip_after": "So many dead runs in a row pause the trigger, with the last one's reason as its "
    "note. Without it none do. Runs that exist go on; `orch triggers resume` counts from 0 again.",
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
    policies = {key: schema[key] for key in specs.POLICY_KEYS}
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
                (code(key), _value(policy, {}), _default_of(policy), POLICIES[key])
                for key, policy in policies.items()
            ],
        ),
    ]
    for kind in registry.kinds:
        connector = registry.get(kind)
        parts += [f"## Kind `{kind}`", f"{connector.summary[:1].upper()}{connector.summary[1:]}."]
        schema = connector.settings_model.model_json_schema()
        rows = [
            (
                code(key),
                _value(setting, schema.get("$defs", {})),
                _default_of(setting),
                sentence(setting.get("description", "")),
                ", ".join(_shown(example) for example in setting.get("examples", ())),
            )
            for key, setting in schema["properties"].items()
        ]
        parts.append(table(("Key", "Value", "Default", "Meaning", "Examples"), rows))
        paths = ", ".join(code(path) for path in known_paths(registry, kind))
        parts.append(f"Paths for `${{{{ }}}}`: {paths}, `secret.NAME`.")
    return page("Trigger file", *parts)


def _default_of(setting: Mapping[str, Any]) -> str:
    match setting.get("default"):
        case None | False | "" | [] | dict():  # of a mapping each key has its own
            return ""
        case [*items]:
            return ", ".join(map(_shown, items))
        case value:
            return _shown(value)


def _shown(value: Any) -> str:
    """A value as it stands in a trigger file."""
    if isinstance(value, bool | list | dict):
        value = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
        value = value.removesuffix("...\n").strip()
    return code(value)


def _value(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What may be written, from a JSON Schema."""
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        parts = [_value(part, definitions) for part in schema["anyOf"]]
        return " or ".join(dict.fromkeys(part for part in parts if part != "nothing"))
    if "enum" in schema:
        return ", ".join(dict.fromkeys(code(word) for word in schema["enum"]))
    if "const" in schema:
        return code(schema["const"])
    match schema.get("type"):
        case "string":
            return _text(schema)
        case "array":
            kind, *more = _value(schema.get("items", {}), definitions).split(" ", 1)
            return " ".join(["list of", f"{kind}s", *more])
        case "object":
            keys = ", ".join(code(key) for key in schema.get("properties", {}))
            return f"mapping of {keys}" if keys else "mapping"
        case kind:
            return _TYPES[kind]


def _text(schema: Mapping[str, Any]) -> str:
    if schema.get("pattern") == durations.PATTERN or "5m" in schema.get("examples", ()):
        return "duration"
    return "time" if schema.get("format") == "date-time" else "text"
