"""The keys of a trigger file that belong to the s3 connector."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
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
from connectors.aws.address import QueueAddress, parse_queue
from connectors.aws.fields import Endpoint, Region
from connectors.fields import Span, Whole, error, rfc3339
from connectors.s3.globs import MAX_GLOB, Glob
from connectors.storage.fields import Storage
from connectors.times import DAY, MINUTE, SECOND
from connectors.validation import shown, validate

_MAX_GLOBS = 100
_MAX_KEY = 1024  # bytes
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_WINDOW = 10 * SECOND


def _bucket(text: str) -> str:
    if text.endswith("--x-s3"):
        raise error(
            f"{shown(text)} is a directory bucket, which is listed in no order",
            "use a general purpose bucket",
        )
    if not _BUCKET.fullmatch(text):
        raise error(
            f"{shown(text)} is not a bucket's name",
            "write the name alone: 3 to 63 letters, digits, . and -; what follows it is `prefix`",
        )
    return text


def _prefix(text: str) -> str:
    if not text.isprintable() or len(text.encode(errors="replace")) > _MAX_KEY:
        raise error(
            f"{shown(text)} is not the beginning of a key",
            f"write at most {_MAX_KEY} bytes of printable text, such as logs/2026/",
        )
    return text


def _globs(value: object) -> object:
    globs = list(cast(Sequence[object], value)) if isinstance(value, list | tuple) else [value]
    if not 1 <= len(globs) <= _MAX_GLOBS:
        raise error(f"the list has {len(globs)} globs", f"write 1 to {_MAX_GLOBS} of them")
    problems: list[Problem] = []
    for number, glob in enumerate(globs):
        path = f"[{number}]" if isinstance(value, list | tuple) else ""
        if not isinstance(glob, str):
            problems.append(Problem(path, f"{shown(glob)} is not text", "write it in quotes"))
            continue
        try:
            Glob(glob)
        except SettingsError as reason:
            problems += [Problem(path, p.message, p.remedy) for p in reason.problems]
    if problems:
        raise SettingsError(problems)
    return tuple(globs)


def _region(text: str) -> str:
    # Those that speak like S3 have names of their own, such as "auto".
    if _REGION.fullmatch(text):
        return text
    raise error(f"{shown(text)} is not a region", "write one such as eu-central-1")


def _start(value: object) -> object:
    if value in ("earliest", "latest"):
        return value
    remedy = "write earliest, latest, or a time such as 2026-03-29T01:00:00Z"
    if not isinstance(value, str):
        raise error(f"{shown(value)} is no place to start", remedy)
    try:
        rfc3339(value)
    except SettingsError as reason:
        raise error(reason.problems[0].message, remedy) from reason
    return value


def _queue(text: str) -> str:
    parse_queue(text)
    return text


_GLOB_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_GLOB}


class Notifications(BaseModel):
    """Where S3 tells of new objects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: Annotated[str, AfterValidator(_queue)] = Field(
        description="The SQS queue that gets the bucket's events, directly, through SNS or through"
        " EventBridge: its URL, ARN or name. It is for this trigger alone.",
        examples=["arn:aws:sqs:eu-central-1:123456789012:new-logs"],
    )
    region: Region | None = Field(
        None,
        description="Of the queue. Without one: that of its ARN, or the bucket's.",
        examples=["eu-central-1"],
    )
    endpoint: Endpoint | None = Field(
        None,
        description="Address of SQS, where it is not AWS's own.",
        examples=["http://127.0.0.1:4566"],
    )

    @model_validator(mode="after")
    def _one_region(self) -> Notifications:
        known = self.address.region
        if known and self.region and known != self.region:
            message = f"{self.region!r} is not the region of the queue, {known!r}"
            raise error(message, "leave it out", "region")
        return self

    @property
    def address(self) -> QueueAddress:
        """The queue, as far as it is known by its name alone."""
        return parse_queue(self.queue)


