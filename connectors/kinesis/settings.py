"""The keys of a trigger file that belong to the kinesis connector."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from connectors.abc import JSON, Problem, SettingsError
from connectors.aws.fields import Endpoint, Region
from connectors.fields import Duration, Span, Whole, error, rfc3339
from connectors.payloads import INLINE_ALONE, MAX_STORED
from connectors.storage import batchfile
from connectors.storage.fields import Storage
from connectors.times import SECOND
from connectors.validation import shown, shown_key, validate

_OF_BUFFER = ("max_bytes", "max_age", "format", "compression", "storage", "keep")

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}", re.ASCII)
_ARN = re.compile(
    r"arn:aws[a-z-]*:kinesis:([a-z0-9-]{1,40}):\d{12}:stream/([a-zA-Z0-9_.-]{1,128})", re.ASCII
)
_SEQUENCE = re.compile(r"0|[1-9]\d{0,128}", re.ASCII)


def _stream(text: str) -> str:
    if _NAME.fullmatch(text) or _ARN.fullmatch(text):
        return text
    raise error(
        f"{shown(text)} names no stream",
        "write its name, or arn:aws:kinesis:REGION:ACCOUNT:stream/NAME",
    )


def _start(value: object) -> object:
    given = value
    if isinstance(value, str):
        if value not in ("trim_horizon", "latest"):
            try:
                rfc3339(value)
            except SettingsError as reason:
                remedy = "write trim_horizon, latest, a time such as 2026-03-29T01:00:00Z, or"
                remedy += " {SHARD: SEQUENCE}"
                raise error(reason.problems[0].message, remedy) from reason
        return value
    if isinstance(value, dict) and value:
        return _numbers(cast(dict[object, object], value))
    raise error(
        f"{shown(given)} is no place to start",
        "write trim_horizon, latest, a time, or {SHARD: SEQUENCE}",
    )


def _numbers(given: Mapping[object, object]) -> dict[str, str]:
    problems: list[Problem] = []
    found: dict[str, str] = {}
    for shard, number in given.items():
        path = shown_key(str(shard))
        text = str(number) if isinstance(number, (str, int)) else ""
        if not isinstance(shard, str) or not _NAME.fullmatch(shard):
            remedy = "write its id, such as shardId-000000000000"
            problems.append(Problem(path, f"{shown(shard)} is no shard", remedy))
        elif isinstance(number, bool) or not _SEQUENCE.fullmatch(text):
            remedy = "write the number of the first record, digits only"
            problems.append(Problem(path, f"{shown(number)} is no sequence number", remedy))
        else:
            found[shard] = text
    if problems:
        raise SettingsError(problems)
    return found


Start = Annotated[
    str | dict[str, str],
    BeforeValidator(_start),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"type": ["string", "integer"]},
                },
            ]
        }
    ),
]


class KinesisSettings(BaseModel):
    """A stream, and how its shards become batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: Annotated[str, AfterValidator(_stream)] = Field(
        description="Name of the stream, or its ARN.",
        examples=["clicks", "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"],
    )
    region: Region | None = Field(
        None,
        description="AWS region. Without one: that of the ARN, or boto3's default.",
        examples=["eu-central-1"],
    )
    endpoint: Endpoint | None = Field(
        None,
        description="Address of the service, where it is not AWS's own.",
        examples=["http://127.0.0.1:4566"],
    )
    profile: str | None = Field(
        None,
        description="Profile in the shared AWS files of the orchestrator. Without one boto3 looks"
        " for credentials in the environment, those files and the machine's role.",
        examples=["streams"],
    )
    mode: Literal["range", "buffer"] = Field(
        "range",
        description="`range`: the job reads the shard itself, from one sequence number to"
        " another. `buffer`: the orchestrator reads and hands the job a file.",
    )
    start: Start = Field(
        "trim_horizon",
        description="Where a new trigger begins: `trim_horizon` (the oldest record), `latest`"
        " (records that arrive from now on), a time in RFC 3339, or the sequence number of the"
        " first record of shards; shards that are not named begin at their oldest record.",
        examples=[
            "trim_horizon",
            "2026-03-29T01:00:00Z",
            {"shardId-000000000000": "49590338271490256608559692538361571095921575989136588898"},
        ],
    )
    max_records: Annotated[int, Whole(1, 1_000_000)] = Field(
        10_000, description="Records of a batch at most.", examples=[1000]
    )
    max_bytes: Annotated[int, Whole(1024, 1024**3)] | None = Field(
        None,
        description="`buffer`: bytes of a batch at most, before compression; one larger record"
        " is a batch by itself. 64 MiB, or without `storage` 128 KiB.",
        examples=[8388608],
    )
    max_wait: Annotated[int, Span(high=3600 * SECOND, zero=True)] | None = Field(
        None,
        description="`range`: a batch that is not full goes this long after its first record was"
        " seen. 1s; 0: at once.",
        examples=["5s", 0],
    )
    max_age: Annotated[int, Span(low=SECOND // 10, high=3600 * SECOND)] | None = Field(
        None,
        description="`buffer`: a file that is not full is closed this long after its first record"
        " was seen. 10s.",
        examples=["1m"],
    )
    poll: Annotated[int, Span(low=SECOND // 5, high=60 * SECOND)] = Field(
        SECOND,
        description="How often a shard that is caught up is read. AWS allows five reads a second"
        " and shard, for all consumers together.",
        examples=["2s"],
        json_schema_extra={"default": "1s"},
    )
    format: batchfile.Format = Field(
        "ndjson",
        description="`buffer`: a JSON object for each record, or its value alone in a line.",
    )
    compression: batchfile.Compression = Field(
        "none",
        description="`buffer`: how files are compressed; they are called batch.ndjson.gz or"
        " batch.ndjson.zst then.",
    )
    storage: Storage | None = Field(
        None,
        description="`buffer`: where files are kept: a directory shared with the nodes, an S3"
        " bucket, or IPFS. Without it they travel inside the job, up to 128 KiB.",
        examples=["/srv/orch", "s3://bucket/prefix?region=eu-central-1"],
    )
    keep: Duration = Field(
        86_400 * SECOND,
        description="`buffer`: how long the file of an ended run is kept.",
        examples=["6h"],
        json_schema_extra={"default": "1d"},
    )
    on_lost: Literal["stop", "continue"] = Field(
        "stop",
        description="What follows when records have expired before they were read: the partition"
        " stands still until somebody decides, or it goes on behind the gap.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> KinesisSettings:
        problems = [*self._of_mode(), *self._one_region(), *self._small_enough()]
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def name(self) -> str:
        """The stream's name, also where its ARN is given."""
        return self.stream.rpartition("/")[2]

    @property
    def place(self) -> str | None:
        """The region, where the settings tell it."""
        arn = _ARN.fullmatch(self.stream)
        return self.region or (arn[1] if arn else None)

    @property
    def age(self) -> int:
        """How long a batch may wait for more records, microseconds."""
        if self.mode == "range":
            return SECOND if self.max_wait is None else self.max_wait
        return 10 * SECOND if self.max_age is None else self.max_age

    @property
    def size(self) -> int:
        """Bytes of a batch at most."""
        if self.max_bytes is not None:
            return self.max_bytes
        return MAX_STORED if self.storage else INLINE_ALONE

    def _of_mode(self) -> list[Problem]:
        wrong = _OF_BUFFER if self.mode == "range" else ("max_wait",)
        other = "buffer" if self.mode == "range" else "range"
        return [
            Problem(
                name,
                f"does nothing in mode {self.mode}",
                f"leave it out, or write mode: {other}",
            )
            for name in wrong
            if name in self.model_fields_set
        ]

    def _one_region(self) -> list[Problem]:
        arn = _ARN.fullmatch(self.stream)
        if arn and self.region and arn[1] != self.region:
            message = f"{self.region!r} is not the region of the ARN, {arn[1]!r}"
            return [Problem("region", message, "leave it out")]
        return []

    def _small_enough(self) -> list[Problem]:
        if self.storage is None and self.max_bytes is not None and self.max_bytes > INLINE_ALONE:
            message = f"{self.max_bytes} bytes do not fit into a job"
            return [
                Problem("max_bytes", message, f"set `storage`, or write at most {INLINE_ALONE}")
            ]
        return []


def parse_settings(raw: Mapping[str, JSON]) -> KinesisSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(KinesisSettings, raw)
