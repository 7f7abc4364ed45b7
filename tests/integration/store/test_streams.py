"""Streams in the store: batches, lines, halves, restores, retention."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain.clock import SECOND
from orchestrator.domain.states import Origin, RunState
from orchestrator.store.intake import new_run
from orchestrator.store.schema import runs as runs_table
from orchestrator.store.sources import STRIDE, Sources
from orchestrator.store.streams import StreamBatch, Streams, batch_key, read_key
from orchestrator.store.values import Run
from tests.support.ledger import Ledger
from tests.support.streamledger import HOW, Stream


def test_batches_move_planned_and_wait_in_line(stream: Stream) -> None:
    """Runs are inserted with their ranges as `planned` moves; only as many as there is room for
    become ready, the earliest first."""
    assert stream.plan(10, 20, 30) == {"p0"}
    place = stream.place()
    assert (place.planned, place.done, place.ordinal) == ("30", "0", 3 * STRIDE)
    assert (place.open_runs, place.in_line) == (3, 2)
    assert [r.queue for r in stream.runs()] == ["ready", "line", "line"]
    assert [r.key for r in stream.runs()] == ["p0/0-10", "p0/10-20", "p0/20-30"]
    stream.finish(stream.runs()[0])
    assert [r.queue for r in stream.runs()] == [None, "ready", "line"]
    assert stream.place().done == "10"


def test_a_partition_that_moved_meanwhile_takes_nothing(stream: Stream) -> None:
    """A batch that was planned from an older state of its partition is left out."""
    before = stream.place()
    stream.plan(10)
    assert stream.plan(20, at=before) == set()
    assert len(stream.runs()) == 1
    assert stream.place().planned == "10"


def test_two_orchestrators_never_take_in_the_same_range(
    open_ledger: Callable[..., Ledger],
) -> None:
    """Whichever commits first has it; the other one's batch is left out."""
    first = Stream(open_ledger())
    other = Streams(open_ledger("other").db)
    place, row = first.place(), first.row
    batches = first.batches(place, 10)
    taken = [
        first.streams.take_in(row, {place: batches}, HOW),
        other.take_in(row, {place: batches}, HOW),
    ]
    assert taken == [{"p0"}, set()]
    assert first.leaves() == [("0", "10")]


def test_a_source_belongs_to_one_living_orchestrator(open_ledger: Callable[..., Ledger]) -> None:
    """Another one claims it only once its owner's lease is over."""
    mine, theirs = open_ledger("me"), open_ledger("they")
    stream = Stream(mine)
    mine.leases.renew(30 * SECOND)
    theirs.leases.renew(3600 * SECOND)
    stream.sources.claim([stream.uid])
    Sources(theirs.db, "they").claim([stream.uid])
    assert stream.row.owner == "me"
    mine.leases.give_back()
    Sources(theirs.db, "they").claim([stream.uid])
    assert stream.row.owner == "they"


def test_a_dead_run_holds_its_line_up_until_it_is_let_go(stream: Stream) -> None:
    """With `blocks` the line stands still behind a dead run; discarding and promoting moves it."""
    stream.plan(10, 20)
    dead = stream.finish(stream.runs()[0], RunState.DEAD, blocks=True)
    assert stream.place().blocked
    assert [r.queue for r in stream.runs()] == [None, "line"]
    assert stream.streams.promote(stream.uid, ["p0"], HOW) == 0
    stream.ledger.commands.discard(None, [dead.id], "", "test")
    assert stream.place().done == "10"
    assert stream.streams.promote(stream.uid, ["p0"], HOW) == 1


def test_a_lost_range_is_dead_at_once(stream: Stream) -> None:
    """It stands in the ledger with its place; released, `done` goes over it."""
    stream.plan(10, state=RunState.DEAD, reason="lost range: x")
    assert stream.place().done == "0"
    stream.plan(20, state=RunState.DEAD, reason="lost range: y", released=True)
    [first, second] = stream.runs()
    assert (first.state, first.released, second.released) == (RunState.DEAD, False, True)
    stream.ledger.commands.discard(None, [first.id], "", "test")
    assert stream.place().done == "20"


def test_a_skipped_range_needs_nobody(stream: Stream) -> None:
    """Ranges in which nothing is to run are in the ledger, and `done` goes over them."""
    stream.plan(10, state=RunState.SKIPPED, reason="filtered")
    assert stream.place().done == "10"