class S3Settings(BaseModel):
    """A bucket, which of its objects count, and how they become runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: Annotated[str, AfterValidator(_bucket)] = Field(
        description="Name of the bucket.", examples=["app-logs"]
    )
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "",
        description="What the keys begin with. Nothing else is listed.",
        examples=["logs/2026/"],
    )
    match: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(_globs),
            WithJsonSchema(
                {
                    "anyOf": [
                        _GLOB_SCHEMA,
                        {
                            "type": "array",
                            "items": _GLOB_SCHEMA,
                            "minItems": 1,
                            "maxItems": _MAX_GLOBS,
                        },
                    ]
                }
            ),
        ]
        | None
    ) = Field(
        None,
        description="Globs for what follows the prefix; one of them is enough. `*` and `?` stop at"
        " a slash, `**` alone between slashes stands for any number of parts.",
        examples=["*.log", ["**/*.csv", "**/*.csv.gz"]],
    )
    region: Annotated[str, AfterValidator(_region)] | None = Field(
        None,
        description="AWS region. Without one: boto3's default.",
        examples=["eu-central-1"],
    )
    endpoint: Endpoint | None = Field(
        None,
        description="Address of the service, where it is not AWS's own (MinIO, Ceph).",
        examples=["http://127.0.0.1:9000"],
    )
    interval: Annotated[int, Span(low=SECOND, high=DAY)] = Field(
        MINUTE,
        description="How long after a listing the next one begins.",
        examples=["10s"],
        json_schema_extra={"default": "1m"},
    )
    start: Annotated[str, BeforeValidator(_start)] = Field(
        "earliest",
        description="Which objects a new trigger begins with: `earliest` (all that are there),"
        " `latest` (those written from now on), or those written since a time in RFC 3339.",
        examples=["latest", "2026-03-29T01:00:00Z"],
    )
    look_back: Annotated[int, Span(low=MINUTE, high=30 * DAY)] = Field(
        DAY,
        description="How much later than its LastModified an object may appear and still be found:"
        " of a multipart upload that is when the upload was begun. Each listing looks at what was"
        " modified since the one before and this much longer.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )
    settle: Annotated[int, Span(high=7 * DAY, zero=True)] = Field(
        0,
        description="Only objects that were last modified at least this long ago. For writers"
        " that overwrite an object several times in a row.",
        examples=["30s"],
        json_schema_extra={"default": "0s"},
    )
    versions: bool = Field(
        False,
        description="List every version of each key, not only the newest one. For buckets with"
        " versioning.",
    )
    notifications: Notifications | None = Field(
        None,
        description="Have S3 tell of new objects through a queue, instead of listing every"
        " `interval`.",
        examples=[{"queue": "new-logs"}],
    )
    reconcile: Annotated[int, Span(low=MINUTE, high=7 * DAY, zero=True)] = Field(
        60 * MINUTE,
        description="With `notifications`: how long after a listing the next one begins, which"
        " finds what no notification told of. 0: never.",
        examples=["15m", 0],
        json_schema_extra={"default": "1h"},
    )
    batch_size: Annotated[int, Whole(1, 10_000)] = Field(
        1, description="Objects of one run at most.", examples=[100]
    )
    batch_bytes: Annotated[int, Whole(1, 2**50)] | None = Field(
        None,
        description="Bytes of the objects of one run at most, all of them together; an object that"
        " is larger has a run of its own.",
        examples=[1_000_000_000],
    )
    batch_window: Annotated[int, Span(high=DAY, zero=True)] | None = Field(
        None,
        description="A run that does not have `batch_size` objects goes this long after the first"
        " of them was found. 10s.",
        examples=["1m"],
    )
    input: Literal["values", "source"] = Field(
        "values",
        description="`values`: the job is told bucket, key, version, size and etag. `source`: it"
        " also finds the objects themselves, each in a directory of its own,"
        " `/orch/objects/0/NAME`, `/orch/objects/1/NAME`, fetched by the node.",
    )
    storage: Storage | None = Field(
        None,
        description="Where long lists of objects go: a directory shared with the nodes, an S3"
        " bucket, or IPFS. Without it they travel inside the job, up to 128 KiB.",
        examples=["/srv/orch", "s3://bucket/lists?region=eu-central-1"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long the list of an ended run is kept in `storage`.",
        examples=["6h"],
        json_schema_extra={"default": "1d"},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> S3Settings:
        problems = [*self._useless(), *self._with_notifications()]
        if problems:
            raise SettingsError(problems)
        return self

    @cached_property
    def globs(self) -> tuple[Glob, ...]:
        """The globs of `match`, ready to use."""
        return tuple(Glob(text) for text in self.match or ())

    @property
    def pause(self) -> int | None:
        """From one listing to the next, microseconds; None: there is none."""
        if self.notifications is None:
            return self.interval
        return self.reconcile or None

    @property
    def window(self) -> int:
        """How long a run waits for more objects, microseconds."""
        return _WINDOW if self.batch_window is None else self.batch_window

    def wants(self, key: str) -> bool:
        """Whether a key of the bucket counts."""
        if not key.startswith(self.prefix):
            return False
        rest = key[len(self.prefix) :]
        return not self.globs or any(glob.matches(rest) for glob in self.globs)

    def _useless(self) -> list[Problem]:
        """Settings that would do nothing."""
        without = (
            ("batch_bytes", self.batch_size == 1, "with batch_size 1", "set `batch_size`"),
            ("batch_window", self.batch_size == 1, "with batch_size 1", "set `batch_size`"),
            ("keep", self.storage is None, "without `storage`", "set `storage`"),
            ("reconcile", self.notifications is None, "without `notifications`", "set `interval`"),
            ("interval", self.notifications is not None, "with `notifications`", "set `reconcile`"),
        )
        return [
            Problem(name, f"does nothing {why}", f"leave it out, or {instead}")
            for name, useless, why, instead in without
            if useless and name in self.model_fields_set
        ]

    def _with_notifications(self) -> list[Problem]:
        if self.notifications is None or not self.settle:
            return []
        message = "holds nothing back that a notification tells of"
        return [Problem("settle", message, "leave out `settle` or `notifications`")]


def parse_settings(raw: Mapping[str, JSON]) -> S3Settings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(S3Settings, raw)
