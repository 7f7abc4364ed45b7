"""Files are followed: what is read, when, and from where."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from connectors.file import lives, paths
from connectors.streams import END, Batch, SourceRefused, SourceUnavailable, Want
from tests.support.followed import Follower
from tests.support.waiting import until

QUICK = {"batch_window": "50ms", "flush_after": "100ms"}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where files are."""
    place = tmp_path / "logs"
    place.mkdir()
    return place


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Any]:
    """Makes followers of paths."""
    made: list[Follower] = []

    def make(path: Path | str, **settings: Any) -> Follower:
        number = len(made)
        follower = Follower(
            settings={"path": str(path), "start": "beginning", **QUICK, **settings},
            data_dir=tmp_path / f"data-{number}",
        )
        made.append(follower)
        follower.open()
        return follower

    yield make
    for follower in made:
        follower.close()


def _write(path: Path, text: str | bytes, mode: str = "ab") -> None:
    with path.open(mode) as file:
        file.write(text.encode() if isinstance(text, str) else text)


def _expect(follower: Follower, lines: list[str]) -> None:
    def there() -> bool:
        follower.turn()
        return [line.decode() for line in follower.lines()] >= lines or len(
            follower.lines()
        ) >= len(lines)

    until(there, f"{len(lines)} lines", show=lambda: (follower.lines(), follower.positions))
    assert [line.decode() for line in follower.lines()] == lines


def _until(follower: Follower, condition: Callable[[], Any], what: str) -> None:
    """Take batches in until a condition holds."""
    until(
        lambda: (follower.turn(), condition())[1],
        what,
        show=lambda: (follower.lines()[-5:], follower.positions),
    )


def _over(follower: Follower, count: int = 1) -> None:
    """Wait until so many partitions are at their end."""

    def ended() -> bool:
        follower.turn()
        return sum(at == END for at in follower.positions.values()) >= count

    until(ended, "the end of a partition", show=lambda: follower.positions)


def test_lines_come_as_they_are_written(logs: Path, follow: Any):
    """A partial line waits for its newline."""
    log = logs / "app.log"
    _write(log, "one\ntwo\nthr")
    follower = follow(log)
    _expect(follower, ["one", "two"])
    _write(log, "ee\n")
    _expect(follower, ["one", "two", "three"])
    assert [run.batch.count for run in follower.runs] == [2, 1]
    assert follower.runs[0].batch.values["file"] == {
        "path": str(log),
        "name": "app.log",
        "at": str(log),
        "start": 0,
        "end": 8,
        "cut": 0,
        "replaced": 0,
    }


def test_a_new_trigger_begins_at_the_end(logs: Path, follow: Any):
    """Files that come up later are read from their beginning, also empty ones that were there."""
    _write(logs / "old.log", "before\nhalf")
    _write(logs / "empty.log", "")
    follower = follow(logs / "*.log", start="end")
    _write(logs / "old.log", " a line\n")
    _expect(follower, ["half a line"])
    _write(logs / "new.log", "new\n")
    _write(logs / "empty.log", "no more\n")
    follower.turn()
    follower.discover()
    _until(follower, lambda: len(follower.lines()) == 3, "three lines")
    assert sorted(follower.lines()) == [b"half a line", b"new", b"no more"]


def test_what_comes_up_while_nobody_looks_is_new(logs: Path, follow: Any):
    """A trigger that began where there was nothing reads the first file from its beginning, also
    when it was written while the daemon was down."""
    follower = follow(logs / "app.log", start="end")
    assert not follower.positions
    follower.close()
    _write(logs / "app.log", "first\n")
    follower.open()
    _expect(follower, ["first"])


@pytest.mark.parametrize("restarted", [False, True])
def test_renamed(logs: Path, follow: Any, restarted: bool):
    """The old file is read to its end, with what has no newline; the new one from its beginning."""
    log = logs / "app.log"
    _write(log, "one\n")
    follower = follow(log)
    _expect(follower, ["one"])
    if restarted:
        follower.close()
    _write(log, "two\nrest")
    log.rename(logs / "app.log.1")
    _write(log, "new\n")
    if restarted:
        follower.open()
    _over(follower)
    _until(follower, lambda: len(follower.lines()) == 4, "all lines")
    assert sorted(follower.lines()) == [b"new", b"one", b"rest", b"two"]
    assert sorted(follower.positions.values())[-1] == END


