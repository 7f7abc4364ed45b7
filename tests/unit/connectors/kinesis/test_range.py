"""Mode range: batches tile each shard, whatever the service and the machine do."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kinesis.client import Throttled
from connectors.streams import END, Batch, SourceRefused, SourceUnavailable, Want
from tests.support.kinesis import (
    ScriptedKinesis,
    core,
    run_of,
)

P, A, B = "shardId-000000000000", "shardId-000000000001", "shardId-000000000002"


def numbers(batch: Batch) -> tuple[int, int]:
    match batch.values["kinesis"]:
        case {"start": str(start), "end": str(end)}:
            return int(start), int(end)
        case other:
            raise AssertionError(other)


def test_a_full_range_goes_at_once_and_the_rest_after_max_wait(tmp_path: Path):
    """Both ends of what the job gets are records; the next range begins behind the last one."""
    kinesis = ScriptedKinesis()
    records = kinesis.put(P, 25)
    desk = core(kinesis, tmp_path, max_records=10, max_wait="5s")
    first = desk.poll()
    assert [numbers(b) for b in first] == [(records[0].sequence, records[9].sequence)]
    assert (first[0].start, first[0].end) == ("TRIM_HORIZON", f"after:{records[9].sequence}")
    assert first[0].count == 10
    assert first[0].at == records[0].arrived * 1000
    assert [b.count for b in desk.poll(wait=1)] == [10]
    assert desk.poll(wait=1) == []
    assert [b.count for b in desk.poll(wait=5)] == [5]


def test_max_wait_zero_sends_what_is_there(tmp_path: Path):
    """For those to whom latency matters more than the number of jobs."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 3)
    assert [b.count for b in core(kinesis, tmp_path, max_wait=0).poll()] == [3]


def test_what_was_not_taken_in_is_read_again(tmp_path: Path):
    """Handing over promises nothing."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 30)
    desk = core(kinesis, tmp_path, max_records=10, max_wait=0)
    desk.poll(take=0)
    desk.poll(take=0)
    desk.restart()
    assert [b.count for b in desk.drain()] == [10, 10, 10]


def test_no_room_no_reading(tmp_path: Path):
    """A partition whose runs do not drain is left alone."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 30)
    desk = core(kinesis, tmp_path, max_records=10)
    assert desk.poll(room=0, wait=3) == []
    assert kinesis.asked == []


def test_empty_answers_say_nothing(tmp_path: Path):
    """Kinesis gives them although there is more."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 7)
    kinesis.blank = 5
    assert [b.count for b in core(kinesis, tmp_path).poll(wait=10)] == [7]


def test_an_expired_iterator_is_made_anew_from_the_position(tmp_path: Path):
    """It names the last record that was read, planned or not."""
    kinesis = ScriptedKinesis()
    first = kinesis.put(P, 4)
    desk = core(kinesis, tmp_path, max_wait="1m")
    assert desk.poll() == []
    kinesis.expire_iterators()
    kinesis.put(P, 2)
    assert [b.count for b in desk.poll(wait=70)] == [6]
    assert kinesis.asked == [f"{P} TRIM_HORIZON", f"{P} at:{first[-1].sequence}"]


def test_an_empty_answer_before_the_record_that_is_asked_for_again(tmp_path: Path):
    """That record is in a batch already, whichever answer brings it."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 2)
    desk = core(kinesis, tmp_path, max_wait="1m")
    assert desk.poll() == []
    kinesis.expire_iterators()
    kinesis.blank = 1
    kinesis.put(P, 1)
    assert [b.count for b in desk.poll(wait=70)] == [3]


