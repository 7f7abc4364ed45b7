"""Conditions of filters: exact values of texts, and of fields of a JSON document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias, cast

from pydantic import BeforeValidator, WithJsonSchema

from connectors.fields import error
from connectors.validation import shown

Scalar: TypeAlias = str | int | float | bool | None
MAX_VALUES = 1_000
MAX_CONDITIONS = 20


def _scalars(value: object) -> tuple[Scalar, ...]:
    values = tuple(cast(Sequence[object], value)) if isinstance(value, list | tuple) else (value,)
    if not 1 <= len(values) <= MAX_VALUES:
        raise error(f"the list has {len(values)} values", f"write 1 to {MAX_VALUES} of them")
    for one in values:
        if not isinstance(one, str | int | float | bool | None):
            raise error(f"{shown(one)} is not a plain value", "write text, a number, true or null")
    return cast(tuple[Scalar, ...], values)


def _texts(value: object) -> tuple[str, ...]:
    values = _scalars(value)
    for one in values:
        if not isinstance(one, str):
            raise error(f"{shown(one)} is not text", "write it in quotes")
    return cast(tuple[str, ...], values)


def _one_or_several(schema: dict[str, object]) -> WithJsonSchema:
    several = {"type": "array", "items": schema, "minItems": 1, "maxItems": MAX_VALUES}
    return WithJsonSchema({"anyOf": [schema, several]})


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), _one_or_several({"type": "string"})]
"""One text or several, of which one is enough."""
Scalars = Annotated[
    tuple[Scalar, ...],
    BeforeValidator(_scalars),
    _one_or_several({"type": ["string", "number", "boolean", "null"]}),
]
"""One plain value or several, of which one is enough."""


def check_conditions(count: int, keys: str) -> None:
    """Raises :class:`connectors.abc.SettingsError` for a filter that says nothing, or too much."""
    if not 1 <= count <= MAX_CONDITIONS:
        raise error(
            f"the filter has {count} conditions", f"write 1 to {MAX_CONDITIONS} under {keys}"
        )


def fields_match(document: object, wanted: Mapping[str, tuple[Scalar, ...]]) -> bool:
    """Whether a JSON document has one of the values at each dotted path; a number in a path is an
    index into a list."""
    return all(_at(document, path, values) for path, values in wanted.items())


def _at(document: object, path: str, wanted: tuple[Scalar, ...]) -> bool:
    found = document
    for part in path.split("."):
        if isinstance(found, dict):
            fields = cast(dict[str, object], found)
            if part not in fields:
                return False
            found = fields[part]
        elif isinstance(found, list) and part.isascii() and part.isdecimal() and len(part) < 10:
            items = cast(list[object], found)
            if int(part) >= len(items):
                return False
            found = items[int(part)]
        else:
            return False
    # True == 1 in Python, but not in JSON.
    return any(found == one and isinstance(found, bool) == isinstance(one, bool) for one in wanted)
