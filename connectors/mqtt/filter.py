"""Which messages are wanted: values of user properties, of levels of the topic, of JSON fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.fields import error
from connectors.matching import Scalars, Texts, check_conditions, fields_match
from connectors.validation import shown


class Filter(BaseModel):
    """All conditions must hold; of a list of values, one is enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    property_: Mapping[str, Texts] = Field(
        default={},
        alias="property",
        description="User properties by name (MQTT 5); one that is missing does not match.",
        examples=[{"type": ["order", "refund"]}],
    )
    level: Mapping[str, Texts] = Field(
        default={},
        description="Levels of the topic by number, from 0.",
        examples=[{"1": ["berlin", "rome"]}],
    )
    json_: Mapping[str, Scalars] = Field(
        default={},
        alias="json",
        description="Fields of a body that is JSON, by dotted path; a number is an index.",
        examples=[{"user.country": ["DE", "FR"]}],
    )

    @field_validator("level")
    @classmethod
    def _numbered(cls, levels: Mapping[str, Texts]) -> Mapping[str, Texts]:
        for number in levels:
            if not (number.isascii() and number.isdecimal() and len(number) <= 4):
                raise error(f"{shown(number)} is not the number of a level", "write 0, 1, …")
        return levels

    @model_validator(mode="after")
    def _says_something(self) -> Filter:
        count = len(self.property_) + len(self.level) + len(self.json_)
        check_conditions(count, "`property`, `level` and `json`")
        return self

    @property
    def reads_body(self) -> bool:
        """Whether bodies have to be parsed."""
        return bool(self.json_)

    def matches(
        self, levels: Sequence[str], properties: Mapping[str, object], document: object
    ) -> bool:
        """Whether a message is wanted; `document` is what its body says, or the text itself."""
        for number, wanted in self.level.items():
            if int(number) >= len(levels) or levels[int(number)] not in wanted:
                return False
        for name, wanted in self.property_.items():
            value = properties.get(name)
            if value not in wanted:
                return False
        return fields_match(document, self.json_)
