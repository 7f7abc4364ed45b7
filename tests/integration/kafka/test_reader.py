"""What readers promise, held by both clients against a real broker."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Iterator, Sequence

import pytest

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.reader import Chunk
from tests.support.kafka import Kafka
from tests.support.kafkareads import Opened, column, read_to, values
from tests.support.waiting import until

AT = int(time.time() * 1000) - 60_000  # a time that retention does not remove


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Lets nobody else find them."""
    yield
    gc.collect()


def test_reads_from_the_given_offset_in_order(kafka: Kafka, opened: Opened) -> None:
    """Each partition is read from its own offset on, in order, without a gap."""
    topic = kafka.topic(3)
    for number in range(3):
        kafka.produce(topic, number, values(2000))
    reader = opened(kafka)
    parts = [TopicPartition(topic, number) for number in range(3)]
    reader.assign({parts[0]: 0, parts[1]: 700, parts[2]: 1999})
    chunks = read_to(reader, dict.fromkeys(parts, 2000))
    for part, start in zip(parts, (0, 700, 1999), strict=True):
        own = [chunk for chunk in chunks if chunk.partition == part]
        assert column(own, "values") == values(2000 - start, start)
        assert column(own, "offsets") == list(range(start, 2000))


def test_records_in_full(kafka: Kafka, opened: Opened) -> None:
    """Offset, time, key, value and headers come as they were sent; null is not empty."""
    topic = kafka.topic()
    headers = [("type", b"order"), ("type", b"\xff"), ("empty", b"")]
    kafka.produce(topic, 0, [b"a", None, b""], keys=[b"k", None, b""], timestamp_ms=AT)
    kafka.produce(topic, 0, [b"h"], headers=headers, timestamp_ms=AT + 1)
    reader = opened(kafka)
    part = TopicPartition(topic, 0)
    reader.assign({part: 0})
    records = [r for chunk in read_to(reader, {part: 4}) for r in chunk.records()]
    assert [(r.offset, r.key, r.value) for r in records] == [
        (0, b"k", b"a"),
        (1, None, None),
        (2, b"", b""),
        (3, None, b"h"),
    ]
    assert [r.timestamp for r in records] == [AT, AT, AT, AT + 1]
    assert [list(r.headers) for r in records] == [[], [], [], headers]


def test_read_is_bounded(kafka: Kafka, opened: Opened) -> None:
    """One call gives at most so many records, over all partitions."""
    topic = kafka.topic(2)
    for number in range(2):
        kafka.produce(topic, number, values(300))
    reader = opened(kafka)
    parts = [TopicPartition(topic, number) for number in range(2)]
    reader.assign(dict.fromkeys(parts, 0))
    seen = 0

    def all_of_them() -> bool:
        nonlocal seen
        chunks = reader.read(70, 0.2)
        assert sum(map(len, chunks)) <= 70
        seen += sum(map(len, chunks))
        return seen == 600

    until(all_of_them, "600 records", show=lambda: seen)


