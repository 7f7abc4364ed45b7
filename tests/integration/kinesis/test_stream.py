"""Sources against a server that speaks Kinesis' protocol."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.streams import END, Batch, SourceRefused, SourceUnavailable
from tests.integration.kinesis.conftest import Open
from tests.support.kinesis import Core, run_of

P = "shardId-000000000000"
HALF = str(2**127)
"""The middle of the hash keys."""


def put(kinesis: Any, stream: str, *values: str) -> None:
    entries = [{"Data": value.encode(), "PartitionKey": value} for value in values]
    kinesis.put_records(StreamName=stream, Records=entries)


def numbered(batch: Batch) -> tuple[str, str, int | None]:
    match batch.values["kinesis"]:
        case {"start": str(start), "end": str(end)}:
            return start, end, batch.count
        case other:
            raise AssertionError(other)


def core(opened: Open, **settings: Any) -> Core:
    desk = Core(lambda: opened(**settings))  # type: ignore[arg-type,return-value]
    desk.discover()
    return desk


def test_ranges_go_on_where_they_were(kinesis: Any, stream: str, opened: Open):
    """Numbers come from the service, positions survive the source."""
    put(kinesis, stream, *"abcdefg")
    desk = core(opened, max_records=3, max_wait=0)
    assert [numbered(b) for b in desk.poll(wait=5)] == [("1", "3", 3)]
    desk.restart()
    assert [numbered(b) for b in desk.poll(wait=5)] == [("4", "6", 3)]
    assert [numbered(b) for b in desk.poll(wait=5)] == [("7", "7", 1)]
    put(kinesis, stream, "h")
    assert [numbered(b) for b in desk.poll(wait=5)] == [("8", "8", 1)]
    assert desk.taken[0].values["kinesis"] == {
        "stream": stream,
        "arn": f"arn:aws:kinesis:eu-central-1:123456789012:stream/{stream}",
        "region": "eu-central-1",
        "endpoint": kinesis.meta.endpoint_url,
        "shard": P,
        "start": "1",
        "end": "3",
        "arrived": desk.taken[0].values["kinesis"]["arrived"],  # type: ignore[index,call-overload]
    }


def test_latest_begins_with_what_comes_now(kinesis: Any, stream: str, opened: Open):
    """By the service's clock, to the second; the position is a time, and outlives the source."""
    put(kinesis, stream, "old")
    time_was = datetime.now(UTC).timestamp()
    desk = core(opened, start="latest", max_wait=0)
    kind, _, moment = desk.planned[P].partition(":")
    assert kind == "time"
    assert abs(int(moment) / 1000 - time_was) < 60
    desk.restart()
    put(kinesis, stream, "new")
    batches = desk.poll(wait=5)
    assert numbered(batches[-1])[1] == "2"


def test_a_time_leaves_out_what_came_before(kinesis: Any, stream: str, opened: Open):
    """To the millisecond, though the request's time is a whole second."""
    put(kinesis, stream, "old")
    (old,) = _records(kinesis, stream)
    while time.time() * 1000 <= _ms(old) + 2:
        pass
    put(kinesis, stream, "new")
    old, new = _records(kinesis, stream)
    start = datetime.fromtimestamp(_ms(new) / 1000, UTC).isoformat(timespec="milliseconds")
    while time.time() * 1000 < _ms(new) + 1100:  # the service's clock counts in seconds
        pass
    desk = core(opened, start=start, max_wait=0)
    assert [numbered(b) for b in desk.poll(wait=5)] == [("2", "2", 1)]


def test_given_numbers_are_the_first_that_is_read(kinesis: Any, stream: str, opened: Open):
    """As with offsets."""
    put(kinesis, stream, *"abc")
    desk = core(opened, start={P: 2}, max_wait=0)
    assert [numbered(b) for b in desk.poll(wait=5)] == [("2", "3", 2)]


def test_a_stream_by_its_arn(kinesis: Any, stream: str, opened: Open):
    """All calls take it; the region is part of it."""
    arn = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    put(kinesis, stream, "a")
    desk = core(opened, stream=arn["StreamARN"], max_wait=0)
    assert [b.count for b in desk.poll(wait=5)] == [1]


