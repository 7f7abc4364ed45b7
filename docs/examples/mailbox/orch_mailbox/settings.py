"""The keys of a trigger file of kind ``mailbox``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from connectors.abc import JSON, Problem, SettingsError
from connectors.fields import Span, Whole
from connectors.times import SECOND
from connectors.validation import shown, validate


def _path(text: str) -> str:
    if text.startswith("/") and text.isprintable() and len(text) < 1000:
        return text
    remedy = "write an absolute path, such as /srv/mail/orders"
    raise SettingsError([Problem("", f"{shown(text)} is no path of a mailbox", remedy)])


class MailboxSettings(BaseModel):
    """A mailbox, and what becomes of its messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(_path)] = Field(
        description="The Maildir: a directory with cur, new and tmp in it. Absolute.",
        examples=["/srv/mail/orders"],
    )
    every: Annotated[int, Span(low=SECOND // 10, high=3600 * SECOND)] = Field(
        5 * SECOND,
        description="How often it is looked into.",
        examples=["1m"],
        json_schema_extra={"default": "5s"},
    )
    then: Literal["keep", "delete"] = Field(
        "keep",
        description="What becomes of a message whose run has succeeded: it is marked as seen, or"
        " deleted.",
    )
    max_text: Annotated[int, Whole(1, 65_536)] = Field(
        16_384, description="Bytes of a message that are read; what follows is left out."
    )


def parse_settings(raw: Mapping[str, JSON]) -> MailboxSettings:
    """Settings as they stand in a trigger file. Raises SettingsError with all problems."""
    return validate(MailboxSettings, raw)
