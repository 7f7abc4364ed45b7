"""Files that are rotated, truncated or removed while they are followed: each line is read once."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import zstandard

from connectors.streams import END, SourceRefused
from tests.support.following import expect, until_over, until_so, write
from tests.support.waiting import until


@pytest.mark.parametrize("restarted", [False, True])
def test_renamed(logs: Path, follow: Any, restarted: bool):
    """The old file is read to its end, with what has no newline; the new one from its beginning."""
    log = logs / "app.log"
    write(log, "one\n")
    follower = follow(log)
    expect(follower, ["one"])
    if restarted:
        follower.close()
    write(log, "two\nrest")
    log.rename(logs / "app.log.1")
    write(log, "new\n")
    if restarted:
        follower.open()
    until_over(follower)
    until_so(follower, lambda: len(follower.lines()) == 4, "all lines")
    assert sorted(follower.lines()) == [b"new", b"one", b"rest", b"two"]
    assert sorted(follower.positions.values())[-1] == END


@pytest.mark.parametrize("restarted", [False, True])
def test_copied_and_truncated(logs: Path, follow: Any, restarted: bool):
    """What was not read yet is read from the copy."""
    log = logs / "app.log"
    write(log, "one\n")
    follower = follow(log)
    expect(follower, ["one"])
    if restarted:
        follower.close()
    write(log, "two\n")
    shutil.copy(log, logs / "app.log.1")
    os.truncate(log, 0)
    write(log, "new, and longer than before\n")
    if restarted:
        follower.open()
    until_over(follower)
    until_so(follower, lambda: len(follower.lines()) == 3, "all lines")
    assert sorted(follower.lines()) == [b"new, and longer than before", b"one", b"two"]
    assert not follower.lost()


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize("restarted", [False, True])
def test_compressed_while_it_is_read(logs: Path, follow: Any, restarted: bool, ending: str):
    """Reading goes on within the compressed file."""
    log = logs / "app.log"
    lines = [f"line {number}" for number in range(20_000)]
    write(log, "\n".join(lines) + "\n")
    follower = follow(log, batch_lines=100)
    follower.turn()
    assert follower.lines()
    if restarted:
        follower.close()
    log.rename(logs / "app.log.1")
    write(log, "new\n")
    content = (logs / "app.log.1").read_bytes()
    packed = gzip.compress(content) if ending == "gz" else zstandard.compress(content)
    (logs / f"app.log.1.{ending}").write_bytes(packed)
    (logs / "app.log.1").unlink()
    if restarted:
        follower.open()
    until_over(follower)
    until_so(follower, lambda: len(follower.lines()) == 20_001, "all lines")
    assert sorted(follower.lines()) == sorted([b"new", *(line.encode() for line in lines)])


@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_a_compressed_file_that_is_damaged(logs: Path, follow: Any, damage: str):
    """What can be read of it is read; its partition is never said to be complete."""
    log = logs / "app.log"
    lines = [f"line {number} {os.urandom(20).hex()}" for number in range(20_000)]
    write(log, "\n".join(lines) + "\n")
    follower = follow(log, batch_lines=100)
    follower.turn()
    follower.close()
    packed = bytearray(gzip.compress(log.read_bytes()))
    half = len(packed) // 2
    if damage == "garbled":
        packed[half : half + 1000] = bytes(1000)
    (logs / "app.log.1.gz").write_bytes(packed[:half] if damage == "cut" else packed)
    log.unlink()
    write(log, "new\n")
    follower.open()
    refused: list[str] = []

    def done() -> bool:
        try:
            follower.turn()
        except SourceRefused as error:
            refused.append(str(error))
        read = b"new" in follower.lines() and len(follower.lines()) > 5_000
        return read and (bool(refused) or damage == "cut")

    until(done, "what can be read", show=lambda: (follower.positions, refused))
    for _ in range(10):
        done()
    assert END not in follower.positions.values()
    assert follower.lines()[:100] == [line.encode() for line in lines[:100]]
    assert all("app.log.1.gz: the compressed file is damaged" in one for one in refused)


def test_rotated_several_times_while_nobody_looks(logs: Path, follow: Any):
    """Files that came and went meanwhile are found among those that rotating has made; those from
    before the trigger are left alone."""
    log = logs / "app.log"
    write(logs / "app.log.2.gz", gzip.compress(b"ancient\n"))
    write(logs / "app.log.1", "old\n")
    for old in (logs / "app.log.2.gz", logs / "app.log.1"):
        os.utime(old, (1_000_000_000, 1_000_000_000))
    write(log, "one\n")
    follower = follow(log)
    expect(follower, ["one"])
    follower.close()
    write(log, "two\n")
    log.rename(logs / "app.log.4")
    write(log, "three\n")
    log.rename(logs / "app.log.3")
    write(log, "four\n")
    follower.open()
    until_over(follower, 2)
    until_so(follower, lambda: len(follower.lines()) == 4, "all lines")
    assert sorted(follower.lines()) == [b"four", b"one", b"three", b"two"]


def test_a_glob_that_means_the_rotated_ones_too(logs: Path, follow: Any):
    """Nothing is read twice: a renamed file is the same file, a copy is its file's copy."""
    log = logs / "app.log"
    write(log, "one\n")
    follower = follow(logs / "app.log*")
    expect(follower, ["one"])
    log.rename(logs / "app.log.1")
    write(log, "two\n")
    until_so(follower, lambda: len(follower.lines()) == 2, "the new file")
    write(log, "three\n")
    shutil.copy(log, logs / "app.log.0")
    follower.discover()
    write(log, "gone with the truncation\n")
    os.truncate(log, 0)
    write(log, "four\n")
    until_so(follower, lambda: b"four" in follower.lines(), "the truncated file")
    for _ in range(5):
        follower.turn()
    follower.close()
    follower.open()
    for _ in range(5):
        follower.turn()
    lines = follower.lines()
    assert [lines.count(line) for line in (b"one", b"two", b"three", b"four")] == [1, 1, 1, 1]


def test_removed_while_it_is_read(logs: Path, follow: Any):
    """An open file is read to its end, whatever becomes of its name."""
    log = logs / "app.log"
    write(log, "one\ntwo\n")
    follower = follow(log)
    log.unlink()
    until_over(follower)
    assert follower.lines() == [b"one", b"two"]


def test_truncated_without_a_copy(logs: Path, follow: Any):
    """What is known to be gone is said to be lost, and the file goes on as a new one."""
    log = logs / "app.log"
    write(log, "one\n" * 1_000_000)
    follower = follow(log, batch_lines=1_000_000)
    follower.turn()
    os.truncate(log, 0)
    write(log, "new\n")
    until_over(follower)
    until_so(follower, lambda: b"new" in follower.lines(), "the new content")
    [lost] = follower.lost()
    values: Any = lost.values
    assert values["file"]["path"] == str(log)
    read = len(follower.lines()) - 1
    assert lost.reason.endswith(f"the {4_000_000 - 4 * read} bytes from {4 * read} on")
