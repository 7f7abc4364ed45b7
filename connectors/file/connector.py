"""The connectors ``file`` and ``directory``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.file import places
from connectors.file.directory_settings import DirectorySettings, parse_directory
from connectors.file.settings import FileSettings, parse_settings
from connectors.queues import Inbox, QueueConnector, QueueSource
from connectors.streams import END, SourceContext, StreamConnector, StreamSource


class FileConnector(StreamConnector):
    """Files that are followed: lives as partitions (:mod:`connectors.file.places`)."""

    kind: ClassVar[str] = "file"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "lines of files that grow and are rotated"
    settings_model: ClassVar[type[pydantic.BaseModel]] = FileSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        {
            *(f"file.{name}" for name in ("path", "name", "at", "start", "end", "cut", "replaced")),
            *(f"batch.{name}" for name in ("count", "bytes", "format")),
        }
    )

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The path. Positions know the content they are in, but another path means other files."""
        return {"path": parse_settings(settings).path}

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def position(self, settings: Mapping[str, JSON], text: str) -> str:
        written = text.strip()
        return END if written == END else str(places.parse(written))

    def open(self, settings: Mapping[str, JSON], context: SourceContext) -> StreamSource:
        from connectors.file.source import FileSource

        return FileSource(parse_settings(settings), context)


class DirectoryConnector(QueueConnector):
    """New files, a run for each (:mod:`connectors.file.directory`)."""

    kind: ClassVar[str] = "directory"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "new files in a directory, a run for each"
    settings_model: ClassVar[type[pydantic.BaseModel]] = DirectorySettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        {"event.*", "batch.count", "object.path", "object.name", "object.size"}
    )

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The path."""
        return {"path": parse_directory(settings).path}

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_directory(settings)

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource:
        from connectors.file.directory import DirectorySource

        return DirectorySource(parse_directory(settings), context, inbox)
