"""What a trigger lacks that its file cannot show: secrets that it names and nobody has set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pydantic

import specs
from connectors.fields import SecretName
from connectors.registry import Registry, UnknownConnectorError

_MENTION = "secret"  # nothing that names one is without this word


class Advice:
    """Warnings about triggers. They change nothing: a secret may be set later."""

    def __init__(self, registry: Registry, secrets: Mapping[str, str]) -> None:
        self._registry = registry
        self._secrets = secrets

    def warnings(
        self, kind: str, settings: Mapping[str, Any], job: Mapping[str, Any] | None = None
    ) -> list[str]:
        """One sentence for each secret that is not there, with the place that names it."""
        places: dict[str, str] = {}
        for place, name in (*self._of_settings(kind, settings), *_of_job(job or {})):
            places.setdefault(name, place)
        return [
            f"{place}: there is no secret {name!r}: set ORCH_SECRET_{name}, or write the file "
            f"secrets/{name} in the data directory"
            for name, place in places.items()
            if name not in self._secrets
        ]

    def _of_settings(self, kind: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if _MENTION not in json.dumps(settings, default=str):
            return
        try:
            model = self._registry.get(kind).settings_model
            yield from _named(model.model_validate(settings), "")
        except (UnknownConnectorError, pydantic.ValidationError):
            return  # by a version of the connector that is not installed: its source tells so


def _named(value: object, place: str) -> Iterator[tuple[str, str]]:
    """The secrets that settings name, each with its place."""
    if isinstance(value, SecretName):
        yield place, value.secret
    elif isinstance(value, pydantic.BaseModel):
        for key, field in type(value).model_fields.items():
            name = field.alias or key
            yield from _named(getattr(value, key), f"{place}.{name}" if place else name)
    elif isinstance(value, Mapping):
        for key, item in cast(Mapping[str, object], value).items():
            yield from _named(item, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for item in cast(Sequence[object], value):
            yield from _named(item, place)


def _of_job(job: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for placeholder in specs.placeholders(job):
        head, _, name = placeholder.expression.partition(".")
        if head == _MENTION and name:
            yield specs.dotted(("job", *placeholder.path)), name
