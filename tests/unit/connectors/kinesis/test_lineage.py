"""Parents before children, and where a new trigger begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kinesis import lineage
from connectors.kinesis.client import Shard
from connectors.streams import END, Place, SourceRefused
from tests.support.kinesis import BEGUN, DAY, ScriptedKinesis, open_source

P, A, B = "shardId-000000000000", "shardId-000000000001", "shardId-000000000002"


def split_stream() -> ScriptedKinesis:
    kinesis = ScriptedKinesis()
    kinesis.put(P, 3)
    kinesis.now += 5000
    kinesis.open(P)
    kinesis.open(P)
    kinesis.put(A, 2)
    kinesis.put(B, 2)
    kinesis.now += 5000
    return kinesis


def places(kinesis: ScriptedKinesis, tmp_path: Path, start: object) -> dict[str, str]:
    source = open_source(kinesis, tmp_path, start=start)  # type: ignore[arg-type]
    return dict(source.discover({}).partitions)


def test_the_oldest_record_is_in_the_oldest_shards(tmp_path: Path):
    """Children wait for their parent."""
    assert places(split_stream(), tmp_path, "trim_horizon") == {P: "TRIM_HORIZON"}


def test_latest_is_the_services_time_in_the_open_shards(tmp_path: Path):
    """Not an iterator, which lasts minutes. What is closed by now holds nothing new."""
    at = f"time:{BEGUN + 10_000}"
    assert places(split_stream(), tmp_path, "latest") == {A: at, B: at}


def test_a_start_before_all_records_begins_in_the_oldest_shards(tmp_path: Path):
    """The position stays the time that was asked for, so that what expired can be told."""
    assert places(split_stream(), tmp_path, "2025-01-01T00:00:00Z") == {P: "time:1735689600000"}


def test_a_start_in_between_begins_where_the_service_says(tmp_path: Path):
    """One that cannot tell which shards were open then gives all: the oldest is read first."""
    kinesis = split_stream()
    assert places(kinesis, tmp_path, "2025-06-15T15:06:46Z") == {P: "time:1750000006000"}

    class Exact(ScriptedKinesis):
        def shards(self, open_at: int | None = None):
            return [s for s in super().shards() if open_at is None or s.name in (A, B)]

    exact = Exact()
    exact.shard, exact.now = kinesis.shard, kinesis.now
    assert places(exact, tmp_path, "2025-06-15T15:06:46Z") == {
        A: "time:1750000006000",
        B: "time:1750000006000",
    }
    known = {A: Place(planned="after:1", done="after:1"), B: Place(planned="at:1", done="at:1")}
    assert open_source(exact, tmp_path).discover(known).partitions == {}


def test_a_start_in_the_future_waits(tmp_path: Path):
    """It is refused for now, and asked again."""
    with pytest.raises(SourceRefused, match="has not come"):
        places(split_stream(), tmp_path, "2099-01-01T00:00:00Z")


def test_given_numbers_are_first_records_and_what_came_before_is_done(tmp_path: Path):
    """The parent of a named shard is not read; its sibling is, from its oldest record."""
    kinesis = split_stream()
    number = kinesis.shard[A].records[1].sequence
    assert places(kinesis, tmp_path, {A: number}) == {A: f"at:{number}", B: "TRIM_HORIZON"}


@pytest.mark.parametrize(
    ("start", "words"),
    [({"shardId-9": "1"}, "does not have"), ({P: "1", A: "2"}, "follows from it")],
)
def test_numbers_that_fit_no_stream_are_refused(tmp_path: Path, start: object, words: str):
    """A shard that is not there, and a shard with its own child."""
    with pytest.raises(SourceRefused, match=words):
        places(split_stream(), tmp_path, start)


def test_a_child_comes_when_its_parent_is_done_not_when_it_is_planned(tmp_path: Path):
    """The last run of the parent may still fail and be tried again."""
    source = open_source(split_stream(), tmp_path)
    planned = {P: Place(planned=END, done="after:5")}
    assert source.discover(planned).partitions == {}
    done = {P: Place(planned=END, done=END)}
    assert source.discover(done).partitions == {A: "TRIM_HORIZON", B: "TRIM_HORIZON"}


def test_a_merged_shard_waits_for_both_parents(tmp_path: Path):
    """Either of them may hold the older records of a key."""
    kinesis = ScriptedKinesis(2)
    merged = kinesis.open(P, A)
    source = open_source(kinesis, tmp_path)
    half = {P: Place(planned=END, done=END), A: Place(planned="at:1", done="at:1")}
    assert source.discover(half).partitions == {}
    both: dict[str, Place] = dict.fromkeys((P, A), Place(planned=END, done=END))
    assert source.discover(both).partitions == {merged: "TRIM_HORIZON"}


def test_a_parent_that_has_expired_keeps_nobody_waiting(tmp_path: Path):
    """It is listed no more, known or not."""
    kinesis = split_stream()
    del kinesis.shard[P]
    assert set(places(kinesis, tmp_path, "trim_horizon")) == {A, B}


def test_a_shard_that_is_over_is_forgotten_once_it_is_listed_no_more(tmp_path: Path):
    """While the stream has it, it would be found again; and what is not done is kept."""
    kinesis = split_stream()
    source = open_source(kinesis, tmp_path)
    done = Place(planned=END, done=END)
    known = {P: done, A: Place(planned=END, done="after:1"), B: Place(planned="at:1", done="at:1")}
    assert source.discover(known).over == []
    del kinesis.shard[P], kinesis.shard[A]
    found = source.discover(known)
    assert (found.over, found.partitions) == ([P], {})
    del known[P]
    found = source.discover(known | {A: done})
    assert (found.over, found.partitions) == ([A], {})


def test_the_source_is_known_by_arn_and_age(tmp_path: Path):
    """A stream that was deleted and made again has another identity."""
    kinesis = ScriptedKinesis()
    before = open_source(kinesis, tmp_path).discover({}).identity
    kinesis.created += DAY
    assert open_source(kinesis, tmp_path).discover({}).identity != before


@st.composite
def _trees(draw: st.DrawFn) -> list[Shard]:
    shards: list[Shard] = []
    for number in range(draw(st.integers(1, 12))):
        names = [shard.name for shard in shards]
        parents = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
        shards.append(Shard(name=f"s{number}", parents=tuple(parents)))
    return shards


@given(_trees(), st.data())
def test_no_shard_is_opened_before_its_parents_are_done(shards: list[Shard], data: st.DataObject):
    """For every shape of splits and merges, and whatever order shards end in: all are read once."""
    known: dict[str, Place] = {}
    parents = {shard.name: shard.parents for shard in shards}
    while True:
        new = lineage.openable(shards, known)
        for name in new:
            assert name not in known
            assert all(known[parent].done == END for parent in parents[name])
            known[name] = Place(planned="at:1", done="at:1")
        open_ones = [name for name, place in known.items() if place.done != END]
        if not open_ones:
            break
        known[data.draw(st.sampled_from(open_ones))] = Place(planned=END, done=END)
    assert known.keys() == parents.keys()
