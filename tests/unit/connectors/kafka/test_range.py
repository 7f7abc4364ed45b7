"""Mode range: what is planned from the ends of partitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.cluster import Committed, Ends, TopicPartition
from connectors.kafka.range import RangeSource
from connectors.kafka.settings import parse_settings
from connectors.streams import (
    Batch,
    Place,
    RunRef,
    SourceChanged,
    SourceRefused,
    SourceUnavailable,
)
from tests.support.scriptedkafka import ScriptedCluster, stream_context, want
from tests.unit.connectors.kafka.conftest import Clock, Open

P0 = TopicPartition("t", 0)
GROUP = "orch.i1.logs.u1"


def spans(batches: Any) -> list[tuple[str, int, int]]:
    return [(batch.outcome, int(batch.start), int(batch.end)) for batch in batches]


def known(*names: str) -> dict[str, Place]:
    return dict.fromkeys(names, Place(planned="0", done="0"))


class Ruled(RangeSource):
    """Plans against a cluster that the test holds; time stands still unless it is moved."""

    def __init__(self, cluster: ScriptedCluster, **settings: Any) -> None:
        read = parse_settings({"topic": "t", **settings})
        super().__init__(read, stream_context(Path("unused")))
        self._cluster = cluster


@given(
    start=st.integers(0, 50),
    length=st.integers(0, 200),
    position=st.integers(0, 250),
    size=st.integers(1, 60),
    room=st.integers(0, 10),
    until=st.none() | st.integers(0, 250),
)
def test_ranges_tile(
    start: int, length: int, position: int, size: int, room: int, until: int | None
) -> None:
    """From the position on, without gap or overlap, never past the end or `until`, what is lost
    first, no more than there is room for, and with room enough everything."""
    end = start + length
    position = min(position, end)
    if until is not None:
        until = max(until, position)
    cluster = ScriptedCluster()
    cluster.make("t", (start, end))
    source = Ruled(cluster, max_records=size, max_wait=0)
    source.discover({})
    batches = source.poll(
        [want("t/0", position, room, until=None if until is None else str(until))], 0
    )
    assert len(batches) <= room
    at = position
    for batch in batches:
        outcome, first, last = spans([batch])[0]
        assert first == at
        assert last > first
        assert outcome == ("lost" if first < start else "run")
        assert last <= start if outcome == "lost" else last - first <= size
        at = last
    limit = end if until is None else min(end, until)
    assert at <= max(limit, position)
    if len(batches) < room:
        assert at == limit


@given(st.data())
def test_ranges_tile_over_time(data: st.DataObject) -> None:
    """However a log grows and loses its beginning, and whatever is taken in of what is handed
    over, the runs taken in and what was lost cover every offset once."""
    cluster = ScriptedCluster()
    cluster.make("t", (0, 0))
    source = Ruled(cluster, max_records=data.draw(st.integers(1, 20)), max_wait=0)
    source.discover({})
    planned = 0
    taken: list[Batch] = []
    for _ in range(data.draw(st.integers(1, 12))):
        start, end = cluster.held[P0]
        end += data.draw(st.integers(0, 50))
        start += data.draw(st.integers(0, end - start) | st.just(0))
        cluster.held[P0] = Ends(start, end)
        batches = source.poll([want("t/0", planned, data.draw(st.integers(0, 5)))], 0)
        for batch in batches[: data.draw(st.integers(0, len(batches)))]:
            assert int(batch.start) == planned
            assert batch.outcome == "lost" or int(batch.start) >= start
            planned = int(batch.end)
            taken.append(batch)
    covered = [o for batch in taken for o in range(int(batch.start), int(batch.end))]
    assert covered == list(range(planned))
    assert planned <= cluster.held[P0].end


def test_a_job_is_told_what_to_read(cluster: ScriptedCluster, open_source: Open) -> None:
    """Values of a run: topic, partition, range, brokers, group, isolation."""
    cluster.make("t", (0, 3))
    source = open_source(max_wait=0, brokers="a:1,b:2")
    (batch,) = source.poll([want("t/0", 1)], 0)
    assert batch.values == {
        "kafka": {
            "topic": "t",
            "partition": 0,
            "start": 1,
            "end": 3,
            "brokers": "a:1,b:2",
            "group": GROUP,
            "isolation": "read_committed",
        }
    }
    assert batch.count is None


def test_an_incomplete_range_waits(
    cluster: ScriptedCluster, open_source: Open, clock: Clock
) -> None:
    """Full ranges go at once, the rest when its first record has waited for `max_wait`."""
    cluster.make("t", (0, 25))
    source = open_source(max_records=10)
    assert spans(source.poll([want("t/0", 0, 5)], 0)) == [("run", 0, 10), ("run", 10, 20)]
    clock.now += 0.9
    cluster.held[P0] = Ends(0, 27)
    assert source.poll([want("t/0", 20, 5)], 0) == []
    clock.now += 0.1
    assert spans(source.poll([want("t/0", 20, 5)], 0)) == [("run", 20, 27)]


def test_records_that_come_later_wait_for_themselves(
    cluster: ScriptedCluster, open_source: Open, clock: Clock
) -> None:
    """The wait of a range begins with its own first record, not with one that went before."""
    cluster.make("t", (0, 5))
    source = open_source(max_records=10)
    source.poll([want("t/0", 0)], 0)
    clock.now += 0.9
    cluster.held[P0] = Ends(0, 12)
    assert spans(source.poll([want("t/0", 0, 5)], 0)) == [("run", 0, 10)]
    clock.now += 0.2
    assert source.poll([want("t/0", 10, 5)], 0) == []
    clock.now += 0.8
    assert spans(source.poll([want("t/0", 10, 5)], 0)) == [("run", 10, 12)]


def test_the_wait_goes_on_while_there_is_no_room(
    cluster: ScriptedCluster, open_source: Open, clock: Clock
) -> None:
    """What has waited for room need not wait for `max_wait` after it."""
    cluster.make("t", (0, 5))
    source = open_source(max_records=10)
    assert source.poll([want("t/0", 0, 0)], 0) == []
    clock.now += 1.0
    assert spans(source.poll([want("t/0", 0, 1)], 0)) == [("run", 0, 5)]


def test_enough_records_do_not_wait(
    cluster: ScriptedCluster, open_source: Open, clock: Clock
) -> None:
    """From `min_records` on an incomplete range goes at once."""
    cluster.make("t", (0, 3))
    source = open_source(max_records=10, min_records=4)
    assert source.poll([want("t/0", 0)], 0) == []
    cluster.held[P0] = Ends(0, 4)
    assert spans(source.poll([want("t/0", 0)], 0)) == [("run", 0, 4)]


def test_what_retention_took_is_lost_before_anything_runs(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """The lost range comes first, with its reason; `starts` and `gone` know of it."""
    cluster.make("t", (7, 9))
    source = open_source(max_wait=0)
    lost, run = source.poll([want("t/0", 2, 5)], 0)
    assert spans([lost, run]) == [("lost", 2, 7), ("run", 7, 9)]
    assert "begins at 7 now" in lost.reason
    assert source.starts() == {"t/0": "7"}
    assert source.gone("t/0", "6")
    assert not source.gone("t/0", "7")
    assert not source.gone("t/9", "0")


def test_one_question_for_all_partitions(cluster: ScriptedCluster, open_source: Open) -> None:
    """Ends of 500 partitions are asked for at once, and lag is known of all of them."""
    cluster.make("t", *[(0, n) for n in range(500)])
    source = open_source(max_wait=0)
    cluster.asked.clear()
    batches = source.poll([want(f"t/{n}", 0) for n in range(500)], 0)
    assert len(batches) == 499  # one is empty
    assert cluster.asked == {"ends": 1, "topic": 1}
    assert source.lag() == {f"t/{n}": n for n in range(500)}
    source.poll([], 0)
    source.poll([want("t/0", 0)], 0)  # nothing new: no look at the topic
    assert cluster.asked == {"ends": 2, "topic": 1}


def test_isolation_decides_where_reading_ends(cluster: ScriptedCluster, open_source: Open) -> None:
    """The last stable offset by default, the high watermark when told."""
    cluster.make("t", (0, 1))
    open_source().poll([want("t/0", 0)], 0)
    open_source(isolation="read_uncommitted").poll([want("t/0", 0)], 0)
    assert cluster.isolated == [True, True, False, False]  # for the start, then for the poll


STARTS: list[tuple[Any, dict[str, str]]] = [
    ("earliest", {"t/0": "3", "t/1": "0"}),
    ("latest", {"t/0": "9", "t/1": "4"}),
    ("1970-01-01T00:00:01.0005Z", {"t/0": "6", "t/1": "4"}),
    ({0: 5}, {"t/0": "5", "t/1": "0"}),
    ({"0": 9, "1": 4}, {"t/0": "9", "t/1": "4"}),
]


@pytest.mark.parametrize(("start", "positions"), STARTS)
def test_where_a_new_trigger_begins(
    cluster: ScriptedCluster, open_source: Open, start: Any, positions: dict[str, str]
) -> None:
    """Earliest, latest, a time, or given offsets, where the others begin at their earliest."""
    source = open_source(start=start)
    cluster.make("t", (3, 9), (0, 4))
    cluster.times[P0] = 6
    found = source.discover({})
    assert found.partitions == positions
    assert found.identity == "a" * 32
    if isinstance(start, str) and start.startswith("19"):
        assert cluster.asked_time == 1001  # nothing from before that time


@pytest.mark.parametrize(("start", "words"), [({7: 0}, "partition 7"), ({0: 10}, "its end, 9")])
def test_offsets_that_do_not_exist_are_refused(
    cluster: ScriptedCluster, open_source: Open, start: Any, words: str
) -> None:
    """A given offset behind the end, or of no partition, is a mistake and not a wait."""
    source = open_source(start=start)
    cluster.make("t", (3, 9))
    with pytest.raises(SourceRefused, match=words):
        source.discover({})


def test_partitions_that_are_added_begin_at_their_beginning(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """Whatever `start` says: they came up while the trigger was running. The known stay out."""
    cluster.make("t", (0, 9))
    source = open_source(start="latest")
    cluster.make("t", (0, 9), (2, 5))
    assert source.discover(known("t/0")).partitions == {"t/1": "2"}


def test_a_topic_made_again_stops_planning(cluster: ScriptedCluster, open_source: Open) -> None:
    """Even where the new one has the offset: its id is another. Discovery shows the new id."""
    cluster.make("t", (0, 5))
    source = open_source(max_wait=0)
    assert source.poll([want("t/0", 0)], 0)
    cluster.make("t", (0, 50), id="b" * 32)
    with pytest.raises(SourceChanged, match="deleted and made again"):
        source.poll([want("t/0", 5)], 0)
    assert source.discover(known("t/0")).identity == "b" * 32


def test_a_truncated_log_stops_loudly(
    cluster: ScriptedCluster, open_source: Open, clock: Clock
) -> None:
    """An end before the position is waited out for a while (a new leader), then it is an error
    that says what to do; the other partitions go on meanwhile."""
    cluster.make("t", (0, 5), (0, 5))
    source = open_source(max_wait=0)
    wants = [want("t/0", 8), want("t/1", 0)]
    assert spans(source.poll(wants, 0)) == [("run", 0, 5)]
    clock.now += 4
    cluster.held[P0] = Ends(0, 8)
    assert spans(source.poll(wants, 0)) == [("run", 0, 5)]
    cluster.held[P0] = Ends(0, 7)
    source.poll(wants, 0)
    clock.now += 5
    with pytest.raises(SourceChanged, match=r"ends at 7, but was planned up to 8.*checkpoints set"):
        source.poll(wants, 0)


def test_done_is_told_to_the_group(
    cluster: ScriptedCluster, open_source: Open, clock: Clock
) -> None:
    """At most once a second, only what is new, and what came too early is told by a later poll."""
    cluster.make("t", (0, 9), (0, 9))
    source = open_source()
    source.commit({"t/0": "3", "t/1": "end"})
    assert cluster.commits == {(GROUP, P0): Committed(3)}
    source.commit({"t/0": "5", "t/1": "2"})
    assert cluster.asked["commit"] == 1
    clock.now += 1
    source.poll([want("t/0", 9, 0)], 0)
    assert cluster.commits[GROUP, P0] == Committed(5)
    assert cluster.commits[GROUP, TopicPartition("t", 1)] == Committed(2)
    source.commit({"t/0": "5", "t/1": "2"})
    clock.now += 1
    source.poll([want("t/0", 9, 0)], 0)
    assert cluster.asked["commit"] == 2


def test_a_commit_that_fails_is_told_again(
    cluster: ScriptedCluster, open_source: Open, clock: Clock
) -> None:
    """Its failure is the caller's to know, but does not hold up planning."""
    cluster.make("t", (0, 9))
    source = open_source(max_wait=0)
    cluster.fault["commit"] = SourceUnavailable("no coordinator")
    with pytest.raises(SourceUnavailable):
        source.commit({"t/0": "3"})
    clock.now += 60
    assert source.poll([want("t/0", 3)], 0)
    assert cluster.asked["commit"] == 2
    del cluster.fault["commit"]
    clock.now += 60
    source.poll([want("t/0", 3)], 0)
    assert cluster.commits == {(GROUP, P0): Committed(3)}


