"""What is not a plain file of lines: links, FIFOs, strange names, no rights, no text."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from connectors.file import lives, paths
from connectors.streams import SourceRefused, SourceUnavailable
from tests.support.following import expect, until_so, write


def test_nothing_but_files_is_opened(logs: Path, follow: Any, tmp_path: Path):
    """FIFOs, directories and links are passed over, links also on the way."""
    outside = tmp_path / "outside"
    outside.mkdir()
    write(outside / "secret.log", "secret\n")
    os.mkfifo(logs / "fifo.log")
    (logs / "dir.log").mkdir()
    (logs / "link.log").symlink_to(outside / "secret.log")
    (logs / "way").symlink_to(outside)
    write(logs / "real.log", "real\n")
    follower = follow(logs / "**" / "*.log")
    expect(follower, ["real"])
    linked = follow(logs / "**" / "*.log", symlinks=True)
    until_so(linked, lambda: len(linked.lines()) >= 2, "both files")
    assert sorted(linked.lines()) == [b"real", b"secret"]


def test_a_link_by_its_name_is_told(logs: Path, follow: Any):
    """Whoever names a link is told what to write."""
    write(logs / "real.log", "real\n")
    (logs / "link.log").symlink_to(logs / "real.log")
    follower = follow(logs / "link.log")
    with pytest.raises(SourceRefused, match="symlinks: true"):
        follower.turn()


def test_names_that_cannot_be_printed(logs: Path, follow: Any):
    """Control characters and bytes that are no text are percent-encoded, distinctly."""
    names = [b"a\nb.log", b"\xff.log", b"%FF.log", b"\x1b[31m.log", b"x" * 240 + b".log"]
    for name in names:
        (logs / os.fsdecode(name)).write_bytes(b"one\n")
    follower = follow(logs / "*.log", batch_lines=1)
    until_so(follower, lambda: len(follower.lines()) == len(names), "all files")
    assert len(follower.positions) == len(names)
    assert all(str(run.batch.values).isprintable() for run in follower.runs)
    for name in names:
        (logs / os.fsdecode(name)).rename(logs / (os.fsdecode(name) + ".1"))
    for _ in range(10):
        follower.turn()
    follower.close()
    follower.open()
    assert len(follower.lines()) == len(names)


def test_a_file_that_may_not_be_read(logs: Path, follow: Any, monkeypatch: pytest.MonkeyPatch):
    """It is told, and the others are read."""
    write(logs / "closed.log", "closed\n")
    write(logs / "open.log", "open\n")
    real = paths.open_file

    def refused(root: str, parts: tuple[str, ...], *, symlinks: bool) -> int:
        if parts == ("closed.log",):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(root, parts, symlinks=symlinks)

    monkeypatch.setattr(lives, "open_file", refused)
    follower = follow(logs / "*.log")
    with pytest.raises(SourceRefused, match=r"closed.log: Permission denied; .* must be able"):
        follower.turn()
    expect(follower, ["open"])


def test_a_directory_that_is_not_there(logs: Path, follow: Any):
    """It is waited for."""
    with pytest.raises(SourceUnavailable, match="No such file or directory"):
        follow(logs / "later" / "app.log")


def test_binary_files(logs: Path, follow: Any):
    """NUL bytes, no newline for long, and bytes that are no text: all of it goes on."""
    log = logs / "app.log"
    write(log, b"\0" * 300_000 + os.urandom(100_000).replace(b"\n", b"") + b"\nafter\n")
    follower = follow(log)
    until_so(follower, lambda: follower.lines()[-1:] == [b"after"], "the last line")
    assert len(follower.lines()) == 2
    first: Any = follower.runs[0].batch.values["file"]
    assert first["cut"] == 1
