"""Stands in for the core beside a source of files: keeps positions, takes batches in, and forgets
whatever the source itself knows when it begins anew."""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.file import FileConnector
from connectors.streams import END, Batch, Place, SourceContext, StreamSource, Want


@dataclass(kw_only=True)
class Run:
    """A batch that was taken in."""

    batch: Batch
    content: bytes


@dataclass(kw_only=True)
class Follower:
    """A trigger of kind file."""

    settings: Mapping[str, Any]
    data_dir: Path
    room: int = 2
    positions: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    source: StreamSource | None = None

    def open(self) -> StreamSource:
        """Begin, or begin anew with nothing but the positions."""
        self.close()
        connector = FileConnector()
        connector.check(self.settings)
        context = SourceContext(
            instance="i",
            trigger="t",
            trigger_uid="u",
            secrets={},
            data_dir=self.data_dir,
            stop=threading.Event(),
        )
        self.source = connector.open(self.settings, context)
        self.discover()
        return self.source

    def discover(self) -> None:
        """Ask for partitions."""
        assert self.source is not None
        known = {name: Place(planned=at, done=at) for name, at in self.positions.items()}
        found = self.source.discover(known)
        for name, at in found.partitions.items():
            assert name.isprintable()
            assert len(name) <= 200
            self.positions.setdefault(name, at)

    def turn(self, wait: float = 0.05) -> list[Batch]:
        """One poll, whose batches are taken in."""
        source = self.source or self.open()
        if source.stale:
            self.discover()
        wants = [
            Want(partition=name, position=at, room=self.room)
            for name, at in self.positions.items()
            if at != END
        ]
        batches = list(source.poll(wants, wait))
        for batch in batches:
            assert batch.start == self.positions[batch.partition], batch
            self.positions[batch.partition] = batch.end
            self.runs.append(Run(batch=batch, content=content(batch)))
        return batches

    def lines(self) -> list[bytes]:
        """All lines that were taken in, in order."""
        taken = [run.content for run in self.runs if run.batch.outcome == "run"]
        return [line for part in taken for line in part.removesuffix(b"\n").split(b"\n")]

    def lost(self) -> list[Batch]:
        """What was told to be lost."""
        return [run.batch for run in self.runs if run.batch.outcome == "lost"]

    def close(self) -> None:
        """Let go of the source."""
        if self.source is not None:
            self.source.close()
            self.source = None


def content(batch: Batch) -> bytes:
    """What a task would find."""
    found = b""
    for source in batch.inputs:
        where: Any = source["Source"]
        params = where["Params"]
        if where["Type"] == "inline":
            found += base64.b64decode(params["URL"].partition(",")[2])
        else:
            found += Path(params["SourcePath"]).read_bytes()
    return found
