"""Files that are followed, and new files in a directory: both connectors pass the kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from connectors.abc import JSON
from connectors.file import DirectoryConnector, FileConnector
from connectors.queues import Message
from connectors.streams import Batch
from connectors.testing import (
    Bad,
    QueueConformance,
    QueueHarness,
    StreamConformance,
    StreamHarness,
)
from tests.support.followed import content


class LinesHarness(StreamHarness):
    connector = FileConnector()

    def __init__(self, directory: Path) -> None:
        self.file = directory / "app.log"
        self.file.touch()

    def settings(self) -> Mapping[str, JSON]:
        return {"path": str(self.file), "batch_lines": 2, "batch_window": "50ms"}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"path": "app.log"}, "path"),
            ({"start": "middle"}, "start"),
            ({"encoding": "klingon"}, "encoding"),
            ({"max_line": 0}, "max_line"),
            ({"max_line": 500_000}, "max_line"),
            ({"batch_lines": 0}, "batch_lines"),
            ({"batch_bytes": 10**6}, "batch_bytes"),
            ({"batch_window": "1ms"}, "batch_window"),
            ({"flush_after": "2d"}, "flush_after"),
            ({"storage": "somewhere"}, "storage"),
            ({"keep": "-1d"}, "keep"),
        ]

    def put(self, events: Sequence[str]) -> None:
        with self.file.open("a") as file:
            file.writelines(f"{event}\n" for event in events)

    def read(self, batch: Batch) -> Sequence[str]:
        return content(batch).decode().splitlines()

    def unreachable(self) -> Mapping[str, JSON]:
        return {"path": str(self.file.parent / "absent" / "*.log")}


class FilesHarness(QueueHarness):
    connector = DirectoryConnector()
    redelivers = False

    def __init__(self, directory: Path) -> None:
        self.incoming = directory / "incoming"
        self.incoming.mkdir()

    def settings(self) -> Mapping[str, JSON]:
        return {"path": f"{self.incoming}/*.txt", "settle": "200ms"}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"path": "incoming/*.txt"}, "path"),
            ({"start": "latest"}, "start"),
            ({"settle": "1ms"}, "settle"),
            ({"input": "all"}, "input"),
            ({"max_inline": 10}, "max_inline"),
            ({"input": "source", "target": "in"}, "target"),
            ({"storage": "/srv"}, "storage"),
            ({"keep": "1d"}, "keep"),
        ]

    def put(self, events: Sequence[str]) -> None:
        for event in events:
            (self.incoming / f"{event}.txt").write_text(event)

    def text(self, message: Message) -> str:
        return str(message.body["name"]).removesuffix(".txt")

    def unreachable(self) -> Mapping[str, JSON]:
        return {"path": f"{self.incoming}/absent/*.txt"}


class TestFile(StreamConformance):
    """Kind file."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> LinesHarness:
        return LinesHarness(tmp_path)


class TestDirectory(QueueConformance):
    """Kind directory."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> FilesHarness:
        return FilesHarness(tmp_path)