@pytest.mark.parametrize("restarted", [False, True])
def test_copied_and_truncated(logs: Path, follow: Any, restarted: bool):
    """What was not read yet is read from the copy."""
    log = logs / "app.log"
    _write(log, "one\n")
    follower = follow(log)
    _expect(follower, ["one"])
    if restarted:
        follower.close()
    _write(log, "two\n")
    shutil.copy(log, logs / "app.log.1")
    os.truncate(log, 0)
    _write(log, "new, and longer than before\n")
    if restarted:
        follower.open()
    _over(follower)
    _until(follower, lambda: len(follower.lines()) == 3, "all lines")
    assert sorted(follower.lines()) == [b"new, and longer than before", b"one", b"two"]
    assert not follower.lost()


@pytest.mark.parametrize("ending", ["gz", "zst"])
@pytest.mark.parametrize("restarted", [False, True])
def test_compressed_while_it_is_read(logs: Path, follow: Any, restarted: bool, ending: str):
    """Reading goes on within the compressed file."""
    log = logs / "app.log"
    lines = [f"line {number}" for number in range(20_000)]
    _write(log, "\n".join(lines) + "\n")
    follower = follow(log, batch_lines=100)
    follower.turn()
    assert follower.lines()
    if restarted:
        follower.close()
    log.rename(logs / "app.log.1")
    _write(log, "new\n")
    content = (logs / "app.log.1").read_bytes()
    packed = gzip.compress(content) if ending == "gz" else zstandard.compress(content)
    (logs / f"app.log.1.{ending}").write_bytes(packed)
    (logs / "app.log.1").unlink()
    if restarted:
        follower.open()
    _over(follower)
    _until(follower, lambda: len(follower.lines()) == 20_001, "all lines")
    assert sorted(follower.lines()) == sorted([b"new", *(line.encode() for line in lines)])


@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_a_compressed_file_that_is_damaged(logs: Path, follow: Any, damage: str):
    """What can be read of it is read; its partition is never said to be complete."""
    log = logs / "app.log"
    lines = [f"line {number} {os.urandom(20).hex()}" for number in range(20_000)]
    _write(log, "\n".join(lines) + "\n")
    follower = follow(log, batch_lines=100)
    follower.turn()
    follower.close()
    packed = bytearray(gzip.compress(log.read_bytes()))
    half = len(packed) // 2
    if damage == "garbled":
        packed[half : half + 1000] = bytes(1000)
    (logs / "app.log.1.gz").write_bytes(packed[:half] if damage == "cut" else packed)
    log.unlink()
    _write(log, "new\n")
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
    _write(logs / "app.log.2.gz", gzip.compress(b"ancient\n"))
    _write(logs / "app.log.1", "old\n")
    for old in (logs / "app.log.2.gz", logs / "app.log.1"):
        os.utime(old, (1_000_000_000, 1_000_000_000))
    _write(log, "one\n")
    follower = follow(log)
    _expect(follower, ["one"])
    follower.close()
    _write(log, "two\n")
    log.rename(logs / "app.log.4")
    _write(log, "three\n")
    log.rename(logs / "app.log.3")
    _write(log, "four\n")
    follower.open()
    _over(follower, 2)
    _until(follower, lambda: len(follower.lines()) == 4, "all lines")
    assert sorted(follower.lines()) == [b"four", b"one", b"three", b"two"]


def test_a_glob_that_means_the_rotated_ones_too(logs: Path, follow: Any):
    """Nothing is read twice: a renamed file is the same file, a copy is its file's copy."""
    log = logs / "app.log"
    _write(log, "one\n")
    follower = follow(logs / "app.log*")
    _expect(follower, ["one"])
    log.rename(logs / "app.log.1")
    _write(log, "two\n")
    _until(follower, lambda: len(follower.lines()) == 2, "the new file")
    _write(log, "three\n")
    shutil.copy(log, logs / "app.log.0")
    follower.discover()
    _write(log, "gone with the truncation\n")
    os.truncate(log, 0)
    _write(log, "four\n")
    _until(follower, lambda: b"four" in follower.lines(), "the truncated file")
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
    _write(log, "one\ntwo\n")
    follower = follow(log)
    log.unlink()
    _over(follower)
    assert follower.lines() == [b"one", b"two"]


def test_truncated_without_a_copy(logs: Path, follow: Any):
    """What is known to be gone is said to be lost, and the file goes on as a new one."""
    log = logs / "app.log"
    _write(log, "one\n" * 1_000_000)
    follower = follow(log, batch_lines=1_000_000)
    follower.turn()
    os.truncate(log, 0)
    _write(log, "new\n")
    _over(follower)
    _until(follower, lambda: b"new" in follower.lines(), "the new content")
    [lost] = follower.lost()
    values: Any = lost.values
    assert values["file"]["path"] == str(log)
    read = len(follower.lines()) - 1
    assert lost.reason.endswith(f"the {4_000_000 - 4 * read} bytes from {4 * read} on")