def test_a_closed_shard_ends_with_its_last_run(tmp_path: Path):
    """What was read with the end goes at once, and the children come when it is done."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 3)
    kinesis.open(P)
    desk = core(kinesis, tmp_path, max_wait="1m")
    (last,) = desk.poll()
    assert (last.count, last.end) == (3, END)
    assert desk.discover() == []
    desk.complete()
    assert desk.discover() == [A]


@pytest.mark.parametrize("ends", [True, False])
def test_an_end_that_comes_alone_is_in_the_ledger(tmp_path: Path, ends: bool):
    """A shard that is closed after its last record was planned has a last range without any."""
    kinesis = ScriptedKinesis()
    kinesis.ends = ends
    kinesis.put(P, 1)
    desk = core(kinesis, tmp_path, max_wait=0)
    desk.poll()
    kinesis.open(P)
    if not ends:  # a service whose iterators go on for ever: the list says that it is closed
        kinesis.shard[P].last = kinesis.shard[P].records[-1].sequence
        desk.discover()
    (batch,) = desk.poll(wait=5)
    assert (batch.outcome, batch.end, batch.count) == ("skipped", END, 0)
    assert "closed" in batch.reason


def test_a_start_by_time_is_exact_to_the_millisecond(tmp_path: Path):
    """The service may round the time; older records are left out here."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 2)
    kinesis.now += 300
    wanted = kinesis.put(P, 2)
    kinesis.now += 5000
    desk = core(kinesis, tmp_path, start="2025-06-15T15:06:40.300Z", max_wait=0)
    (batch,) = desk.poll()
    assert batch.start == "time:1750000000300"
    assert numbers(batch) == (wanted[0].sequence, wanted[1].sequence)


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path):
    """Somebody has written another connector's position into the store."""
    desk = core(ScriptedKinesis(), tmp_path)
    want = Want(partition=P, position="4711", room=1)
    with pytest.raises(SourceRefused, match="no position in a shard"):
        desk.source.poll([want], 0)


@pytest.mark.parametrize("kind", ["after", "at"])
@pytest.mark.parametrize("closed", [True, False])
def test_nothing_is_planned_beyond_a_run_that_was_found_again(
    tmp_path: Path, kind: str, closed: bool
):
    """The last range ends exactly where that run begins, and behind it planning goes on."""
    kinesis = ScriptedKinesis()
    records = kinesis.put(P, 9)
    if closed:
        kinesis.open(P)
    place = f"after:{records[4].sequence}" if kind == "after" else f"at:{records[5].sequence}"
    desk = core(kinesis, tmp_path, max_records=3, max_wait="1m")
    batches = desk.poll(until=place) + desk.poll(until=place, wait=5)
    assert [batch.count for batch in batches] == [3, 2]
    assert desk.planned[P] == place
    assert desk.poll(until=place, wait=5) == []
    desk.planned[P] = f"after:{records[6].sequence}"
    assert [b.count for b in desk.poll(wait=70)] == [2]


def test_a_failing_run_is_halved_by_its_records(tmp_path: Path):
    """The halves tile the run; a single record has none."""
    kinesis = ScriptedKinesis()
    records = kinesis.put(P, 5)
    desk = core(kinesis, tmp_path, max_wait=0)
    (batch,) = desk.poll()
    first, second = desk.source.split(run_of(batch))
    assert (first.start, second.end) == (batch.start, batch.end)
    assert first.end == second.start == f"after:{records[1].sequence}"
    assert [first.count, second.count] == [2, 3]
    assert numbers(second) == (records[2].sequence, records[4].sequence)
    (alone, _) = desk.source.split(run_of(first))
    assert desk.source.split(run_of(alone)) == ()


