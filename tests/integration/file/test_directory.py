"""New files in a directory: one event for each, once it is whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.file import DirectoryConnector
from connectors.file.inotify import Watcher
from connectors.queues import Inbox, Message, QueueSource
from connectors.streams import SourceContext, SourceRefused
from tests.support.waiting import until


class Desk:
    """Stands in for the inbox: knows ids, and keeps the cursor."""

    def __init__(self, settings: dict[str, Any], data_dir: Path) -> None:
        self.settings = settings
        self.cursor: str | None = None
        self.taken: list[Message] = []
        self._data_dir = data_dir
        self.source: QueueSource | None = None
        self.open()

    def open(self) -> None:
        """Begin anew, with nothing but the inbox."""
        self.close()
        connector = DirectoryConnector()
        connector.check(self.settings)
        context = SourceContext(
            instance="i",
            trigger="t",
            trigger_uid="u",
            secrets={},
            data_dir=self._data_dir,
            stop=threading.Event(),
        )
        self.source = connector.open(
            self.settings, context, Inbox(cursor=self.cursor, known=self._known)
        )

    def _known(self, ids: Collection[str]) -> set[str]:
        return {one.id for one in self.taken} & set(ids)

    def turn(self, room: int = 10) -> list[Message]:
        """One poll, whose messages are taken in."""
        assert self.source is not None
        polled = self.source.poll(room, 0.02)
        fresh = [one for one in polled.messages if not self._known([one.id])]
        assert len(fresh) == len(polled.messages)
        self.taken += fresh
        self.cursor = polled.cursor or self.cursor
        return fresh

    @property
    def names(self) -> list[str]:
        """Of the files that were taken in."""
        return [str(one.body["name"]) for one in self.taken]

    def close(self) -> None:
        """Let go of the source."""
        if self.source is not None:
            self.source.close()


@pytest.fixture
def incoming(tmp_path: Path) -> Path:
    """Where files come up."""
    place = tmp_path / "incoming"
    place.mkdir()
    return place


@pytest.fixture
def desk(incoming: Path, tmp_path: Path) -> Iterator[Any]:
    """Makes desks."""
    made: list[Desk] = []

    def make(path: str = "*.csv", **settings: Any) -> Desk:
        told = {"path": f"{incoming}/{path}", "settle": "5m", **settings}
        made.append(Desk(told, tmp_path / "data"))
        made[-1].turn()
        return made[-1]

    yield make
    for one in made:
        one.close()


def _until(desk: Desk, names: list[str]) -> None:
    until(
        lambda: (desk.turn(), sorted(desk.names) == sorted(names))[1],
        f"{names}",
        show=lambda: desk.names,
    )


def test_a_file_comes_once_its_writer_has_closed_it(incoming: Path, desk: Any):
    """Not before, and once; a file that is renamed into place at once."""
    made = desk()
    with (incoming / "a.csv").open("w") as file:
        file.write("half")
        file.flush()
        for _ in range(5):
            assert not made.turn()
        file.write(" and half")
    _until(made, ["a.csv"])
    (incoming / "b.part").write_text("b")
    (incoming / "b.part").rename(incoming / "b.csv")
    _until(made, ["a.csv", "b.csv"])
    assert made.taken[0].body["size"] == 13
    assert set(made.taken[0].body) == {"path", "name", "size", "modified"}
    described = made.source.describe(made.taken[:1])
    assert described.values == {
        "object": {"path": str(incoming / "a.csv"), "name": "a.csv", "size": 13}
    }


def test_a_file_that_is_written_again_is_another_event(incoming: Path, desk: Any):
    """The same name with another content has another id."""
    made = desk()
    (incoming / "a.csv").write_text("one")
    _until(made, ["a.csv"])
    (incoming / "a.csv").write_text("two!")
    _until(made, ["a.csv", "a.csv"])
    assert len({one.id for one in made.taken}) == 2


def test_files_that_were_there(incoming: Path, desk: Any):
    """They are events, unless the trigger begins at the end; nothing comes twice later."""
    old = incoming / "old.csv"
    old.write_text("old")
    os.utime(old, (1_000_000_000, 1_000_000_000))
    every = desk(settle="100ms")
    _until(every, ["old.csv"])
    new = desk(start="end", settle="100ms")
    (incoming / "new.csv").write_text("new")
    _until(new, ["new.csv"])
    _until(every, ["old.csv", "new.csv"])
    for one in (every, new):
        one.open()
        for _ in range(5):
            one.turn()
    assert (sorted(every.names), new.names) == (["new.csv", "old.csv"], ["new.csv"])


def test_what_comes_up_while_nobody_looks(incoming: Path, desk: Any):
    """It is found by its state: whole when it has not changed for a while."""
    made = desk(start="end", settle="100ms")
    made.close()
    (incoming / "a.csv").write_text("a")
    made.open()
    _until(made, ["a.csv"])


def test_without_the_kernels_help(incoming: Path, desk: Any, monkeypatch: pytest.MonkeyPatch):
    """A remote file system tells nothing: size and time of change have to stand still."""
    monkeypatch.setattr(Watcher, "changes", lambda self: iter(()))
    made = desk(settle="300ms")
    with (incoming / "a.csv").open("w", buffering=1) as file:
        for _ in range(30):
            file.write("more\n")
            made.turn()
    _until(made, ["a.csv"])
    assert made.taken[0].body["size"] == 150


def test_more_than_can_start(incoming: Path, desk: Any):
    """Only as many are handed over as there is room for; the others follow, each once."""
    made = desk()
    for number in range(25):
        (incoming / f"{number}.csv").write_text("x")
    until(lambda: len(made.turn(room=4)) == 4, "the first ones")
    while len(made.taken) < 25:
        assert len(made.turn(room=4)) <= 4
    assert sorted(made.names) == sorted(f"{number}.csv" for number in range(25))


def test_small_contents_inline(incoming: Path, desk: Any):
    """As text, or in Base64; of what is larger, nothing."""
    made = desk(path="*", input="inline", max_inline=10)
    (incoming / "text").write_text("grün")
    (incoming / "bytes").write_bytes(b"\xff\0")
    (incoming / "large").write_text("x" * 11)
    _until(made, ["text", "bytes", "large"])
    found = {one.body["name"]: one.body for one in made.taken}
    assert found["text"]["content"] == "grün"
    assert found["bytes"]["content_base64"] == "/wA="
    assert not {"content", "content_base64"} & found["large"].keys()


def test_the_file_itself_as_an_input(incoming: Path, desk: Any):
    """A directory of the node's, for nodes that have it."""
    made = desk(input="source", target="/in/a.csv")
    (incoming / "a.csv").write_text("a")
    _until(made, ["a.csv"])
    [source] = made.source.describe(made.taken).inputs
    assert source == {
        "Source": {"Type": "localDirectory", "Params": {"SourcePath": str(incoming / "a.csv")}},
        "Target": "/in/a.csv",
    }


def test_only_files_below_the_directory(incoming: Path, desk: Any, tmp_path: Path):
    """Links lead nowhere, FIFOs are never opened, hidden files are passed over, new directories
    are looked into."""
    secret = tmp_path / "secret.csv"
    secret.write_text("secret")
    (incoming / "link.csv").symlink_to(secret)
    os.mkfifo(incoming / "fifo.csv")
    (incoming / ".hidden.csv").write_text("hidden")
    made = desk(path="**/*.csv", settle="100ms", input="inline")
    (incoming / "sub").mkdir()
    (incoming / "sub" / "a.csv").write_text("a")
    _until(made, ["a.csv"])


def test_a_name_that_no_job_can_be_given(incoming: Path, desk: Any):
    """It is told, and the others go on."""
    made = desk()
    (incoming / "a\nb.csv").write_text("a")
    with pytest.raises(SourceRefused, match=r"a%0Ab.csv: its name cannot be given"):
        until(made.turn, "an error")
    (incoming / "c.csv").write_text("c")
    _until(made, ["c.csv"])
