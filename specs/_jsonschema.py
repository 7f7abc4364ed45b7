"""JSON Schemas of jobs and policies, for editors and `orch schema`. The readers check more."""

from __future__ import annotations

from typing import Any

from specs import _schema
from specs._policies import ON_DEAD, OVERLAPS

_DURATION = {"type": "string", "examples": ["200ms", "10s", "5m", "1h30m", "7d"]}
_PLACEHOLDER = {"type": "string", "pattern": r"^\$\{\{.*\}\}$"}


def job_schema() -> dict[str, Any]:
    """The schema of a Bacalhau job in a trigger file."""
    schema = _of(_schema.JOB)
    schema["properties"]["Type"] = {"enum": ["batch", "ops"]}
    return schema


def policies_schema() -> dict[str, Any]:
    """The schemas of the policies, by their keys in a trigger file."""
    callback = {
        "oneOf": [
            _closed({"url": {"type": "string", "format": "uri"}}, ["url"]),
            _closed({"trigger": {"type": "string"}}, ["trigger"]),
        ]
    }
    several = {"anyOf": [callback, {"type": "array", "items": callback}]}
    backoff = {
        "initial": _DURATION,
        "max": _DURATION,
        "factor": {"type": "number", "minimum": 1, "maximum": 100},
    }
    retry = {
        "max_attempts": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 5},
        "max_age": _DURATION,
        "backoff": _closed(backoff),
    }
    return {
        "overlap": {"enum": list(OVERLAPS)},
        "catch_up": {"anyOf": [{"const": "none"}, _DURATION], "default": "10m"},
        "catch_up_limit": {"type": "integer", "minimum": 1},
        "timeout": {**_DURATION, "default": "5m"},
        "queue_timeout": {**_DURATION, "default": "10m"},
        "stop_grace": {**_DURATION, "default": "15s"},
        "retry": _closed(retry),
        "on_dead": {"enum": list(ON_DEAD)},
        "parallelism": {"type": "integer", "minimum": 1, "default": 1},
        "max_in_flight": {"type": "integer", "minimum": 1},
        "trip_after": {"type": "integer", "minimum": 1},
        "rate": {"type": "number", "exclusiveMinimum": 0, "description": "runs per second"},
        "priority": {"type": "integer", "default": 0},
        "allow_shell_data": {"type": "boolean", "default": False},
        "allow_static_secrets": {"type": "boolean", "default": False},
        "paused": {"type": "boolean", "default": False},
        "callbacks": _closed(dict.fromkeys(("on_success", "on_failure", "on_abort"), several)),
    }


def _closed(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": required} if required else schema


def _of(field: _schema.Field) -> dict[str, Any]:
    match field:
        case _schema.Text():
            return {"type": "string"} if field.empty else {"type": "string", "minLength": 1}
        case _schema.Integer():
            number = {"type": "integer", "minimum": field.minimum, "maximum": field.maximum}
            return number if field.fixed else {"anyOf": [number, _PLACEHOLDER]}
        case _schema.Boolean():
            return {"anyOf": [{"type": "boolean"}, _PLACEHOLDER]}
        case _schema.TextMap():
            return {"type": "object", "additionalProperties": _of(field.value)}
        case _schema.ListOf():
            return {"type": "array", "items": _of(field.item)}
        case _schema.Object():
            return _closed({k: _of(v) for k, v in field.keys.items()}, list(field.required))
        case _schema.Typed():
            return {"oneOf": [_typed(name, params) for name, params in field.types.items()]}


def _typed(name: str, params: _schema.Object) -> dict[str, Any]:
    required = ["Type", "Params"] if params.required else ["Type"]
    return _closed({"Type": {"const": name}, "Params": _of(params)}, required)