def test_a_split_ends_its_shard_and_opens_two(kinesis: Any, stream: str, opened: Open):
    """The children come when the parent is done. (This server leaves them empty for ever.)"""
    put(kinesis, stream, *"abc")
    desk = core(opened, max_wait=0)
    assert sum(b.count or 0 for b in desk.drain(wait=1)) == 3
    kinesis.split_shard(StreamName=stream, ShardToSplit=P, NewStartingHashKey=HALF)
    assert desk.discover() == []
    (end,) = desk.poll(wait=5)
    assert (end.outcome, end.end) == ("skipped", END)
    assert desk.discover() == []
    desk.complete()
    assert desk.discover() == ["shardId-000000000001", "shardId-000000000002"]
    assert desk.poll() == []


def test_a_merge_waits_for_both(kinesis: Any, opened: Open):
    """The merged shard comes when both parents are done. (This server copies old records to it.)"""
    kinesis.create_stream(StreamName="merged", ShardCount=2)
    one, two, both = (f"shardId-{number:012d}" for number in range(3))
    put(kinesis, "merged", *"abcdefgh")
    kinesis.merge_shards(StreamName="merged", ShardToMerge=one, AdjacentShardToMerge=two)
    desk = core(opened, stream="merged", max_wait=0)
    desk.drain(wait=1)
    order = [batch.partition for batch in desk.taken]
    before = desk.taken[: order.index(both)]
    assert {batch.partition for batch in before if batch.end == END} == {one, two}
    assert sum(batch.count or 0 for batch in before) == 8


def test_files_of_a_stream(kinesis: Any, stream: str, opened: Open):
    """Values and partition keys as they were put."""
    put(kinesis, stream, "a", "ü", '"')
    desk = core(opened, mode="buffer", max_records=3)
    (batch,) = desk.poll(wait=5)
    match batch.inputs[0]["Source"]:
        case {"Params": {"URL": str(url)}}:
            text = base64.b64decode(url.partition(",")[2]).decode()
        case other:
            raise AssertionError(other)
    assert [line.rpartition('"value":')[2] for line in text.splitlines()] == [
        '"a"}',
        '"ü"}',
        '"\\""}',
    ]


def test_a_dead_record_and_halves(kinesis: Any, stream: str, opened: Open):
    """What people see of a run, and its halves, are read from the stream."""
    put(kinesis, stream, "a", "poison")
    desk = core(opened, max_wait=0, max_records=2)
    (batch,) = desk.poll(wait=5)
    _, second = desk.source.split(run_of(batch))
    match desk.source.keep(run_of(second))["record"]:
        case {"value": "poison", "key": "poison", "sequence": "2"}:
            pass
        case other:
            raise AssertionError(other)


def test_what_is_not_there_is_refused(opened: Open):
    """With the name, and what to look at."""
    source = opened(stream="nothing")
    with pytest.raises(SourceRefused, match=r"no stream 'nothing'.*`region` and `endpoint`"):
        source.discover({})


def test_a_service_that_is_away(opened: Open):
    """Nothing listens there."""
    source = opened(endpoint="http://127.0.0.1:1")
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        source.discover({})


def test_a_stream_that_was_made_again_is_another(kinesis: Any, stream: str, opened: Open):
    """By its age, because the name and the ARN are the same."""
    source = opened()
    before = source.discover({}).identity
    kinesis.delete_stream(StreamName=stream)
    created = float(before.rpartition(" ")[2])
    while time.time() * 1000 <= created + 2:
        pass
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    assert source.discover({}).identity != before


def test_many_shards_at_once(kinesis: Any, endpoint: str, opened: Open):
    """A bounded number of threads and connections reads them all."""
    kinesis.create_stream(StreamName="wide", ShardCount=40)
    put(kinesis, "wide", *(str(number) for number in range(200)))
    desk = core(opened, stream="wide", max_wait=0)
    assert sum(b.count or 0 for b in desk.drain(wait=1)) == 200
    assert len(desk.planned) == 40


def _records(kinesis: Any, stream: str) -> list[dict[str, Any]]:
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=P, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return kinesis.get_records(ShardIterator=iterator)["Records"]


def _ms(record: dict[str, Any]) -> int:
    moment: datetime = record["ApproximateArrivalTimestamp"]
    return int(moment.timestamp() * 1000)