def test_identical_beginnings(logs: Path, follow: Any):
    """Files that begin in the same way, one after the other under one name, are all read."""
    log = logs / "app.log"
    follower = follow(log)
    for number in range(4):
        _write(log, "# header\n")
        follower.turn()
        follower.discover()
        _write(log, f"{number}\n")
        _until(follower, lambda n=number: str(n).encode() in follower.lines(), "a line")
        log.unlink()
    assert sorted(follower.lines()) == [*[b"# header"] * 4, b"0", b"1", b"2", b"3"]


def test_going_on_from_any_position(logs: Path, follow: Any):
    """Whichever batch was the last that was taken in: what follows is what had followed."""
    log = logs / "app.log"
    lines = [f"line {number} {'x' * (number % 50)}" for number in range(200)]
    _write(log, "\n".join(lines) + "\n")
    follower = follow(log, batch_lines=7)
    _until(follower, lambda: len(follower.lines()) == 200, "all lines")
    runs = list(follower.runs)
    for number in range(0, len(runs), 5):
        again = follow(log, batch_lines=7)
        again.positions = {runs[number].batch.partition: runs[number].batch.start}
        again.open()
        _until(again, lambda a=again, n=number: len(a.runs) == len(runs) - n, "the rest")
        assert [run.batch for run in again.runs] == [run.batch for run in runs[number:]]


def test_lines_as_json(logs: Path, follow: Any):
    """Each with its offset and the name of its file, also from other encodings."""
    _write(logs / "app.log", "\ufeffgrün\n…\n".encode("utf-16-le"))
    follower = follow(logs / "app.log", format="ndjson", encoding="utf-16")
    until(follower.turn, "a batch")
    assert [json.loads(line) for line in follower.lines()] == [
        {"offset": 0, "file": "app.log", "line": "grün"},
        {"offset": 12, "file": "app.log", "line": "…"},
    ]


def test_nothing_but_files_is_opened(logs: Path, follow: Any, tmp_path: Path):
    """FIFOs, directories and links are passed over, links also on the way."""
    outside = tmp_path / "outside"
    outside.mkdir()
    _write(outside / "secret.log", "secret\n")
    os.mkfifo(logs / "fifo.log")
    (logs / "dir.log").mkdir()
    (logs / "link.log").symlink_to(outside / "secret.log")
    (logs / "way").symlink_to(outside)
    _write(logs / "real.log", "real\n")
    follower = follow(logs / "**" / "*.log")
    _expect(follower, ["real"])
    linked = follow(logs / "**" / "*.log", symlinks=True)
    _until(linked, lambda: len(linked.lines()) >= 2, "both files")
    assert sorted(linked.lines()) == [b"real", b"secret"]


def test_a_link_by_its_name_is_told(logs: Path, follow: Any):
    """Whoever names a link is told what to write."""
    _write(logs / "real.log", "real\n")
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
    _until(follower, lambda: len(follower.lines()) == len(names), "all files")
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
    _write(logs / "closed.log", "closed\n")
    _write(logs / "open.log", "open\n")
    real = paths.open_file

    def refused(root: str, parts: tuple[str, ...], *, symlinks: bool) -> int:
        if parts == ("closed.log",):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(root, parts, symlinks=symlinks)

    monkeypatch.setattr(lives, "open_file", refused)
    follower = follow(logs / "*.log")
    with pytest.raises(SourceRefused, match=r"closed.log: Permission denied; .* must be able"):
        follower.turn()
    _expect(follower, ["open"])


def test_a_directory_that_is_not_there(logs: Path, follow: Any):
    """It is waited for."""
    with pytest.raises(SourceUnavailable, match="No such file or directory"):
        follow(logs / "later" / "app.log")


def test_binary_files(logs: Path, follow: Any):
    """NUL bytes, no newline for long, and bytes that are no text: all of it goes on."""
    log = logs / "app.log"
    _write(log, b"\0" * 300_000 + os.urandom(100_000).replace(b"\n", b"") + b"\nafter\n")
    follower = follow(log)
    _until(follower, lambda: follower.lines()[-1:] == [b"after"], "the last line")
    assert len(follower.lines()) == 2
    first: Any = follower.runs[0].batch.values["file"]
    assert first["cut"] == 1


