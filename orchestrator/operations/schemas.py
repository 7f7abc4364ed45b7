"""The JSON Schema of a trigger file, made from the connector's settings and the policies."""

from __future__ import annotations

from typing import Any

import specs
from connectors.registry import Registry


def trigger_schema(registry: Registry, kind: str) -> dict[str, Any]:
    """The schema of a trigger file of this kind. Raises UnknownConnectorError."""
    connector = registry.get(kind)
    settings = connector.settings_model.model_json_schema()
    definitions: dict[str, Any] = settings.pop("$defs", {})
    rules = {key: settings[key] for key in ("oneOf", "anyOf", "allOf") if key in settings}
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Trigger of kind {kind}",
        "description": connector.summary,
        "type": "object",
        "properties": {
            "apiVersion": {"const": specs.API_VERSION},
            "kind": {"const": kind},
            "name": {"type": "string", "pattern": specs.NAME_PATTERN},
            "description": {"type": "string", "maxLength": 4096},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            **settings["properties"],
            **specs.policies_schema(),
            "job": specs.job_schema(),
        },
        "required": ["apiVersion", "kind", "name", *settings.get("required", [])],
        "additionalProperties": False,
        **rules,
    }
    if specs.default_job(kind) is None:
        schema["required"].append("job")
    return {**schema, "$defs": definitions} if definitions else schema
