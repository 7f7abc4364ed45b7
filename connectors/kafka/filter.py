"""Which records are wanted: exact values of the key, of headers, of fields of a JSON value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.matching import Scalars, Texts, check_conditions, fields_match


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
        check_conditions(conditions, "`key`, `header` and `json`")
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
        return fields_match(document, self.json_)


def _is_one_of(raw: bytes, wanted: tuple[str, ...]) -> bool:
    try:
        return raw.decode() in wanted
    except UnicodeDecodeError:
        return False
