"""The keys of a trigger file that belong to the connector ``job``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from connectors.abc import JSON
from connectors.fields import error
from connectors.validation import shown

MAX_AFTER = 50
_LONGEST_NAME = 63


def _schema(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if value is not None:
        from connectors.job.parameters import check_schema

        check_schema(cast("Mapping[str, JSON]", value))
    return value


def _names(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list):
        return names
    found = cast("list[object]", names)
    if len(found) > MAX_AFTER:
        raise error(f"the list has {len(found)} entries", f"write at most {MAX_AFTER}")
    for index, name in enumerate(found):
        if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME:
            raise error(f"{shown(name)} is not a trigger's name", "write its name", f"[{index}]")
        if name in found[:index]:
            raise error(f"{name!r} stands there twice", "remove one of them", f"[{index}]")
    return found


class JobSettings(BaseModel):
    """What a template takes, and what its runs follow."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: Annotated[dict[str, Any] | None, AfterValidator(_schema)] = Field(
        None,
        description="JSON Schema (2020-12) of the parameters, which are an object. Defaults are "
        "filled in; what `writeOnly: true` marks is shown to nobody. Without it a run has none.",
        examples=[
            {
                "properties": {"day": {"type": "string", "default": "today"}},
                "required": ["table"],
            }
        ],
    )
    default: bool = Field(
        False,
        strict=True,
        description="Takes requests that name no template. At most one trigger is the default.",
    )
    after: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        (),
        description="Names of triggers: a run is made each time all of them have succeeded.",
        examples=[["load", "clean"]],
    )
    match: Literal["any", "time"] = Field(
        "any",
        description="With `any` each of `after` has succeeded since the last run; with `time` each "
        "has for the same due time.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> JobSettings:
        if self.match == "time" and not self.after:
            raise error("there is nothing to match", "write `after`, or leave it out", "match")
        return self

    @property
    def hidden(self) -> frozenset[str]:
        """The parameters that are shown to nobody."""
        properties: Any = (self.parameters or {}).get("properties", {})
        return frozenset(
            name
            for name, schema in properties.items()
            if isinstance(schema, dict) and cast("dict[str, Any]", schema).get("writeOnly") is True
        )
