"""A directory: whole or absent, whoever is killed when; what nodes see."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.storage import directory as module
from connectors.storage.objects import (
    STALE,
    ObjectStore,
    StorageRefused,
    StorageUnavailable,
)

NAME = "u/logs/7/100-200/batch.ndjson"
_KILLED = """
import os, pathlib, signal, sys
from connectors.storage.address import parse
from connectors.storage.stores import open_store
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
open_store(parse(sys.argv[1])).put(sys.argv[2], [b"new"])
"""


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


@pytest.mark.parametrize("before", [None, b"old"])
def test_killed_between_writing_and_renaming(
    directory_store: ObjectStore, directory: Path, before: bytes | None
) -> None:
    """The object is absent, or as it was; what is left has no object's name, and is swept when it
    is old enough to be nobody's."""
    if before is not None:
        directory_store.put(NAME, [before])
    done = subprocess.run([sys.executable, "-c", _KILLED, str(directory), NAME])
    assert done.returncode == -signal.SIGKILL
    assert list(directory_store.list()) == ([] if before is None else [NAME])
    [orphan] = [path for path in _files(directory) if path.name != "batch.ndjson"]
    directory_store.sweep()
    assert orphan.exists()
    old = orphan.stat().st_mtime - 2 * STALE
    os.utime(orphan, (old, old))
    directory_store.sweep("u/other")
    assert orphan.exists()
    directory_store.sweep("u")
    assert not orphan.exists()
    if before is None:
        assert list(directory.iterdir()) == []
    directory_store.put(NAME, [b"new"])
    assert (directory / NAME).read_bytes() == b"new"


def test_a_failed_write_leaves_nothing(
    directory_store: ObjectStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: an error to try again after, the old object as it was, no temporary file."""
    directory_store.put(NAME, [b"old"])

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StorageUnavailable, match=r"cannot write .*: No space left on device"):
        directory_store.put(NAME, [b"new"])
    assert (directory / NAME).read_bytes() == b"old"
    assert len(_files(directory)) == 1


def test_everything_is_flushed(
    directory_store: ObjectStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file before its rename; afterwards every directory that leads to it, those that another
    process has just made as well."""
    (directory / "u/logs").mkdir(parents=True)
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        events.append(os.readlink(f"/proc/self/fd/{descriptor}").removeprefix(str(directory)))
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(module.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    directory_store.put(NAME, [b"x"])
    assert Path(events[0]).name.startswith(".orch-")
    assert events[1] == "rename"
    assert set(events[2:]) == {"", "/u", "/u/logs", "/u/logs/7", "/u/logs/7/100-200"}
    events.clear()
    directory_store.put("u/logs/7/200-300/batch.ndjson", [b"x"])
    assert set(events[2:]) == {"/u/logs/7", "/u/logs/7/200-300"}


def test_empty_directories_go_with_the_last_object(
    directory_store: ObjectStore, directory: Path
) -> None:
    """Up to the root, which stays; foreign files stay as well."""
    directory_store.put(NAME, [b"x"])
    directory_store.put("u/logs/8/1-2/batch.ndjson", [b"x"])
    directory_store.remove(NAME)
    assert not (directory / "u/logs/7").exists()
    (directory / "u/theirs").write_text("x")
    directory_store.remove("u/logs/8/1-2/batch.ndjson")
    assert sorted(path.name for path in directory.rglob("*")) == ["theirs", "u"]


def test_other_users_can_read(directory_store: ObjectStore, directory: Path) -> None:
    """The node is another user: files and directories have the usual permissions."""
    before = os.umask(0o022)
    try:
        directory_store.put(NAME, [b"x"])
    finally:
        os.umask(before)
    assert (directory / NAME).stat().st_mode & 0o777 == 0o644
    assert (directory / NAME).parent.stat().st_mode & 0o777 == 0o755


def test_what_is_in_the_way(directory_store: ObjectStore, directory: Path) -> None:
    """A file where a directory must be: refused, with the path and a remedy."""
    directory.parent.mkdir(parents=True)
    directory.write_text("x")
    with pytest.raises(StorageRefused, match=r"cannot write .*shared/orch.*permissions"):
        directory_store.put(NAME, [b"x"])
    directory_store.remove(NAME)
    assert list(directory_store.list()) == []


def test_the_uri(directory_store: ObjectStore, directory: Path) -> None:
    """A file: URL."""
    stored = directory_store.put("u/a%2Fb/batch.ndjson", [b"x"])
    assert stored.uri == (directory / "u/a%2Fb/batch.ndjson").as_uri()
    assert "a%252Fb" in stored.uri
