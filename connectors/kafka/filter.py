"""Which records are wanted: exact values of the key, of headers, of fields of a JSON value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from connectors.fields import error
from connectors.validation import shown

Scalar: TypeAlias = str | int | float | bool | None
_MAX_VALUES = 1_000
_MAX_CONDITIONS = 20


def _scalars(value: object) -> tuple[Scalar, ...]:
    values = tuple(cast(Sequence[object], value)) if isinstance(value, list | tuple) else (value,)
    if not 1 <= len(values) <= _MAX_VALUES:
        raise error(f"the list has {len(values)} values", f"write 1 to {_MAX_VALUES} of them")
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
    several = {"type": "array", "items": schema, "minItems": 1, "maxItems": _MAX_VALUES}
    return WithJsonSchema({"anyOf": [schema, several]})


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), _one_or_several({"type": "string"})]
Scalars = Annotated[
    tuple[Scalar, ...],
    BeforeValidator(_scalars),
    _one_or_several({"type": ["string", "number", "boolean", "null"]}),
]


class Filter(BaseModel):
    """All conditions must hold; of a list of values, one is enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Texts | None = Field(
        None, description="The record's key, as text.", examples=["berlin", ["berlin", "paris"]]
    )
    header: Mapping[str, Texts] = Field(
        default={},
        description="Headers by name; of several with one name, any may match.",
        examples=[{"type": "order"}],
    )
    json_: Mapping[str, Scalars] = Field(
        default={},
        alias="json",
        description="Fields of a value that is JSON, by dotted path; a number is an index.",
        examples=[{"user.country": ["DE", "FR"]}],
    )

    @model_validator(mode="after")
    def _says_something(self) -> Filter:
        conditions = (self.key is not None) + len(self.header) + len(self.json_)
        if not 1 <= conditions <= _MAX_CONDITIONS:
            raise error(
                f"the filter has {conditions} conditions",
                f"write 1 to {_MAX_CONDITIONS} under `key`, `header` and `json`",
            )
        return self

    def matches(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
    ) -> bool:
        """Whether a record is wanted. Never raises: a value that is not JSON does not match."""
        if self.key is not None and (key is None or not _is_one_of(key, self.key)):
            return False
        for name, wanted in self.header.items():
            if not any(n == name and v is not None and _is_one_of(v, wanted) for n, v in headers):
                return False
        return not self.json_ or self._json_matches(value)

    def _json_matches(self, value: bytes | None) -> bool:
        try:
            document: object = json.loads(value or b"")
        except (ValueError, RecursionError):
            return False
        return all(_at(document, path, wanted) for path, wanted in self.json_.items())


def _is_one_of(raw: bytes, wanted: tuple[str, ...]) -> bool:
    try:
        return raw.decode() in wanted
    except UnicodeDecodeError:
        return False


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
