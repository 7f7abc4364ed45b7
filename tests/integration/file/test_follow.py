"""Files are followed: what is read, when, and from where."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from connectors.streams import Batch, Want
from tests.support.following import expect, until_so, write
from tests.support.waiting import until


def test_lines_come_as_they_are_written(logs: Path, follow: Any):
    """A partial line waits for its newline."""
    log = logs / "app.log"
    write(log, "one\ntwo\nthr")
    follower = follow(log)
    expect(follower, ["one", "two"])
    write(log, "ee\n")
    expect(follower, ["one", "two", "three"])
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
    write(logs / "old.log", "before\nhalf")
    write(logs / "empty.log", "")
    follower = follow(logs / "*.log", start="end")
    write(logs / "old.log", " a line\n")
    expect(follower, ["half a line"])
    write(logs / "new.log", "new\n")
    write(logs / "empty.log", "no more\n")
    follower.turn()
    follower.discover()
    until_so(follower, lambda: len(follower.lines()) == 3, "three lines")
    assert sorted(follower.lines()) == [b"half a line", b"new", b"no more"]


def test_what_comes_up_while_nobody_looks_is_new(logs: Path, follow: Any):
    """A trigger that began where there was nothing reads the first file from its beginning, also
    when it was written while the daemon was down."""
    follower = follow(logs / "app.log", start="end")
    assert not follower.positions
    follower.close()
    write(logs / "app.log", "first\n")
    follower.open()
    expect(follower, ["first"])


def test_identical_beginnings(logs: Path, follow: Any):
    """Files that begin in the same way, one after the other under one name, are all read."""
    log = logs / "app.log"
    follower = follow(log)
    for number in range(4):
        write(log, "# header\n")
        follower.turn()
        follower.discover()
        write(log, f"{number}\n")
        until_so(follower, lambda n=number: str(n).encode() in follower.lines(), "a line")
        log.unlink()
    assert sorted(follower.lines()) == [*[b"# header"] * 4, b"0", b"1", b"2", b"3"]


def test_going_on_from_any_position(logs: Path, follow: Any):
    """Whichever batch was the last that was taken in: what follows is what had followed."""
    log = logs / "app.log"
    lines = [f"line {number} {'x' * (number % 50)}" for number in range(200)]
    write(log, "\n".join(lines) + "\n")
    follower = follow(log, batch_lines=7)
    until_so(follower, lambda: len(follower.lines()) == 200, "all lines")
    runs = list(follower.runs)
    for number in range(0, len(runs), 5):
        again = follow(log, batch_lines=7)
        again.positions = {runs[number].batch.partition: runs[number].batch.start}
        again.open()
        until_so(again, lambda a=again, n=number: len(a.runs) == len(runs) - n, "the rest")
        assert [run.batch for run in again.runs] == [run.batch for run in runs[number:]]


def test_lines_as_json(logs: Path, follow: Any):
    """Each with its offset and the name of its file, also from other encodings."""
    write(logs / "app.log", "\ufeffgrün\n…\n".encode("utf-16-le"))
    follower = follow(logs / "app.log", format="ndjson", encoding="utf-16")
    until(follower.turn, "a batch")
    assert [json.loads(line) for line in follower.lines()] == [
        {"offset": 0, "file": "app.log", "line": "grün"},
        {"offset": 12, "file": "app.log", "line": "…"},
    ]


def test_a_failing_batch_is_halved(logs: Path, follow: Any):
    """Down to one line, whatever the format; the halves tile."""
    from connectors.streams import RunRef

    write(logs / "app.log", "a\nb\nc\n")
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
    write(logs / "app.log", "x" * 60_000 + "\n" + "y\n")
    follower = follow(logs / "app.log", storage=str(store), keep="0s")
    until(follower.turn, "a batch")
    [run] = follower.runs
    assert run.batch.inputs[0]["Source"]["Type"] == "localDirectory"
    assert follower.lines() == [b"x" * 60_000, b"y"]
    follower.source.forget(run.batch.inputs)
    assert not [file for file in store.rglob("*") if file.is_file()]


def test_up_to_where_runs_are_already(logs: Path, follow: Any):
    """After a restore: batches end exactly where a run that was found again begins."""
    write(logs / "app.log", "".join(f"{number}\n" for number in range(10, 60)))
    follower = follow(logs / "app.log", batch_lines=10)
    until_so(follower, lambda: len(follower.lines()) == 50, "all lines")
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
    write(logs / "a.log", "a\n" * 100)
    write(logs / "b.log", "b\n" * 100)
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
    until_so(follower, lambda: len(follower.lines()) == 200, "all lines")


def test_hundreds_of_files(logs: Path, follow: Any):
    """They need no thread, and what is written to any of them comes."""
    for number in range(300):
        write(logs / f"{number}.log", "before\n")
    threads = threading.active_count()
    follower = follow(logs / "*.log", start="end")
    assert len(follower.positions) == 300
    for number in range(0, 300, 50):
        write(logs / f"{number}.log", f"{number}\n")
    until_so(follower, lambda: len(follower.lines()) == 6, "the lines")
    assert threading.active_count() == threads


def test_a_poll_ends_in_time(logs: Path, follow: Any):
    """Also where one line is larger than what can be read meanwhile."""
    with (logs / "app.log").open("wb") as file:
        file.truncate(2**40)
    follower = follow(logs / "app.log")
    assert follower.turn(0.05) == []
    assert follower.source.lag()