def test_a_broker_away_is_an_error_and_nothing_else(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """Planning goes on where it was when the broker is back."""
    cluster.make("t", (0, 9))
    source = open_source(max_wait=0)
    cluster.fault["ends"] = SourceUnavailable("nobody answers")
    with pytest.raises(SourceUnavailable):
        source.poll([want("t/0", 4)], 0)
    del cluster.fault["ends"]
    assert spans(source.poll([want("t/0", 4)], 0)) == [("run", 4, 9)]
    assert cluster.closed == 0


def test_a_cluster_that_refuses_is_opened_anew(cluster: ScriptedCluster, open_source: Open) -> None:
    """A password that was mended counts without a restart: secrets are read again."""
    cluster.make("t", (0, 9))
    source = open_source(max_wait=0)
    cluster.fault["ends"] = SourceRefused("wrong password")
    with pytest.raises(SourceRefused):
        source.poll([want("t/0", 4)], 0)
    assert cluster.closed == 1
    del cluster.fault["ends"]
    assert source.poll([want("t/0", 4)], 0)
    source.close()
    source.close()
    assert cluster.closed == 2


@given(start=st.integers(0, 10**6), length=st.integers(1, 1000))
def test_halves_isolate_one_offset_in_few_steps(start: int, length: int) -> None:
    """The two halves tile the run, and a thousand offsets come down to one in ten steps."""
    source = Ruled(ScriptedCluster())
    steps, low, high = 0, start, start + length
    while True:
        ref = RunRef(
            run_id="r", partition="t/0", start=str(low), end=str(high), values={}, inputs=()
        )
        halves = source.split(ref)
        if not halves:
            break
        (_, a, b), (_, c, d) = spans(halves)
        assert (a, b, d) == (low, c, high)
        assert a < b < d
        assert halves[0].values["kafka"]["end"] == b  # type: ignore[index, call-overload]
        low, high = (a, b) if steps % 2 else (c, d)
        steps += 1
    assert high - low == 1
    assert steps <= 10


def test_the_range_alone_says_what_a_job_was_given(
    cluster: ScriptedCluster, open_source: Open
) -> None:
    """A run of which only the range is known can be tried again."""
    cluster.make("t", (0, 5))
    source = open_source(max_records=5)
    (batch,) = source.poll([want("t/0", 0)], 0)
    assert source.given(batch.partition, batch.start, batch.end) == batch.values
    assert not source.follows
