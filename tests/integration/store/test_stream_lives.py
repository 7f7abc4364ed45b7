"""Streams in the store: lives and their progress, jumps of checkpoints."""

from __future__ import annotations

import pytest

from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.lives import Reached
from orchestrator.store.sources import Sources
from orchestrator.store.streams import StreamBatch
from orchestrator.store.values import Run
from tests.support.ledger import Ledger
from tests.support.streamledger import HOW, Stream


def life(stream: Stream) -> Run:
    """A life that begins where the partition stands."""
    place = stream.place()
    at = place.planned or "0"
    batch = StreamBatch(
        start=at, end=at, values={"log": {"start": int(at)}}, life_us=MINUTE, stall_us=SECOND
    )
    assert stream.streams.take_in(stream.row, {place: [batch]}, HOW) == {"p0"}
    return stream.runs()[-1]


def test_progress_moves_a_life_and_its_partition(stream: Stream) -> None:
    """Run, `planned` and `done` move together; progress that was read of an older attempt or
    place moves nothing."""
    life(stream)
    [flight] = stream.ledger.claim()
    stream.ledger.accept(flight)
    [seen] = stream.lives.open(stream.uid)
    news = Reached(life=seen, position="40", final=False)
    assert stream.lives.reached(stream.uid, [news]) == 1
    assert stream.lives.reached(stream.uid, [news]) == 0
    place = stream.place()
    assert (place.planned, place.done) == ("40", "40")
    [run] = stream.runs()
    assert (run.range_start, run.range_end, run.tries) == ("0", "40", 0)


def test_a_life_ends_only_after_its_last_progress_was_read(stream: Stream) -> None:
    """An ended attempt waits until somebody has said where it got to."""
    life(stream)
    [flight] = stream.ledger.claim()
    flight = stream.ledger.accept(flight)
    assert stream.ledger.end(flight)
    assert stream.ledger.endings.unsettled(10) == []
    [seen] = stream.lives.open(stream.uid)
    assert seen.closing
    assert seen.attempt_state is AttemptState.SUCCEEDED
    stream.lives.reached(stream.uid, [Reached(life=seen, position="7", final=True)])
    assert stream.ledger.settle(RunState.SUCCEEDED) == 1
    [run] = stream.runs()
    assert (run.state, run.range_end) == (RunState.SUCCEEDED, "7")
    assert stream.lives.open(stream.uid) == []
    following = life(stream)
    assert following.range_start == "7"


def test_a_dead_life_holds_its_partition_up_behind_its_progress(stream: Stream) -> None:
    """What it had done stays done."""
    life(stream)
    [flight] = stream.ledger.claim()
    flight = stream.ledger.accept(flight)
    stream.ledger.end(flight, state=AttemptState.FAILED)
    [seen] = stream.lives.open(stream.uid)
    stream.lives.reached(stream.uid, [Reached(life=seen, position="9", final=True)])
    stream.ledger.settle(RunState.DEAD, blocks=True)
    place = stream.place()
    assert (place.planned, place.done, place.blocked) == ("9", "9", True)


def test_checkpoints_jump_only_while_paused(stream: Stream) -> None:
    """A bridge in the ledger, keys of their own for what comes again, a stale plan left out."""
    stream.plan(10)
    before = stream.place()
    with pytest.raises(Conflict, match="only while it is paused"):
        stream.sources.set_checkpoints("stream", {"p0": "5"}, "why", "me")
    stream.ledger.triggers.pause("stream", "", "me")
    with pytest.raises(Missing, match="no partition 'p9'"):
        stream.sources.set_checkpoints("stream", {"p9": "5"}, "why", "me")
    stream.sources.set_checkpoints("stream", {"p0": "5"}, "why", "me")
    assert stream.plan(20, at=before) == set()
    stream.plan(10)
    bridge = next(r for r in stream.runs() if r.state is RunState.SKIPPED)
    assert (bridge.range_start, bridge.range_end, bridge.reason) == ("10", "5", "checkpoint: why")
    assert {r.key for r in stream.runs()} == {"p0/0-10", "p0/jump-1", "p0/5-10~1"}


def test_a_jump_ends_what_a_life_has_to_say(stream: Stream) -> None:
    """A life that is under way is asked to end; what it reaches after that moves nothing."""
    life(stream)
    [flight] = stream.ledger.claim()
    stream.ledger.accept(flight)
    [seen] = stream.lives.open(stream.uid)
    stream.lives.reached(stream.uid, [Reached(life=seen, position="40", final=False)])
    [seen] = stream.lives.open(stream.uid)
    stream.ledger.triggers.pause("stream", "", "me")
    stream.sources.set_checkpoints("stream", {"p0": "5"}, "again", "me")
    assert stream.lives.reached(stream.uid, [Reached(life=seen, position="50", final=False)]) == 0
    assert (stream.place().planned, stream.leaves()) == ("5", [("0", "40"), ("40", "5")])
    [run] = [run for run in stream.runs() if run.ended_at is None]
    assert run.cancel == "checkpoint: again"


def test_checkpoints_of_a_schedule_are_not_set(ledger: Ledger) -> None:
    """They are due times, and follow the schedule."""
    ledger.trigger(name="cron")
    with pytest.raises(Conflict, match="no checkpoints that can be set"):
        Sources(ledger.db, "me").set_checkpoints("cron", {"schedule": "5"}, "why", "me")


def test_restarting_closes_what_is_gone_and_begins_what_is_new(stream: Stream) -> None:
    """Asked for once, done once."""
    stream.plan(10)
    stream.sources.found(stream.uid, "one", {"p1": "0"})
    stream.ledger.triggers.pause("stream", "", "me")
    stream.sources.ask_restart("stream", "made again", "me")
    stream.sources.restart(stream.uid, "two", {"p0": "3", "p2": "0"})
    stream.sources.restart(stream.uid, "three", {"p0": "7"})
    assert stream.row.identity == "two"
    places = {p.name: p.planned for p in stream.sources.partitions(stream.uid)}
    assert places == {"p0": "3", "p1": None, "p2": "0"}