def test_chunks_split(kafka: Kafka, opened: Opened) -> None:
    """Both parts of a split chunk cover what it covered, and hold its records."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(100))
    reader = opened(kafka)
    part = TopicPartition(topic, 0)
    reader.assign({part: 0})
    for chunk in read_to(reader, {part: 100}):
        if len(chunk) > 1:
            head, tail = chunk.split(1)
            assert (head.start, head.next) == (chunk.start, chunk.start + 1)
            assert (tail.start, tail.next) == (chunk.start + 1, chunk.next)
            assert head.values() + tail.values() == chunk.values()


def test_aborted_transactions(kafka: Kafka, opened: Opened) -> None:
    """Aborted records are not seen, markers are passed over, and the position moves behind both
    also where nothing to see follows."""
    topic = kafka.topic()
    part = TopicPartition(topic, 0)
    with kafka.transaction() as transaction:
        transaction.send(topic, 0, values(50))  # 0-49, marker at 50
        transaction.commit()
        transaction.begin()
        transaction.send(topic, 0, [b"never"] * 600)  # 51-650, marker at 651
        transaction.abort()
    reader = opened(kafka)
    reader.assign({part: 0})
    chunks = read_to(reader, {part: 652})
    assert column(chunks, "values") == values(50)

    loose = opened(kafka, "read_uncommitted")
    loose.assign({part: 51})
    chunks = read_to(loose, {part: 652})
    assert column(chunks, "values") == [b"never"] * 600


def test_open_transaction_holds_back(kafka: Kafka, opened: Opened) -> None:
    """With read_committed nothing is read beyond the first open transaction."""
    topic = kafka.topic()
    part = TopicPartition(topic, 0)
    with kafka.transaction() as transaction:
        transaction.send(topic, 0, values(10))
        kafka.produce(topic, 0, [b"plain"])
        strict, loose = opened(kafka), opened(kafka, "read_uncommitted")
        strict.assign({part: 0})
        loose.assign({part: 0})
        read_to(loose, {part: 11})
        assert not [chunk for _ in range(3) for chunk in strict.read(100, 0.2) if len(chunk)]
        transaction.commit()
    assert column(read_to(strict, {part: 12}), "values") == [*values(10), b"plain"]


def test_compaction_leaves_gaps(kafka: Kafka, opened: Opened) -> None:
    """Offsets that compaction removed are covered by the chunks around them."""
    configs = {
        "cleanup.policy": "compact",
        "segment.bytes": "1048576",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "200",
    }
    topic = kafka.topic(configs=configs)
    part = TopicPartition(topic, 0)
    kafka.produce(topic, 0, values(400), keys=[b"k%d" % (i % 4) for i in range(400)])
    kafka.produce(topic, 0, [b"last"], keys=[b"other"])

    ends = itertools.count(402)

    def compacted() -> Sequence[Chunk]:
        # The segment that is written to is never compacted: a record lets it roll.
        kafka.produce(topic, 0, [b"roll"], keys=[b"roll"])
        reader = opened(kafka)
        reader.assign({part: 0})
        chunks = read_to(reader, {part: next(ends)})
        reader.close()
        return chunks if sum(map(len, chunks)) < 300 else []

    chunks = until(compacted, "compaction", within=60)
    offsets = column(chunks, "offsets")
    assert set(range(396, 400)) <= set(offsets)
    assert chunks[0].start == 0
    assert offsets == sorted(offsets)


def test_large_records(kafka: Kafka, opened: Opened) -> None:
    """A record far larger than one answer is to be comes whole, and those around it."""
    topic = kafka.topic(configs={"max.message.bytes": "33554432"})
    part = TopicPartition(topic, 0)
    large = bytes(range(256)) * 80_000  # 20 MB
    kafka.produce(topic, 0, [b"before", large, b"after"])
    reader = opened(kafka)
    reader.assign({part: 0})
    assert column(read_to(reader, {part: 3}), "values") == [b"before", large, b"after"]


def test_seek_forward_and_back(kafka: Kafka, opened: Opened) -> None:
    """A partition assigned again goes on from there, in the middle of reading, every time."""
    topic = kafka.topic(2)
    for number in range(2):
        kafka.produce(topic, number, values(20_000))
    reader = opened(kafka)
    part, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    reader.assign({part: 0, other: 0})
    for place in (9000, 3, 19_000, 8_000, 0, 18_500):
        first = until(
            lambda: [chunk for chunk in reader.read(50, 0.2) if chunk.partition == part],
            "something of the partition",
        )
        assert first[0].offsets()[0] == first[0].start
        reader.assign({part: place})
        assert reader.positions[part] == place
        again = until(
            lambda: [chunk for chunk in reader.read(50, 0.2) if chunk.partition == part],
            f"something from {place} on",
        )
        assert again[0].start == again[0].offsets()[0] == place
    reader.assign({part: 0, other: 0})
    read_to(reader, {part: 20_000, other: 20_000})


def test_drop(kafka: Kafka, opened: Opened) -> None:
    """Nothing of a dropped partition is given out, although it was read ahead."""
    topic = kafka.topic(2)
    for number in range(2):
        kafka.produce(topic, number, values(5_000))
    reader = opened(kafka)
    part, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    reader.assign({part: 0, other: 0})
    until(lambda: reader.read(50, 0.2), "something")
    reader.drop([part, TopicPartition(topic, 7)])
    assert part not in reader.positions
    chunks = read_to(reader, {other: 5_000})
    assert {chunk.partition for chunk in chunks} == {other}
    reader.assign({part: 4_990})
    assert column(read_to(reader, {part: 5_000}), "offsets") == list(range(4_990, 5_000))


def test_pause_and_resume(kafka: Kafka, opened: Opened) -> None:
    """A paused partition gives nothing, the other goes on; resumed it goes on where it stopped."""
    topic = kafka.topic(2)
    for number in range(2):
        kafka.produce(topic, number, values(3_000))
    reader = opened(kafka)
    part, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    reader.assign({part: 0, other: 0})

    def some_of_both() -> bool:
        reader.read(20, 0.2)
        return all(reader.positions.values())

    until(some_of_both, "some of both")
    reader.pause([part])
    stopped = reader.positions[part]
    read_to(reader, {other: 3_000})
    assert reader.positions[part] == stopped
    reader.pause([other])
    assert not reader.read(100, 0.1)
    reader.resume([part, other])
    assert column(read_to(reader, {part: 3_000}), "offsets") == list(range(stopped, 3_000))
    reader.pause([part])
    reader.assign({part: 2_000})
    assert column(read_to(reader, {part: 3_000}), "offsets") == list(range(2_000, 3_000))


@pytest.mark.parametrize("place", [0, 500])
def test_out_of_range(kafka: Kafka, opened: Opened, place: int) -> None:
    """An offset before the log's start or behind its end lets that partition stand still, says
    so, and disturbs no other; assigned again it goes on."""
    topic = kafka.topic(2)
    for number in range(2):
        kafka.produce(topic, number, values(100))
    kafka.delete_records(topic, 0, 40)
    reader = opened(kafka)
    part, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    reader.assign({part: place, other: 0})
    chunks: list[Chunk] = []

    def noticed() -> bool:
        chunks.extend(reader.read(100, 0.2))
        return part in reader.out_of_range and reader.positions[other] == 100

    until(noticed, "out of range", show=lambda: (reader.out_of_range, reader.positions))
    assert reader.out_of_range == {part: place}
    assert {chunk.partition for chunk in chunks} == {other}
    reader.assign({part: 40})
    assert not reader.out_of_range
    assert column(read_to(reader, {part: 100}), "offsets") == list(range(40, 100))


def test_waits_no_longer_than_told(kafka: Kafka, opened: Opened) -> None:
    """With nothing to read, a call comes back with nothing."""
    topic = kafka.topic()
    part = TopicPartition(topic, 0)
    reader = opened(kafka)
    reader.assign({part: 0})
    assert not [chunk for chunk in reader.read(10, 0.05) if len(chunk)]
    kafka.produce(topic, 0, [b"x"])
    assert column(read_to(reader, {part: 1}), "values") == [b"x"]
