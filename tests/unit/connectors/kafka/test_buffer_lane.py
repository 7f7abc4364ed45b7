"""How records of a partition become pieces, whatever the chunks they come in."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.buffer_lane import LONG, QUIET, Lane, until, wanted
from connectors.kafka.cluster import TopicPartition
from connectors.kafka.filter import Filter
from connectors.kafka.reader import Chunk, Headers, Record
from connectors.kafka.settings import KafkaSettings, parse_settings

PLACE = TopicPartition("t", 0)


class Held(Chunk):
    """A chunk of records that are there already."""

    def offsets(self) -> list[int]:
        return [one.offset for one in self.messages]

    def timestamps(self) -> list[int]:
        return [one.timestamp for one in self.messages]

    def keys(self) -> list[bytes | None]:
        return [one.key for one in self.messages]

    def values(self) -> list[bytes | None]:
        return [one.value for one in self.messages]

    def headers(self) -> list[Headers | None]:
        return [one.headers for one in self.messages]


def chunk(start: int, end: int, *records: tuple[int, bytes | None]) -> Held:
    made = [Record(offset, 1000 + offset, None, value, ()) for offset, value in records]
    return Held(PLACE, made, start, end)


def settings(**own: Any) -> KafkaSettings:
    return parse_settings({"topic": "t", "mode": "buffer", "storage": "/srv/files", **own})


def lane(start: int = 0, **own: Any) -> Lane:
    return Lane(start, settings(**own), 0.0)


@st.composite
def streams(draw: st.DrawFn) -> list[Held]:
    """Chunks that follow each other, with gaps between and within them."""
    chunks: list[Held] = []
    position = draw(st.integers(0, 10))
    for _ in range(draw(st.integers(1, 6))):
        start, records = position, []
        for value in draw(st.lists(st.none() | st.binary(max_size=300), max_size=40)):
            position += draw(st.sampled_from([0, 0, 0, 1, 5]))
            records.append((position, value))
            position += 1
        position += draw(st.sampled_from([0, 0, 3]))
        chunks.append(chunk(start, position, *records))
    return chunks


@given(
    streams(), st.integers(1, 30), st.integers(1000, 3000), st.sampled_from(["ndjson", "values"])
)
def test_pieces_tile(chunks: list[Held], most: int, size: int, form: str) -> None:
    """Pieces follow each other from the start, hold every record once and in order, and are within
    both bounds, but for a record that is larger alone."""
    begun = lane(chunks[0].start, max_records=most, max_bytes=size, format=form)
    for one in chunks:
        begun.feed(one, 0.0)
        assert begun.end == one.next
    begun.close()
    place, content = chunks[0].start, b""
    for piece in begun.pieces:
        assert piece.start == place < piece.end
        place = piece.end
        block = b"".join(piece.blocks)
        assert piece.size == len(block)
        assert piece.count <= most
        assert len(block) <= size or piece.count == 1
        content += block
    assert place == chunks[-1].next
    sent = [record for one in chunks for record in one.messages]
    assert sum(piece.count for piece in begun.pieces) == len(sent)
    if form == "ndjson":
        offsets = [json.loads(line)["offset"] for line in content.splitlines()]
        assert offsets == [record.offset for record in sent]
    else:
        assert content == b"".join((record.value or b"") + b"\n" for record in sent)


def test_the_same_records_make_the_same_pieces() -> None:
    """In many small chunks or in a large one: ranges and bytes are equal."""
    records = [(i, b"x" * (i % 90)) for i in range(1000)]
    whole, parts = lane(max_bytes=5000), lane(max_bytes=5000)
    whole.feed(chunk(0, 1000, *records), 0.0)
    for i in range(0, 1000, 10):
        parts.feed(chunk(i, i + 10, *records[i : i + 10]), 0.0)
    assert [(p.start, p.end, b"".join(p.blocks)) for p in whole.pieces] == [
        (p.start, p.end, b"".join(p.blocks)) for p in parts.pieces
    ]


def test_age_counts_from_the_first_record() -> None:
    """Neither an empty chunk nor the file before it begins the wait."""
    begun = lane(max_age="10s", max_records=2)
    begun.feed(chunk(0, 5), 0.0)
    begun.feed(chunk(5, 6, (5, b"x")), 7.0)
    assert not begun.due(16.9)
    assert begun.due(17.0)
    begun.feed(chunk(6, 7, (6, b"y")), 18.0)  # full
    assert not begun.due(1000.0)
    begun.feed(chunk(7, 8, (7, b"z")), 1000.0)
    assert not begun.due(1009.0)
    assert begun.due(1010.0)
    assert [piece.timestamp for piece in begun.pieces] == [1005]


def test_a_stretch_without_records_waits_longer() -> None:
    """It is closed after a minute, or at once when it is very long."""
    begun = lane(max_age="50ms")
    begun.feed(chunk(0, 5), 0.0)
    assert not begun.due(QUIET - 1)
    assert begun.due(QUIET)
    begun.feed(chunk(5, LONG), 1.0)
    assert begun.due(1.0)
    begun.close()
    assert [(p.start, p.end, p.count) for p in begun.pieces] == [(0, LONG, 0)]


def test_taken_pieces_are_forgotten() -> None:
    """Those before a position go; the beginning moves with them."""
    begun = lane(max_records=1)
    begun.feed(chunk(0, 3, (0, b"a"), (1, b"b"), (2, b"c")), 0.0)
    begun.take_before(2)
    assert begun.begin == 2
    begun.take_before(3)
    assert (begun.begin, begun.end) == (3, 3)


def test_until_cuts_at_an_offset() -> None:
    """Also within a gap; what is before it stays."""
    whole = chunk(0, 10, (1, b"a"), (7, b"b"))
    cut = until(whole, 5)
    assert (cut.start, cut.next, cut.values()) == (0, 5, [b"a"])
    assert until(whole, 10) is whole
    assert (until(whole, 1).next, len(until(whole, 1))) == (1, 0)


def test_filtered_chunks_cover_the_same_offsets() -> None:
    """Records that are not wanted go, their offsets stay covered."""
    whole = chunk(0, 10, (1, b'{"a": 1}'), (7, b'{"a": 2}'))
    left = wanted(whole, Filter(json={"a": 2}))  # type: ignore[call-arg]
    assert (left.start, left.next, left.offsets()) == (0, 10, [7])