def test_a_run_whose_records_expired_has_no_halves(tmp_path: Path):
    """Its job says that it is lost."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 5)
    desk = core(kinesis, tmp_path, max_wait=0)
    (batch,) = desk.poll()
    kinesis.expire_records(P, kinesis.shard[P].records[2].sequence)
    assert desk.source.split(run_of(batch)) == ()


def test_a_dead_record_is_shown_with_its_last_day(tmp_path: Path):
    """Shortened; in Base64 where it is no text; and when the stream forgets it."""
    kinesis = ScriptedKinesis()
    (record,) = kinesis.put(P, 1, data="ä".encode() * 5000)
    desk = core(kinesis, tmp_path, max_wait=0)
    (batch,) = desk.poll()
    kept = desk.source.keep(run_of(batch))
    assert kept["expires_at"] == "2025-06-16T15:06:40Z"
    match kept["record"]:
        case {"sequence": str(number), "value": str(value), "bytes": int(size)}:
            assert (number, value, size) == (str(record.sequence), "ä" * 512, 10_000)
        case other:
            raise AssertionError(other)
    kinesis.put(P, 1, data=b"\xff\x00")
    (binary,) = desk.poll(wait=5)
    assert "value_base64" in str(desk.source.keep(run_of(binary))["record"])
    kinesis.shard[P].records.clear()
    assert set(desk.source.keep(run_of(binary))) == {"expires_at"}


def test_lag_is_known_where_all_was_read(tmp_path: Path):
    """Kinesis tells milliseconds; a number is known only at the tip."""
    kinesis = ScriptedKinesis(2)
    kinesis.put(P, 3)
    kinesis.put(A, 30)
    desk = core(kinesis, tmp_path, max_records=10, max_wait="1m")
    kinesis.page = 5
    desk.poll()
    assert desk.source.lag() == {P: 3}


def test_closing_twice_is_no_error(tmp_path: Path):
    """And it lets go of the client."""
    kinesis = ScriptedKinesis()
    desk = core(kinesis, tmp_path)
    desk.source.close()
    desk.source.close()
    assert kinesis.closed


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 25)),
        st.tuples(st.just("split"), st.integers(0, 5)),
        st.tuples(st.just("merge"), st.integers(0, 5)),
        st.tuples(st.just("poll"), st.integers(0, 4)),
        st.tuples(st.just("fault"), st.integers(1, 3)),
        st.tuples(st.just("away"), st.integers(1, 3)),
        st.tuples(st.just("blank"), st.integers(1, 3)),
        st.tuples(st.just("expire"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("complete"), st.just(0)),
    ),
    max_size=40,
)


@given(steps=STEPS, size=st.integers(1, 12), page=st.integers(1, 20), ends=st.booleans())
def test_every_record_is_in_exactly_one_range(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int]],
    size: int,
    page: int,
    ends: bool,
):
    """Whatever comes between: splits and merges, expired iterators, throttling, restarts, batches
    that were not taken in. Ranges tile each shard, and no child is read before its parents."""
    kinesis = ScriptedKinesis(2)
    kinesis.page, kinesis.ends = page, ends
    desk = core(kinesis, tmp_path_factory.mktemp("kinesis"), max_records=size, max_wait="2s")
    put: dict[str, list[int]] = {}

    def new(shard: str, count: int) -> None:
        put.setdefault(shard, []).extend(r.sequence for r in kinesis.put(shard, count))

    for step, number in steps:
        there = kinesis.open_shards()
        match step:
            case "put":
                new(there[number % len(there)], number)
            case "split":
                kinesis.open(there[number % len(there)])
                kinesis.open(there[number % len(there)])
            case "merge" if len(there) > 1:
                kinesis.open(there[0], there[1])
            case "fault":
                kinesis.faults = [Throttled("slow down")] * number
            case "away":
                kinesis.faults = [SourceUnavailable("away")] * number
            case "blank":
                kinesis.blank = number
            case "expire":
                kinesis.expire_iterators()
            case "restart":
                desk.restart()
            case "complete":
                desk.complete()
                desk.discover()
            case "poll":
                with contextlib.suppress(SourceUnavailable):
                    desk.poll(wait=number, take=number)
            case _:
                pass
    kinesis.faults = []
    desk.drain()
    covered: dict[str, list[int]] = {}
    for batch in desk.taken:
        assert batch.outcome in ("run", "skipped")
        for parent in kinesis.shard[batch.partition].parents:
            assert desk.done[parent] == END
        if batch.outcome == "run":
            first, last = numbers(batch)
            within = [r.sequence for r in kinesis.shard[batch.partition].records]
            inside = [n for n in within if first <= n <= last]
            assert (inside[0], inside[-1], len(inside)) == (first, last, batch.count)
            assert len(inside) <= size
            covered.setdefault(batch.partition, []).extend(inside)
    assert covered == put
