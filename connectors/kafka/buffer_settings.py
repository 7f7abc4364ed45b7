"""The keys of a trigger file that belong to mode buffer alone."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.abc import Problem, SettingsError
from connectors.fields import Span, Whole
from connectors.payloads import INLINE_ALONE, INLINE_BESIDE, MAX_STORED
from connectors.storage.fields import Storage
from connectors.times import DAY, SECOND

Format: TypeAlias = Literal["ndjson", "values"]
Compression: TypeAlias = Literal["none", "gzip", "zstd"]

_LARGEST = 2**30
_LEAST_MEMORY = 16 * 2**20


class BufferSettings(BaseModel):
    """How the records that the orchestrator reads become files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format = Field(
        "ndjson",
        description="`ndjson`: a line of JSON for each record: offset, timestamp, key, headers "
        "and value. `values`: the values as they are, a newline behind each; a value that holds a "
        "newline is several lines, one that is null is an empty line.",
        examples=["values"],
    )
    compression: Compression = Field(
        "none",
        description="Of the files, which are then called batch.ndjson.gz or batch.ndjson.zst.",
        examples=["zstd"],
    )
    max_bytes: Annotated[int, Whole(1_000, _LARGEST)] | None = Field(
        None,
        description="Bytes of a file, before compression, with which it is closed. Without it "
        f"{MAX_STORED}, or {INLINE_ALONE} where no `storage` is set.",
        examples=[1_000_000],
    )
    max_age: Annotated[int, Span(low=50_000, high=DAY)] = Field(
        10 * SECOND,
        description="A file is closed when its first record was read that long ago.",
        examples=["1s"],
        json_schema_extra={"default": "10s"},
    )
    storage: Storage | None = Field(
        None,
        description="Where files go that are too large to travel within the job: a directory that "
        "the nodes share, a bucket, or IPFS. Without it all of them travel within the job.",
        examples=["/srv/orch/batches", "s3://bucket/batches?region=eu-central-1"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long a file is kept once its run has ended.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )
    memory: Annotated[int, Whole(_LEAST_MEMORY, 2**40)] = Field(
        256 * 2**20,
        description="Bytes of records that this trigger holds in memory at most, over all its "
        "partitions; files are closed early, and reading pauses, to stay below it.",
        examples=[67_108_864],
    )

    @model_validator(mode="after")
    def _buffer_fits_together(self) -> BufferSettings:
        problems: list[Problem] = []
        if self.storage is None and self.max_bytes is not None and self.max_bytes > INLINE_ALONE:
            message = f"{self.max_bytes} bytes do not travel within a job"
            remedy = f"set `storage`, or write at most {INLINE_ALONE}"
            problems.append(Problem("max_bytes", message, remedy))
        if self.memory < 2 * self.file_bytes:
            message = f"{self.memory} bytes do not hold two files of {self.file_bytes}"
            remedy = f"write at least {2 * self.file_bytes}, or a smaller `max_bytes`"
            problems.append(Problem("memory", message, remedy))
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def file_bytes(self) -> int:
        """Bytes of records with which a file is closed."""
        if self.max_bytes is not None:
            return self.max_bytes
        return INLINE_ALONE if self.storage is None else MAX_STORED

    @property
    def inline_bytes(self) -> int:
        """Bytes up to which a file travels within the job."""
        return INLINE_ALONE if self.storage is None else INLINE_BESIDE
