"""Bytes become lines, and lines become batches."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.file.lines import Form, Lane, Limits, Piece
from connectors.file.places import START, parse, position
from connectors.file.texts import first_line

ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")


def _lane(
    *,
    lines: int = 100,
    size: int = 4096,
    line: int = 200,
    encoding: str = "utf-8",
    form: str = "lines",
) -> Lane:
    limits = Limits(lines=lines, bytes=size, line=line, window=1.0)
    return Lane(START, b"", Form(format=form, encoding=encoding, file="f"), limits)  # type: ignore[arg-type]


def _fed(lane: Lane, content: bytes, cuts: list[int]) -> list[Piece]:
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        lane.feed(content[start:end], 0.0)
    lane.flush(0.0)
    lane.close()
    return lane.pieces


def _expected(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


@given(
    text=st.text(alphabet=st.sampled_from("abä\r\n\n\0\u2028\U0001f600"), max_size=300),
    cuts=st.lists(st.integers(0, 2000), max_size=20),
    encoding=st.sampled_from(ENCODINGS),
    lines=st.integers(1, 7),
)
def test_lines_are_those_between_newlines(text: str, cuts: list[int], encoding: str, lines: int):
    """However the bytes come, and wherever batches end: the lines are those that splitting the
    whole text at newlines gives, and pieces follow each other without gap."""
    if encoding == "latin-1":
        text = text.replace("\u2028", "").replace("\U0001f600", "")
    raw = text.encode(encoding)
    lane = _lane(lines=lines, encoding=encoding)
    pieces = _fed(lane, raw, cuts)
    found = [line for piece in pieces for line in piece.content[:-1].decode().split("\n")]
    assert found == _expected(text)
    assert all(piece.count <= lines for piece in pieces)
    assert [piece.first for piece in pieces] == [0, *(piece.behind for piece in pieces)][
        : len(pieces)
    ]
    assert lane.end == len(raw)
    for piece in pieces:
        assert piece.end == str(position(piece.behind, raw[: piece.behind]))


@given(
    lines=st.lists(st.binary(max_size=40), max_size=30),
    cuts=st.lists(st.integers(0, 2000), max_size=10),
    size=st.integers(1200, 1500),
    form=st.sampled_from(["lines", "ndjson"]),
)
def test_any_bytes_make_batches_within_their_limits(
    lines: list[bytes], cuts: list[int], size: int, form: str
):
    """Whatever is in a file: each line is there once, no batch is too large, JSON is JSON."""
    raw = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    pieces = _fed(_lane(size=size, line=20, form=form), raw, cuts)
    assert sum(piece.count for piece in pieces) == len(lines)
    for piece in pieces:
        assert len(piece.content) <= size
        assert piece.content.count(b"\n") == piece.count
        piece.content.decode()
        if form == "ndjson":
            told = [json.loads(line) for line in piece.content.splitlines()]
            assert told[0]["offset"] == piece.first
            assert all(one["file"] == "f" for one in told)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_a_lane_goes_on_where_another_one_stopped(raw: bytes, cut: int):
    """Beginning again at the end of any batch gives the batches that would have followed."""
    pieces = _fed(_lane(lines=3, line=10), raw, [])
    for number, piece in enumerate(pieces):
        start = parse(piece.end)
        limits = Limits(lines=3, bytes=4096, line=10, window=1.0)
        form = Form(format="lines", encoding="utf-8", file="f")
        again = Lane(start, raw[max(0, start.offset - 256) : start.offset], form, limits)
        assert _fed(again, raw[start.offset :], [cut]) == pieces[number + 1 :]


def test_a_long_line_is_cut_marked_and_counted():
    """It takes no memory beyond what is kept of it, and what follows is read as ever."""
    lane = _lane(line=100)
    lane.feed(b"short\n", 0.0)
    for _ in range(50):
        lane.feed(b"x" * 1000, 0.0)
        assert lane.held < 1000
    lane.feed(b"x\nnext\n", 0.0)
    lane.close()
    [piece] = lane.pieces
    first, long, last = piece.content.splitlines()
    assert (first, last) == (b"short", b"next")
    assert long == b"x" * 100 + " [… 49901 bytes cut]".encode()
    assert (piece.count, piece.cut, piece.behind) == (3, 1, 50_013)


def test_a_long_line_in_json_tells_what_is_missing():
    """`cut` is the number of bytes that are not there."""
    lane = _lane(line=10, form="ndjson")
    pieces = _fed(lane, b"0123456789abc\nok\n", [])
    told = [json.loads(line) for line in pieces[0].content.splitlines()]
    assert told[0] == {"offset": 0, "file": "f", "line": "0123456789", "cut": 3}
    assert told[1]["line"] == "ok"


def test_control_characters_do_not_make_a_line_too_large():
    """JSON makes six bytes of one NUL: the line is cut further, and fits."""
    lane = _lane(line=3000, size=4096, form="ndjson")
    pieces = _fed(lane, b"\0" * 3000 + b"\n" + b"after\n", [])
    told = [json.loads(line) for piece in pieces for line in piece.content.splitlines()]
    assert told[0]["line"] == "\0" * len(told[0]["line"])
    assert len(told[0]["line"]) + told[0]["cut"] == 3000
    assert told[1]["line"] == "after"


def test_what_cannot_be_read_is_replaced_and_counted():
    """A task gets UTF-8, whatever is in the file."""
    pieces = _fed(_lane(), b"good\nb\xffd\n\xc3\n", [])
    assert pieces[0].content.decode() == "good\nb\ufffdd\n\ufffd\n"
    assert pieces[0].replaced == 2
    wide = "a\n".encode("utf-16-le") + b"\x00\xd8" + "\n".encode("utf-16-le")
    pieces = _fed(_lane(encoding="utf-16-le"), wide, [3])
    assert pieces[0].content.decode() == "a\n\ufffd\n"
    assert pieces[0].replaced == 1


def test_marks_at_the_beginning_are_no_text():
    """Neither UTF-16's, nor UTF-8's in JSON; carriage returns before newlines neither."""
    pieces = _fed(_lane(encoding="utf-16-le"), "\ufeffa\nb\n".encode("utf-16-le"), [])
    assert pieces[0].content == b"a\nb\n"
    pieces = _fed(_lane(form="ndjson"), "\ufeffa\r\nb\n".encode(), [])
    assert [json.loads(line)["line"] for line in pieces[0].content.splitlines()] == ["a", "b"]


def test_a_batch_is_due_when_its_first_line_is_old():
    """The window counts from the first line, not the last."""
    lane = _lane()
    assert lane.due is None
    lane.feed(b"half", 1.0)
    assert lane.due is None
    lane.feed(b" a line\n", 5.0)
    lane.feed(b"another\n", 5.5)
    assert lane.due == 6.0


def test_lines_are_passed_over_where_a_position_says_so():
    """A half of a split batch begins some lines behind an offset."""
    limits = Limits(lines=10, bytes=4096, line=100, window=1.0)
    form = Form(format="lines", encoding="utf-8", file="f")
    lane = Lane(parse("0.2"), b"", form, limits)
    pieces = _fed(lane, b"a\nb\nc\n", [])
    assert [(piece.start, piece.content) for piece in pieces] == [("0.2", b"c\n")]


def test_a_batch_ends_where_events_are_in_a_run_already():
    """To the letter, so that the run that is there follows."""
    raw = b"a\nb\nc\nd\n"
    limits = Limits(lines=10, bytes=4096, line=100, window=1.0)
    form = Form(format="lines", encoding="utf-8", file="f")
    lane = Lane(START, b"", form, limits, until="4")
    lane.feed(raw[:4], 0.0)
    assert [(piece.start, piece.end) for piece in lane.pieces] == [("0", "4")]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_last_line_is_found(encoding: str):
    """Also where a newline's bytes stand across two characters."""
    text = "one\n\u0a0atwo\nthr" if encoding != "latin-1" else "one\ntwo\nthr"
    raw = text.encode(encoding)
    assert raw[first_line(raw, encoding) :].decode(encoding) == "thr"
    assert first_line("none".encode(encoding), encoding) == 0
