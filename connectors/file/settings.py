"""The keys of a trigger file of kind ``file``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from connectors.abc import JSON, Problem, SettingsError
from connectors.fields import Span, Whole
from connectors.file.lines import Encoding, Format, Limits
from connectors.file.paths import Pattern
from connectors.payloads import INLINE_ALONE, MAX_STORED
from connectors.storage.fields import Storage
from connectors.times import DAY, SECOND
from connectors.validation import validate

_LEAST = 4096
_STORED = 16 * 2**20
_LINE = 64 * 2**10


def _path(text: str) -> str:
    Pattern(text)
    return text


Path = Annotated[str, AfterValidator(_path)]


class FileSettings(BaseModel):
    """Files that are followed, and how their lines become batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(
        description="A file, or a glob: `*`, `?` and `[…]` within a part, `**` for any number of"
        " directories. Absolute.",
        examples=["/var/log/app.log", "/var/log/app/**/*.log"],
    )
    start: Literal["end", "beginning"] = Field(
        "end",
        description="Where files are begun that are there when the trigger is registered. Those"
        " that come up later are read from their beginning in any case.",
    )
    format: Format = Field(
        "lines",
        description="`lines`: the lines as they are. `ndjson`: a line of JSON for each, with"
        " `offset`, `file` and `line`.",
    )
    encoding: Encoding = Field(
        "utf-8",
        description="Of the files. Runs get UTF-8. `utf-16` is told by the mark at the beginning"
        " of a file, and little-endian without one.",
    )
    max_line: Annotated[int, Whole(1, 2**20)] = Field(
        _LINE,
        description="Bytes of a line, as it stands in the file; a longer one is cut, and marked.",
        examples=[16384],
    )
    batch_lines: Annotated[int, Whole(1, 10_000_000)] = Field(
        10_000, description="Lines with which a batch is closed.", examples=[1000]
    )
    batch_bytes: Annotated[int, Whole(_LEAST, MAX_STORED)] | None = Field(
        None,
        description=f"Bytes with which a batch is closed. Without it {_STORED}, or {INLINE_ALONE}"
        " where no `storage` is set.",
        examples=[1_000_000],
    )
    batch_window: Annotated[int, Span(low=SECOND // 20, high=DAY)] = Field(
        5 * SECOND,
        description="A batch is closed when its first line was read that long ago.",
        examples=["1s"],
        json_schema_extra={"default": "5s"},
    )
    flush_after: Annotated[int, Span(low=SECOND // 10, high=DAY)] = Field(
        10 * SECOND,
        description="A file that was rotated away is done when nothing was written to it for so"
        " long; what has no newline at its end is a line then.",
        examples=["30s"],
        json_schema_extra={"default": "10s"},
    )
    symlinks: bool = Field(
        False,
        description="Whether symbolic links are followed, in the part of the path from its first"
        " wildcard on, or its last part.",
    )
    storage: Storage | None = Field(
        None,
        description="Where batches go that are too large to travel within the job: a directory"
        " that the nodes share, a bucket, or IPFS. Without it all of them travel within the job.",
        examples=["/srv/orch/batches", "s3://bucket/batches?region=eu-central-1"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long the object of a batch is kept once its run has ended.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> FileSettings:
        problems: list[Problem] = []
        if self.storage is None and self.bytes > INLINE_ALONE:
            message = f"{self.bytes} bytes do not travel within a job"
            remedy = f"set `storage`, or write at most {INLINE_ALONE}"
            problems.append(Problem("batch_bytes", message, remedy))
        if self.max_line > self.bytes - 1024:
            key = "max_line" if "max_line" in self.model_fields_set else "batch_bytes"
            message = f"a line of {self.max_line} bytes does not fit into a batch of {self.bytes}"
            remedy = f"write a `max_line` of at most {self.bytes - 1024}, or more `batch_bytes`"
            problems.append(Problem(key, message, remedy))
        if problems:
            raise SettingsError(problems)
        return self

    @property
    def bytes(self) -> int:
        """Bytes of a batch at most."""
        if self.batch_bytes is not None:
            return self.batch_bytes
        return INLINE_ALONE if self.storage is None else _STORED

    @property
    def limits(self) -> Limits:
        """When lines are cut and batches are closed."""
        return Limits(
            lines=self.batch_lines,
            bytes=self.bytes,
            line=self.max_line,
            window=self.batch_window / SECOND,
        )


def parse_settings(raw: Mapping[str, JSON]) -> FileSettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(FileSettings, raw)
