"""The keys of a trigger file that belong to the sns connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.abc import JSON, Problem, SettingsError
from connectors.aws.address import QueueAddress, parse_queue
from connectors.aws.fields import Endpoint
from connectors.fields import Span, Whole, error
from connectors.queues import Gathering
from connectors.sns import topics
from connectors.storage.fields import Storage
from connectors.times import DAY, MINUTE, SECOND
from connectors.validation import shown, validate

MAX_TOPICS = 100
_OF_HTTP = ("tolerance", "require_v2")
_OF_SQS = ("queue", "subscribe", "raw", "batch_size", "batch_window", "max_pollers")


def _topics(arns: tuple[str, ...]) -> tuple[str, ...]:
    problems: list[Problem] = []
    if not 1 <= len(arns) <= MAX_TOPICS:
        problems.append(Problem("", f"there are {len(arns)} topics", f"write 1 to {MAX_TOPICS}"))
    for at, arn in enumerate(arns):
        if topics.parse(arn) is None:
            remedy = "write arn:aws:sns:REGION:ACCOUNT:NAME"
            problems.append(Problem(f"[{at}]", f"{shown(arn)} is no ARN of a topic", remedy))
        elif arn in arns[:at]:
            problems.append(Problem(f"[{at}]", f"{shown(arn)} stands there twice", "leave it out"))
    if problems:
        raise SettingsError(problems)
    return arns


def _queue(text: str) -> str:
    parse_queue(text)
    return text


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.path or not text.isascii():
        raise error(f"{shown(text)} has more than an address", "write http://HOST:PORT")
    return text


class SnsSettings(BaseModel):
    """Which topics may bring their notifications, and what of them becomes an event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topics: Annotated[tuple[str, ...], AfterValidator(_topics)] = Field(
        description="ARNs of the topics whose notifications are taken. A subscription to one of"
        " them is confirmed; all others are refused.",
        examples=[["arn:aws:sns:eu-central-1:123456789012:orders"]],
    )
    via: Literal["http", "sqs"] = Field(
        "http",
        description="`http`: SNS posts its notifications to the orchestrator. `sqs`: they are"
        " fetched from a queue, which nobody has to reach from outside.",
    )
    queue: Annotated[str, AfterValidator(_queue)] | None = Field(
        None,
        description="`sqs`: name, ARN or URL of the queue. A name is one in the region of the first"
        " topic.",
        examples=["orders-orch"],
    )
    subscribe: bool = Field(
        False,
        description="`sqs`: make the queue if it is not there, let the topics send to it, and"
        " subscribe it to them. Otherwise somebody else has done so.",
        examples=[True],
    )
    raw: bool = Field(
        False,
        description="`sqs`: messages come without SNS's envelope. They do not tell their topic, so"
        " there has to be one only.",
        examples=[True],
    )
    batch_size: Annotated[int, Whole(1, 10_000)] = Field(
        10, description="`sqs`: messages of a run at most.", examples=[1000]
    )
    batch_window: Annotated[int, Span(high=60 * MINUTE, zero=True)] = Field(
        SECOND,
        description="`sqs`: a run that is not full goes this long after its first message came;"
        " 0: at once.",
        examples=["30s", 0],
        json_schema_extra={"default": "1s"},
    )
    max_pollers: Annotated[int, Whole(1, 32)] = Field(
        4,
        description="`sqs`: calls for messages that are under way at the same moment, while there"
        " are many.",
        examples=[8],
    )
    endpoint: Annotated[Endpoint, AfterValidator(_origin)] | None = Field(
        None,
        description="Address of a service that is not AWS's own. With `http` certificates and"
        " confirmations are fetched from there and nowhere else, and whatever certificate is there"
        " is right.",
        examples=["http://127.0.0.1:4566"],
    )
    body: Literal["text", "json"] = Field(
        "text",
        description="`text`: a task gets a message as a text. `json`: a message that is JSON as"
        " what it says; one that is not stays a text.",
    )
    attributes: bool = Field(
        False,
        description="Whether the task gets the message's attributes, in `event.attributes`. With"
        " `http` they are the one thing that SNS does not sign.",
        examples=[True],
    )
    require_v2: bool = Field(
        False,
        description="`http`: refuse signatures of version 1, which are made with SHA-1. The topic's"
        " SignatureVersion has to be 2.",
        examples=[True],
    )
    tolerance: Annotated[int, Span(low=MINUTE, high=7 * DAY)] = Field(
        120 * MINUTE,
        description="`http`: how old a notification may be. SNS tries to deliver one for up to an"
        " hour.",
        examples=["1h"],
        json_schema_extra={"default": "2h"},
    )
    dedup_window: Annotated[int, Span(low=MINUTE, high=30 * DAY)] = Field(
        DAY,
        description="How long after its run has ended a notification is still known.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )
    storage: Storage | None = Field(
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
        problems = [*self._of_via(), *self._of_queue(), *self._of_times()]
        if self.storage is None and "keep" in self.model_fields_set:
            message = "does nothing without `storage`"
            problems.append(Problem("keep", message, "leave it out, or set `storage`"))
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def address(self) -> QueueAddress:
        """The queue, where there is one."""
        return parse_queue(self.queue or "")

    @property
    def region(self) -> str | None:
        """That of the queue."""
        topic = topics.parse(self.topics[0])
        return self.address.region or (topic.region if topic else None)

    @property
    def gathering(self) -> Gathering:
        """When messages become a run."""
        return Gathering(size=self.batch_size, window=self.batch_window)

    def _of_via(self) -> list[Problem]:
        wrong = _OF_SQS if self.via == "http" else _OF_HTTP
        other = "sqs" if self.via == "http" else "http"
        found = [
            Problem(name, f"does nothing with `via: {self.via}`", f"leave it out, or via: {other}")
            for name in wrong
            if name in self.model_fields_set
        ]
        if self.via == "http":
            message = "FIFO topics do not deliver over HTTP"
            found += [
                Problem(f"topics[{at}]", message, "write via: sqs and a `queue`")
                for at, arn in enumerate(self.topics)
                if arn.endswith(".fifo")
            ]
        return found

    def _of_queue(self) -> list[Problem]:
        if self.via == "http":
            return []
        if self.queue is None:
            return [Problem("queue", "is missing", "write the name, ARN or URL of a queue")]
        found: list[Problem] = []
        if self.address.fifo:
            message = f"{self.queue} is FIFO, and takes nothing from a topic that is not"
            found += [
                Problem(f"topics[{at}]", message, "write another queue, or other topics")
                for at, arn in enumerate(self.topics)
                if not arn.endswith(".fifo")
            ]
        if self.raw and len(self.topics) > 1:
            message = "raw messages do not tell which of the topics they are of"
            found.append(Problem("raw", message, "write one topic, or leave it out"))
        return found

    def _of_times(self) -> list[Problem]:
        if self.via == "http" and self.dedup_window < 2 * self.tolerance:
            message = "a notification could come again once it is forgotten"
            return [Problem("dedup_window", message, "write at least twice the `tolerance`")]
        return []


def parse_settings(raw: Mapping[str, JSON]) -> SnsSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(SnsSettings, raw)
