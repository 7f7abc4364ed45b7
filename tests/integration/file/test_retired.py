"""Partitions of contents that are over: which of them the source could never find again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from connectors.file import source as source_module
from connectors.streams import END, Place
from tests.support.followed import Follower
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked for in each discovery."""
    monkeypatch.setattr(source_module, "RETIRE", 0.0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    place = tmp_path / "logs"
    place.mkdir()
    return place / "app.log"


@pytest.fixture
def follower(tmp_path: Path, log: Path) -> Iterator[Follower]:
    """Follows it."""
    quick = {"start": "beginning", "batch_window": "50ms", "flush_after": "100ms"}
    made = Follower(settings={"path": str(log), **quick}, data_dir=tmp_path / "data")
    yield made
    made.close()


def rotate(follower: Follower, log: Path, number: int) -> None:
    """Let the content be over, and its file lie beside the next one."""
    if follower.source is None:
        log.write_text(f"content {number}\n")
        follower.open()
    until(lambda: follower.turn() or len(follower.lines()) > number, f"content {number}")
    log.rename(log.with_name(f"app.log.{number}"))
    log.write_text(f"content {number + 1}\n")

    def over() -> bool:
        follower.turn()
        return sum(at == END for at in follower.positions.values()) > number

    until(over, f"the end of {number}", show=lambda: follower.positions)


def retired(follower: Follower) -> Collection[str]:
    """What the source would have forgotten."""
    assert follower.source is not None
    known = {name: Place(planned=at, done=at) for name, at in follower.positions.items()}
    return follower.source.discover(known).over


def test_a_content_is_forgotten_when_its_file_is_gone(follower: Follower, log: Path) -> None:
    """Not while rotating has left it somewhere, as it is or compressed; then that one alone."""
    rotate(follower, log, 0)
    rotate(follower, log, 1)
    first, second, _ = follower.positions
    assert retired(follower) == []
    log.with_name("app.log.0").unlink()
    assert list(retired(follower)) == [first]
    log.with_name("app.log.1").rename(log.with_name("app.log-20261121"))
    assert list(retired(follower)) == [first]
    log.with_name("app.log-20261121").unlink()
    assert sorted(retired(follower)) == sorted([first, second])


def test_what_was_forgotten_stays_so(follower: Follower, log: Path) -> None:
    """It is no new content afterwards, in this life of the source and in the next one."""
    rotate(follower, log, 0)
    log.with_name("app.log.0").unlink()
    [gone] = retired(follower)
    del follower.positions[gone]
    until(lambda: follower.turn() or len(follower.lines()) == 2, "what the next one holds")
    lines = follower.lines()
    for _ in range(2):
        assert retired(follower) == []
        follower.discover()
        follower.turn()
        assert gone not in follower.positions
        assert follower.lines() == lines
        follower.open()


def test_where_nothing_is_nothing_can_be_told(follower: Follower, log: Path) -> None:
    """The directory may be a place where nothing is mounted just now."""
    rotate(follower, log, 0)
    for file in log.parent.iterdir():
        file.unlink()
    assert retired(follower) == []