def test_a_failing_batch_is_halved(logs: Path, follow: Any):
    """Down to one line, whatever the format; the halves tile."""
    from connectors.streams import RunRef

    _write(logs / "app.log", "a\nb\nc\n")
    for form in ("lines", "ndjson"):
        follower = follow(logs / "app.log", format=form)
        until(follower.turn, "a batch")
        waiting, leaves = [follower.runs[0].batch], []
        while waiting:
            batch = waiting.pop(0)
            ref = RunRef(
                run_id="r",
                partition=batch.partition,
                start=batch.start,
                end=batch.end,
                values=batch.values,
                inputs=batch.inputs,
            )
            halves = follower.source.split(ref)
            if halves:
                assert (halves[0].start, halves[1].end) == (batch.start, batch.end)
                assert halves[0].end == halves[1].start
                waiting = [*halves, *waiting]
            else:
                leaves.append(batch)
                assert follower.source.keep(ref)["record"]
        assert [leaf.count for leaf in leaves] == [1, 1, 1]
        again = follow(logs / "app.log", format=form)
        again.positions = {leaves[1].partition: leaves[1].start}
        again.open()
        until(again.turn, "the rest")
        assert [run.batch.count for run in again.runs] == [2]


def test_batches_beside_the_job(logs: Path, follow: Any, tmp_path: Path):
    """Large ones are objects, and removed when they are forgotten."""
    store = tmp_path / "store"
    store.mkdir()
    _write(logs / "app.log", "x" * 60_000 + "\n" + "y\n")
    follower = follow(logs / "app.log", storage=str(store), keep="0s")
    until(follower.turn, "a batch")
    [run] = follower.runs
    assert run.batch.inputs[0]["Source"]["Type"] == "localDirectory"
    assert follower.lines() == [b"x" * 60_000, b"y"]
    follower.source.forget(run.batch.inputs)
    assert not [file for file in store.rglob("*") if file.is_file()]


def test_up_to_where_runs_are_already(logs: Path, follow: Any):
    """After a restore: batches end exactly where a run that was found again begins."""
    _write(logs / "app.log", "".join(f"{number}\n" for number in range(10, 60)))
    follower = follow(logs / "app.log", batch_lines=10)
    _until(follower, lambda: len(follower.lines()) == 50, "all lines")
    name, border = follower.runs[0].batch.partition, follower.runs[2].batch.start
    again = follow(logs / "app.log", batch_lines=7)
    again.positions = {name: "0"}
    source = again.open()
    batches: list[Batch] = []

    def there() -> bool:
        at = batches[-1].end if batches else "0"
        batches.extend(source.poll([Want(partition=name, position=at, room=2, until=border)], 0.1))
        return bool(batches) and batches[-1].end == border

    until(there, "the border", show=lambda: batches)
    assert [batch.count for batch in batches] == [7, 7, 6]
    assert not source.poll([Want(partition=name, position=border, room=2, until=border)], 0.1)


def test_no_room_and_room_again(logs: Path, follow: Any):
    """A partition whose runs do not drain is not read on, and the others are."""
    _write(logs / "a.log", "a\n" * 100)
    _write(logs / "b.log", "b\n" * 100)
    follower = follow(logs / "*.log", batch_lines=10)
    first, second = sorted(follower.positions)
    source = follower.source
    wants = [
        Want(partition=first, position="0", room=0),
        Want(partition=second, position="0", room=3),
    ]
    found: list[Batch] = []
    until(lambda: found.extend(source.poll(wants, 0.1)) or found, "batches")
    assert {batch.partition for batch in found} == {second}
    assert len(found) == 3
    assert [batch.end for batch in source.poll(wants, 0.1)] == [batch.end for batch in found]
    _until(follower, lambda: len(follower.lines()) == 200, "all lines")


def test_hundreds_of_files(logs: Path, follow: Any):
    """They need no thread, and what is written to any of them comes."""
    for number in range(300):
        _write(logs / f"{number}.log", "before\n")
    threads = threading.active_count()
    follower = follow(logs / "*.log", start="end")
    assert len(follower.positions) == 300
    for number in range(0, 300, 50):
        _write(logs / f"{number}.log", f"{number}\n")
    _until(follower, lambda: len(follower.lines()) == 6, "the lines")
    assert threading.active_count() == threads


def test_a_poll_ends_in_time(logs: Path, follow: Any):
    """Also where one line is larger than what can be read meanwhile."""
    with (logs / "app.log").open("wb") as file:
        file.truncate(2**40)
    follower = follow(logs / "app.log")
    assert follower.turn(0.05) == []
    assert follower.source.lag()
