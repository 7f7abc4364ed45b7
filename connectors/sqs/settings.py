"""The keys of a trigger file that belong to the sqs connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.abc import JSON, Problem, SettingsError
from connectors.aws.address import QueueAddress, parse_queue
from connectors.aws.fields import Endpoint, Region
from connectors.aws.polling import LEAST_VISIBILITY
from connectors.aws.queue import MAX_WAIT
from connectors.fields import Span, Whole
from connectors.payloads import INLINE_ALONE, MAX_STORED
from connectors.queues import Gathering
from connectors.sqs.filter import Filter
from connectors.storage.fields import Storage
from connectors.times import DAY, SECOND
from connectors.validation import validate

HOUR = 3600 * SECOND


def _queue(text: str) -> str:
    parse_queue(text)
    return text


class SqsSettings(BaseModel):
    """A queue, and how its messages become runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: Annotated[str, AfterValidator(_queue)] = Field(
        description="Name, ARN or URL of the queue.",
        examples=["orders", "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"],
    )
    region: Region | None = Field(
        None,
        description="AWS region. Without one: that of the ARN or URL, or boto3's default.",
        examples=["eu-central-1"],
    )
    endpoint: Endpoint | None = Field(
        None,
        description="Address of the service, where it is not AWS's own.",
        examples=["http://127.0.0.1:9324"],
    )
    batch_size: Annotated[int, Whole(1, 10_000)] = Field(
        10, description="Messages of a run at most.", examples=[1000]
    )
    batch_window: Annotated[int, Span(high=HOUR, zero=True)] = Field(
        SECOND,
        description="A run that is not full goes this long after its first message came; 0: at "
        "once.",
        examples=["30s", 0],
        json_schema_extra={"default": "1s"},
    )
    batch_bytes: Annotated[int, Whole(1_000, MAX_STORED)] | None = Field(
        None,
        description=f"Bytes of a run at most. Without it {MAX_STORED}, or {INLINE_ALONE} where no "
        "`storage` is set.",
        examples=[1_000_000],
    )
    max_pollers: Annotated[int, Whole(1, 32)] = Field(
        4,
        description="Calls for messages that are under way at the same moment, while there are "
        "many; a quiet queue has one.",
        examples=[8],
    )
    wait: Annotated[int, Span(low=SECOND, high=MAX_WAIT * SECOND)] = Field(
        MAX_WAIT * SECOND,
        description="How long such a call waits at the queue for a message, in whole seconds.",
        examples=["5s"],
        json_schema_extra={"default": f"{MAX_WAIT}s"},
    )
    visibility: Annotated[int, Span(low=10 * SECOND, high=12 * HOUR)] | None = Field(
        None,
        description="For how long messages are kept from other consumers at a time; it begins anew "
        "again and again until their run has ended. Without it the queue's own, at least "
        f"{LEAST_VISIBILITY}s.",
        examples=["2m"],
    )
    ack: Literal["on_success", "on_intake"] = Field(
        "on_success",
        description="When a message is deleted: once its run has succeeded, or once it is in the "
        "ledger.",
    )
    dead: Literal["keep", "return"] = Field(
        "keep",
        description="What becomes of the messages of a dead run: it keeps them and they are "
        "deleted, or they go back to the queue, whose own redrive policy then counts.",
    )
    dedup_window: Annotated[int, Span(high=30 * DAY, zero=True)] = Field(
        600 * SECOND,
        description="How long a message that was handled is known, if it is delivered again.",
        examples=["1h"],
        json_schema_extra={"default": "10m"},
    )
    body: Literal["text", "json"] = Field(
        "text",
        description="`text`: a task gets a message's body as a text. `json`: a body that is JSON "
        "as what it says; one that is not stays a text.",
    )
    filter: Filter | None = Field(
        None,
        description="Which messages are wanted; the others are deleted at once.",
        examples=[{"attribute": {"type": "order"}}],
    )
    storage: Storage | None = Field(
        None,
        description="Where messages go that are too large to travel within the job: a directory "
        "that the nodes share, a bucket, or IPFS.",
        examples=["/srv/orch/batches", "s3://bucket/batches?region=eu-central-1"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long what lies in `storage` is kept once its run has ended.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> SqsSettings:
        problems = [*self._one_place(), *self._sizes(), *self._endings()]
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def address(self) -> QueueAddress:
        """The queue, as far as the settings tell."""
        return parse_queue(self.queue)

    @property
    def gathering(self) -> Gathering:
        """When messages become a run."""
        return Gathering(
            size=self.batch_size, bytes=self.batch_bytes or 0, window=self.batch_window
        )

    def _one_place(self) -> list[Problem]:
        known = self.address.region
        if known and self.region and known != self.region:
            kind = "URL" if self.address.url else "ARN"
            message = f"{self.region!r} is not the region of the {kind}, {known!r}"
            return [Problem("region", message, "leave it out")]
        return []

    def _sizes(self) -> list[Problem]:
        problems: list[Problem] = []
        if self.storage is None and (self.batch_bytes or 0) > INLINE_ALONE:
            message = f"{self.batch_bytes} bytes do not travel within a job"
            remedy = f"set `storage`, or write at most {INLINE_ALONE}"
            problems.append(Problem("batch_bytes", message, remedy))
        if self.storage is None and "keep" in self.model_fields_set:
            message = "does nothing without `storage`"
            problems.append(Problem("keep", message, "leave it out, or set `storage`"))
        if self.wait % SECOND:
            message = "SQS counts in whole seconds"
            problems.append(Problem("wait", message, "write 1s to 20s"))
        if self.visibility is not None and self.visibility % SECOND:
            message = "SQS counts in whole seconds"
            problems.append(Problem("visibility", message, "write a duration such as 30s or 2m"))
        return problems

    def _endings(self) -> list[Problem]:
        if self.ack == "on_intake" and self.dead == "return":
            message = "a message that was deleted after intake cannot go back"
            remedy = "write ack: on_success, or dead: keep"
            return [Problem("dead", message, remedy)]
        return []


def parse_settings(raw: Mapping[str, JSON]) -> SqsSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(SqsSettings, raw)
