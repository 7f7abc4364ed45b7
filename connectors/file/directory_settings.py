"""The keys of a trigger file of kind ``directory``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.abc import JSON, Problem, SettingsError
from connectors.fields import Span, Whole
from connectors.file.settings import Path
from connectors.payloads import INLINE_ALONE, MAX_STORED
from connectors.storage.fields import Storage
from connectors.times import DAY, SECOND
from connectors.validation import validate

_CONTENT = 64 * 2**10
_REST = 16 * 2**10  # bytes of an event beside its content


class DirectorySettings(BaseModel):
    """Files that come up in a directory, a run for each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path = Field(
        description="Which files: a glob with `*`, `?` and `[…]` within a part, and `**` for any"
        " number of directories. Absolute. Names that begin with a dot are passed over, unless the"
        " part begins with one, too.",
        examples=["/srv/incoming/*.csv", "/srv/incoming/**/*.csv"],
    )
    start: Literal["beginning", "end"] = Field(
        "beginning",
        description="Whether files that are there when the trigger is registered have a run each"
        " (`beginning`), or only those that come up later (`end`).",
    )
    settle: Annotated[int, Span(low=SECOND // 10, high=DAY)] = Field(
        10 * SECOND,
        description="A file of which nobody tells that its writer has closed it is taken for whole"
        " when it was not changed for so long.",
        examples=["1m"],
        json_schema_extra={"default": "10s"},
    )
    input: Literal["values", "inline", "source"] = Field(
        "values",
        description="What a run gets beside `object.*`: nothing more (`values`), the content of a"
        " small file in its event (`inline`), or the file itself under `target` as a"
        " `localDirectory`, which the nodes must have and allow (`source`).",
    )
    max_inline: Annotated[int, Whole(1, MAX_STORED // 2)] = Field(
        _CONTENT,
        description="`inline`: bytes of a file whose content stands in its event; one that is"
        " larger is told without.",
    )
    target: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]{1,200}$")] = Field(
        "/orch/object",
        description="`source`: the path at which a task finds the file.",
        examples=["/in/object.csv"],
    )
    symlinks: bool = Field(
        False,
        description="Whether symbolic links are followed, in the part of the path from its first"
        " wildcard on, or its last part.",
    )
    storage: Storage | None = Field(
        None,
        description="`inline`: where events go that are too large to travel within the job: a"
        " directory that the nodes share, a bucket, or IPFS.",
        examples=["/srv/orch/batches"],
    )
    keep: Annotated[int, Span(high=3650 * DAY, zero=True)] = Field(
        DAY,
        description="How long the object of an event is kept once its run has ended.",
        examples=["7d"],
        json_schema_extra={"default": "1d"},
    )

    @model_validator(mode="after")
    def _fits_together(self) -> DirectorySettings:
        problems: list[Problem] = []
        owners = {"max_inline": "inline", "storage": "inline", "keep": "inline", "target": "source"}
        for name, owner in owners.items():
            if name in self.model_fields_set and self.input != owner:
                message = f"does nothing with input: {self.input}"
                remedy = f"leave it out, or write input: {owner}"
                problems.append(Problem(name, message, remedy))
        # A content that is no text takes four bytes for three.
        if self.storage is None and self.max_inline > (INLINE_ALONE - _REST) * 3 // 4:
            message = f"{self.max_inline} bytes do not travel within a job"
            remedy = f"set `storage`, or write at most {(INLINE_ALONE - _REST) * 3 // 4}"
            problems.append(Problem("max_inline", message, remedy))
        if problems:
            raise SettingsError(problems)
        return self


def parse_directory(raw: Mapping[str, JSON]) -> DirectorySettings:
    """Settings as they stand in a trigger file. Raises :class:`SettingsError` with all problems."""
    return validate(DirectorySettings, raw)