def halves(run: Run) -> list[StreamBatch]:
    start, end = int(run.range_start or 0), int(run.range_end or 0)
    middle = (start + end) // 2
    return [
        StreamBatch(start=str(a), end=str(b), values={})
        for a, b in ((start, middle), (middle, end))
    ]


def test_halves_stand_in_the_place_of_their_run(stream: Stream) -> None:
    """A split run ends as skipped and leaves its place; the ranges of what has a place tile."""
    stream.plan(1024, 2048)
    run = stream.finish(stream.runs()[0], RunState.DEAD, blocks=True)
    for _ in range(10):
        assert stream.streams.split(run.id, halves(run), HOW)
        left = next(r for r in stream.runs() if r.queue == "ready")
        assert left.range_start == "0"
        run = stream.finish(left, RunState.DEAD, blocks=True)
    assert (run.range_start, run.range_end) == ("0", "1")
    leaves = stream.leaves()
    assert leaves[0][0] == "0"
    assert leaves[-1][1] == "2048"
    assert all(a[1] == b[0] for a, b in itertools.pairwise(leaves))
    assert sum(r.reason == "split" for r in stream.runs()) == 10


def test_a_run_is_halved_once(stream: Stream) -> None:
    """Splitting it again, or one that is not dead, changes nothing."""
    stream.plan(10)
    [run] = stream.runs()
    assert not stream.streams.split(run.id, halves(run), HOW)
    run = stream.finish(run, RunState.DEAD, blocks=True)
    assert stream.streams.split(run.id, halves(run), HOW)
    assert not stream.streams.split(run.id, halves(run), HOW)
    assert stream.leaves() == [("0", "5"), ("5", "10")]


def test_a_place_is_halved_twenty_times_at_most(stream: Stream) -> None:
    """Then there is no room between two ordinals, and the run stays dead."""
    stream.plan(10)
    run = stream.finish(stream.runs()[0], RunState.DEAD, blocks=True)
    parts: list[StreamBatch] = []
    for depth in range(20):
        parts = [
            StreamBatch(start="0", end=f"{depth}.5", values={}),
            StreamBatch(start=f"{depth}.5", end="10", values={}),
        ]
        assert stream.streams.split(run.id, parts, HOW)
        left = next(r for r in stream.ledger.runs() if r.queue == "ready")
        run = stream.finish(left, RunState.DEAD, blocks=True)
    assert not stream.streams.split(run.id, parts, HOW)
    assert stream.ledger.run(run).state is RunState.DEAD


def put_back(stream: Stream, start: int, end: int) -> str:
    """A run as a restore has found it on the cluster: with a range, and no place."""
    key = f"p0/{start}-{end}"
    row = new_run(
        stream.ledger.db.instance,
        stream.uid,
        key,
        version=1,
        definition=stream.row.definition,
        origin=Origin.RESTORED,
        partition="p0",
        due_at=stream.ledger.clock.now(),
        now=stream.ledger.clock.now(),
    ) | {"range_start": str(start), "range_end": str(end)}
    stream.ledger.db.write(lambda tx: tx.conn.execute(sa.insert(runs_table), [row]), "test")
    return row["id"]


def test_what_a_restore_has_found_takes_its_place_before_anything_is_planned(
    stream: Stream,
) -> None:
    """Runs that follow each other are gone over; one further on bounds what may be planned. Each
    gets what its source says that it was given."""

    def given(start: str, end: str) -> dict[str, str]:
        return {"of": f"{start}-{end}"}

    put_back(stream, 0, 10)
    put_back(stream, 10, 25)
    far = put_back(stream, 40, 50)
    assert stream.streams.has_loose(stream.uid) == {"p0"}
    assert stream.streams.absorb(stream.uid, "p0", given) == "40"
    assert stream.place().planned == "25"
    assert stream.place().done == "0"
    stream.plan(40)
    assert stream.streams.absorb(stream.uid, "p0", given) is None
    assert stream.place().planned == "50"
    assert stream.leaves() == [("0", "10"), ("10", "25"), ("25", "40"), ("40", "50")]
    assert stream.ledger.run(far).ordinal == 3 * STRIDE
    assert stream.ledger.run(far).data == {"of": "40-50"}
    assert stream.streams.has_loose(stream.uid) == set()


