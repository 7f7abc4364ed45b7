"""The keys of a trigger file that belong to the sns connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.abc import JSON, Problem, SettingsError
from connectors.aws.fields import Endpoint
from connectors.fields import Span, error
from connectors.sns import topics
from connectors.storage import address
from connectors.times import DAY, MINUTE
from connectors.validation import shown, validate

MAX_TOPICS = 100


def _topics(arns: tuple[str, ...]) -> tuple[str, ...]:
    problems: list[Problem] = []
    if not 1 <= len(arns) <= MAX_TOPICS:
        problems.append(Problem("", f"there are {len(arns)} topics", f"write 1 to {MAX_TOPICS}"))
    for at, arn in enumerate(arns):
        if topics.parse(arn) is None:
            remedy = "write arn:aws:sns:REGION:ACCOUNT:NAME"
            problems.append(Problem(f"[{at}]", f"{shown(arn)} is no ARN of a topic", remedy))
        elif arn.endswith(".fifo"):
            remedy = "subscribe a queue, and use kind: sqs"
            problems.append(Problem(f"[{at}]", "FIFO topics do not deliver over HTTP", remedy))
        elif arn in arns[:at]:
            problems.append(Problem(f"[{at}]", f"{shown(arn)} stands there twice", "leave it out"))
    if problems:
        raise SettingsError(problems)
    return arns


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.path or not text.isascii():
        raise error(f"{shown(text)} has more than an address", "write http://HOST:PORT")
    return text


def _storage(text: str) -> str:
    address.parse(text)
    return text


class SnsSettings(BaseModel):
    """Which topics may bring their notifications, and what of them becomes an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: Annotated[tuple[str, ...], AfterValidator(_topics)] = Field(
        description="ARNs of the topics whose notifications are taken. A subscription to one of"
        " them is confirmed; all others are refused.",
        examples=[["arn:aws:sns:eu-central-1:123456789012:orders"]],
    )
    endpoint: Annotated[Endpoint, AfterValidator(_origin)] | None = Field(
        None,
        description="Address of a service that is not AWS's own: certificates and confirmations"
        " are fetched from there and nowhere else, and whatever certificate is there is right.",
        examples=["http://127.0.0.1:4566"],
    )
    body: Literal["text", "json"] = Field(
        "text",
        description="`text`: a task gets a message as a text. `json`: a message that is JSON as"
        " what it says; one that is not stays a text.",
    )
    attributes: bool = Field(
        False,
        description="Whether the task gets the message's attributes, in `event.attributes`. SNS"
        " does not sign them.",
        examples=[True],
    )
    require_v2: bool = Field(
        False,
        description="Refuse signatures of version 1, which are made with SHA-1. The topic's"
        " SignatureVersion has to be 2.",
        examples=[True],
    )
    tolerance: Annotated[int, Span(low=MINUTE, high=7 * DAY)] = Field(
        120 * MINUTE,
        description="How old a notification may be. SNS tries up to an hour to deliver one.",
        examples=["1h"],
        json_schema_extra={"default": "2h"},
    )
    dedup_window: Annotated[int, Span(low=MINUTE, high=30 * DAY)] = Field(
        DAY,
        description="How long after its run has ended a notification is still known.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )
    storage: Annotated[str, AfterValidator(_storage)] | None = Field(
        None,
        description="Where messages go that are too large to travel within the job: a directory"
        " that the nodes share, a bucket, or IPFS.",
        examples=["/srv/orch", "s3://bucket/prefix?region=eu-central-1"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long such an object is kept once its run has ended.",
        examples=["6h"],
        json_schema_extra={"default": "1d"},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> SnsSettings:
        problems: list[Problem] = []
        if self.dedup_window < 2 * self.tolerance:
            message = "a notification could come again once it is forgotten"
            remedy = "write at least twice the `tolerance`"
            problems.append(Problem("dedup_window", message, remedy))
        if self.storage is None and "keep" in self.model_fields_set:
            message = "does nothing without `storage`"
            problems.append(Problem("keep", message, "leave it out, or set `storage`"))
        if problems:
            raise SettingsError(problems)
        return self


def parse_settings(raw: Mapping[str, JSON]) -> SnsSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(SnsSettings, raw)
