"""Which messages are wanted: exact values of attributes, and of fields of a body that is JSON."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.abc import JSON
from connectors.matching import Scalars, Texts, check_conditions, fields_match


class Filter(BaseModel):
    """All conditions must hold; of a list of values, one is enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: Mapping[str, Texts] = Field(
        default={},
        description="Message attributes by name, as text; one that is missing does not match.",
        examples=[{"type": ["order", "refund"]}],
    )
    json_: Mapping[str, Scalars] = Field(
        default={},
        alias="json",
        description="Fields of a body that is JSON, by dotted path; a number is an index.",
        examples=[{"user.country": ["DE", "FR"]}],
    )

    @model_validator(mode="after")
    def _says_something(self) -> Filter:
        check_conditions(len(self.attribute) + len(self.json_), "`attribute` and `json`")
        return self

    @property
    def reads_body(self) -> bool:
        """Whether bodies have to be parsed."""
        return bool(self.json_)

    def matches(self, attributes: Mapping[str, JSON], document: object) -> bool:
        """Whether a message is wanted; `document` is what its body says, the text itself where it
        is no JSON."""
        for name, wanted in self.attribute.items():
            if attributes.get(name) not in wanted:
                return False
        return fields_match(document, self.json_)