def test_retention_removes_a_prefix_of_halves_too(stream: Stream) -> None:
    """Ended leaves go from the front, `base` follows, what is left still tiles."""
    stream.plan(8, 16)
    run = stream.finish(stream.runs()[0], RunState.DEAD, blocks=True)
    stream.streams.split(run.id, halves(run), HOW)
    for _ in range(3):
        ready = next(r for r in stream.runs() if r.queue == "ready")
        stream.finish(ready, blocks=True)
    assert stream.place().done == "16"
    stream.ledger.clock.advance(60 * SECOND)
    stream.plan(24)
    while stream.ledger.retention.sweep(stream.ledger.clock.now() - SECOND, limit=2):
        pass
    rows = stream.ledger.rows(sa.text("SELECT base, base_ordinal, ordinal FROM partitions"))
    assert rows == [{"base": "16", "base_ordinal": 2 * STRIDE, "ordinal": 3 * STRIDE}]
    assert stream.leaves() == [("16", "24")]


def test_retention_waits_for_objects(stream: Stream) -> None:
    """A run whose objects are still there stays until they are removed."""
    inputs: Sequence[Mapping[str, Any]] = [{"Source": {"Type": "s3"}, "Target": "/in"}]
    stream.plan(10, inputs=inputs)
    [run] = stream.runs()
    assert run.data == {"log": {"start": 0, "end": 10}, "inputs": 1}
    stream.finish(run)
    stream.ledger.clock.advance(60 * SECOND)
    now = stream.ledger.clock.now()
    assert stream.ledger.retention.sweep(now) == 0
    [(run_id, objects)] = stream.leftovers.payloads(stream.uid, now)
    assert (run_id, objects) == (run.id, list(inputs))
    stream.leftovers.removed([run_id])
    assert stream.leftovers.payloads(stream.uid, now) == []
    assert stream.ledger.retention.sweep(now) == 1


def test_dead_runs_are_tended_once(stream: Stream) -> None:
    """What the source says is kept; released, it holds nothing up; redriven, it is asked anew."""
    stream.plan(10, 20)
    run = stream.finish(stream.runs()[0], RunState.DEAD, blocks=True)
    [found] = stream.leftovers.untended(stream.uid)
    assert (found.id, found.start, found.end) == (run.id, "0", "10")
    assert stream.leftovers.keep(run.id, {"copy": "s3://x"}, release=True, how=HOW)
    assert not stream.leftovers.keep(run.id, {}, release=True, how=HOW)
    assert stream.leftovers.untended(stream.uid) == []
    assert [r.queue for r in stream.runs()] == [None, "ready"]
    assert stream.place().done == "10"
    stream.ledger.commands.retry(run.id, "me")
    assert stream.ledger.run(run).kept is None


@pytest.mark.parametrize(
    ("partition", "start", "end"), [("logs/3", "0", "10"), ("shardId-0001", "at:1_2", "end")]
)
def test_keys_of_ranges_are_read_back(partition: str, start: str, end: str) -> None:
    """After a restore a job's key says which range it was for."""
    batch = StreamBatch(start=start, end=end, values={})
    for generation in (0, 3):
        key = batch_key(partition, batch, generation=generation, ordinal=0)
        assert read_key(key) == (partition, start, end)
    assert read_key("2026-03-29T01:00:00Z") is None


def test_a_partition_that_is_over_goes_after_its_runs(stream: Stream) -> None:
    """One that is not at its end, or of which the ledger still tells, stays."""
    stream.sources.found(stream.uid, "one", {"p1": "0"})
    [batch] = stream.batches(stream.place(), 10)
    last = replace(batch, end="end")
    stream.streams.take_in(stream.row, {stream.place(): [last]}, HOW)
    names = ["p0", "p1", "p9"]
    retire = stream.leftovers.retire
    assert retire(stream.uid, names) == 0
    stream.finish(stream.ledger.runs()[0])
    assert retire(stream.uid, names) == 0
    stream.ledger.clock.advance(60 * SECOND)
    assert stream.ledger.retention.sweep(stream.ledger.clock.now()) == 1
    assert retire("another", names) == 0
    assert retire(stream.uid, names) == 1
    assert [place.name for place in stream.sources.partitions(stream.uid)] == ["p1"]
