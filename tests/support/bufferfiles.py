"""Runs a source of mode buffer without an orchestrator, and reads the files that it has made."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zstandard

from connectors.kafka.buffer import BufferSource
from connectors.streams import Batch, RunRef, Want
from tests.support.waiting import until

Make = Callable[..., "Runner"]
UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


class Runner:
    """Runs a source as the orchestrator does: positions move by what is taken in."""

    def __init__(self, source: BufferSource, *, room: int = 4) -> None:
        self.source = source
        self.room = room
        self.generation = 0
        self.places = dict(source.discover({}).partitions)
        self.batches: list[Batch] = []

    def poll(self, wait: float = 0.5) -> Sequence[Batch]:
        """Poll once, and take everything in."""
        batches = self.source.poll(self.wants(), wait)
        for batch in batches:
            assert batch.start == self.places[batch.partition], "a gap or an overlap"
            self.places[batch.partition] = batch.end
        self.batches += batches
        return batches

    def wants(self) -> list[Want]:
        return [
            Want(partition=p, position=at, room=self.room, generation=self.generation)
            for p, at in self.places.items()
        ]

    def until(self, *ends: int, within: float = 60) -> list[Batch]:
        """Poll until the partitions are at these offsets."""
        wanted = [str(end) for end in ends]

        def there() -> bool:
            self.poll()
            return [self.places[name] for name in sorted(self.places)] == wanted

        until(there, f"files up to {ends}", within=within, show=lambda: self.places)
        return self.batches


def content(batch: Batch | RunRef) -> bytes:
    """What a task finds at the path."""
    (source,) = batch.inputs
    where: Any = source["Source"]
    values: Any = batch.values["batch"]
    if where["Type"] == "inline":
        data = base64.b64decode(where["Params"]["URL"].partition(",")[2])
    else:
        data = Path(where["Params"]["SourcePath"]).read_bytes()
    suffix = {"none": "", "gzip": ".gz", "zstd": ".zst"}[values["compression"]]
    assert source["Target"] == f"/orch/batch.ndjson{suffix}"
    assert len(data) == values["bytes"]
    return UNPACK[values["compression"]](data)


def records(batch: Batch | RunRef) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(batch).splitlines()]


def as_run(batch: Batch) -> RunRef:
    return RunRef(
        run_id="r",
        partition=batch.partition,
        start=batch.start,
        end=batch.end,
        values=batch.values,
        inputs=batch.inputs,
    )


def values(number: int, start: int = 0) -> list[bytes | None]:
    return [b"v%d" % i for i in range(start, start + number)]


def objects(tmp_path: Path) -> list[str]:
    return sorted(
        path.relative_to(tmp_path / "files").as_posix()
        for path in (tmp_path / "files").rglob("*")
        if path.is_file()
    )


def content_path(batch: Batch) -> Path:
    (source,) = batch.inputs
    where: Any = source["Source"]
    return Path(where["Params"]["SourcePath"])
