"""HTTP API and metrics, as a running orchestrator tells of them."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from generator.markdown import code, page, sentence, table
from orchestrator import logging
from orchestrator import metrics as counts
from orchestrator.app import App
from orchestrator.config import Config

_TRIGGER = {
    "apiVersion": "orch/v1",
    "kind": "cron",
    "name": "example",
    "every": "1h",
    "paused": True,
}
_METHODS = ("get", "post", "put", "delete")
_INTRODUCTION = """
JSON in and out; `/openapi.json` is the machine's form of this page. Lists are
`{"items": […], "next": cursor or null}`; the cursor goes into `?cursor=`. Times are RFC 3339 in
UTC. Errors are RFC 9457 problem details, with `errors: [{path, line, message, remedy}]` where a
document is wrong. Requests with another method than GET need `Content-Type: application/json` (or
`application/yaml` for a trigger file). Once a token exists, every request but `/healthz` and
`/readyz` needs `Authorization: Bearer …`.
"""


@lru_cache(maxsize=1)
def _answers() -> tuple[dict[str, Any], str]:
    """The API's description and its metrics, from an orchestrator started for this."""
    logging.set_up(level="error", json=False, stream=io.StringIO())
    with tempfile.TemporaryDirectory() as directory:
        # Nothing listens at port 1: no cluster is needed for a description.
        config = Config(
            data_dir=Path(directory), listen="127.0.0.1:0", bacalhau="http://127.0.0.1:1"
        )
        app = App(config)
        try:
            app.start()
            url = app.server.url
            # So that metrics by a trigger's state have one to show.
            requests.post(f"{url}/api/v1/triggers", json=_TRIGGER, timeout=30).raise_for_status()
            description = requests.get(f"{url}/openapi.json", timeout=30)
            exposition = requests.get(f"{url}/metrics", timeout=30)
        finally:
            app.stop()
    description.raise_for_status()
    exposition.raise_for_status()
    return description.json(), exposition.text


def http() -> str:
    """Every endpoint."""
    description, _ = _answers()
    parts = [_INTRODUCTION]
    groups: dict[str, list[str]] = {}
    for path, methods in description["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                tag = (operation.get("tags") or ["other"])[0]
                groups.setdefault(tag, []).extend(
                    _operation(f"{method.upper()} {path}", operation, description)
                )
    for tag, lines in groups.items():
        parts += [f"## {tag.capitalize()}", *lines]
    return page("HTTP API", *parts)


def _operation(
    title: str, operation: Mapping[str, Any], description: Mapping[str, Any]
) -> Iterator[str]:
    yield f"### `{title}`"
    yield "\n\n".join(sentence(text) for text in operation.get("description", "").split("\n\n"))
    rows = [
        (code(p["name"]), p["in"], sentence(p.get("description", "")))
        for p in operation.get("parameters", ())
    ]
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolve(content.get("schema", {}), description)
        required = schema.get("required", ())
        if media != "application/json":
            continue
        for name, field in schema.get("properties", {}).items():
            note = sentence(field.get("description", ""))
            rows.append((code(name), "body", "Required. " + note if name in required else note))
    if rows:
        yield table(("Name", "In", "Meaning"), rows)
    answers = [status for status in operation.get("responses", {}) if status.startswith("2")]
    if answers != ["200"]:
        yield f"Answers {', '.join(answers)}."


def _resolve(schema: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = description
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def metrics() -> str:
    """What `/metrics` shows."""
    _, text = _answers()
    rows = [
        (
            code(family.name + ("_total" if family.type == "counter" else "")),
            family.type,
            ", ".join(code(label) for label in _labels(family)),
            sentence(family.documentation),
        )
        for family in sorted(text_string_to_metric_families(text), key=lambda f: f.name)
        if family.name.startswith("orch_")
    ]
    return page(
        "Metrics",
        "`GET /metrics`, in Prometheus' text format. Nothing is labelled by trigger: there may be "
        "a million. The usual `process_…` and `python_…` metrics stand beside these.",
        table(("Name", "Type", "Labels", "Meaning"), rows),
    )


def _labels(family: Any) -> list[str]:
    for counted in vars(counts).values():
        # A counter that nothing was counted on yet shows no labels.
        if getattr(counted, "_name", None) == family.name:
            return sorted(counted._labelnames)
    found = {label for sample in family.samples for label in sample.labels}
    return sorted(found - {"le", "quantile"})
