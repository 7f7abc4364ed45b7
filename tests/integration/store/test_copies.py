"""Copies of services in the store: whoever writes, there is never a life too many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.domain.keeping import LIFE_OVER, Pause
from orchestrator.domain.states import AttemptState, Origin, RunState
from orchestrator.services.lifeends import decide_life
from orchestrator.store.claims import Claim
from orchestrator.store.copies import Copies, Copy
from orchestrator.store.heartbeats import Beat, Heard, Heartbeats, Leave, OtherExecution, Unheard
from orchestrator.store.sources import Source, Sources, add_source
from orchestrator.store.values import Flight, Run
from tests.support.ledger import Ledger, claim_of

PAUSE = Pause(initial=SECOND, max=10 * SECOND, healthy_after=MINUTE)
LEASE = 30 * SECOND


class Kept:
    """A service of one copy."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.copies = Copies(ledger.db)
        self.beats = Heartbeats(ledger.db)
        trigger = ledger.trigger("svc", wake_at=None)
        ledger.db.write(lambda tx: add_source(tx, [trigger.uid], ledger.clock.now()), "source")
        self.uid = trigger.uid
        found = Sources(ledger.db, "me").get(self.uid)
        assert found is not None
        self.source: Source = found
        self.copies.want(self.uid, 1)

    @property
    def copy(self) -> Copy:
        return self.copies.all(self.uid)[0]

    def begin(self, *, beside: int = 0, version: int | None = None) -> Run | None:
        source = self.source if version is None else replace(self.source, version=version)
        run_id = self.copies.begin(
            source, self.copy, beside=beside, life_us=15 * MINUTE, priority=0
        )
        return None if run_id is None else self.ledger.run(run_id)

    def claim(self, run: Run) -> Flight:
        claim: Claim = replace(claim_of(self.ledger.run(run)), lease_us=LEASE)
        [flight] = self.ledger.claims.claim([claim], 1000)
        flight = self.ledger.accept(flight)
        self.ledger.flights.seen_running(flight, "n-1").result()
        return self.ledger.flight(flight)

    def alive(self, *, beside: int = 0) -> tuple[Run, Flight]:
        run = self.begin(beside=beside)
        assert run is not None
        return run, self.claim(run)

    def beat(self, run: Run, attempt: int = 1, **said: str) -> Heard:
        return self.beats.take(Beat(run_id=run.id, attempt=attempt, **said)).result(10)

    def settle(self) -> int:
        found = self.ledger.endings.unsettled(10)
        now = self.ledger.clock.now()
        return self.ledger.endings.settle(
            [decide_life(one, PAUSE, now, lambda: 1.0, lambda *_: []) for one in found]
        ).moved

    def change(self) -> None:
        """Another version of the trigger."""
        number = self.source.version + 1
        self.ledger.db.write(
            lambda tx: tx.conn.exec_driver_sql(f"UPDATE triggers SET version = {number}"), "test"
        )
        self.source = replace(self.source, version=number)


@pytest.fixture
def kept(ledger: Ledger) -> Kept:
    return Kept(ledger)


def test_a_life_begins_once(kept: Kept, open_ledger: Callable[..., Ledger]) -> None:
    """Whoever looked at the same moment: one of two orchestrators begins it."""
    other = Copies(open_ledger("other").db)
    before = kept.copy
    run = kept.begin()
    assert run is not None
    assert (run.key, run.origin, run.partition) == ("copy-0/1", Origin.SERVICE, "0")
    assert run.data == {"service": {"copy": 0}}
    for beside in (0, 1):
        again = other.begin(kept.source, before, beside=beside, life_us=1, priority=0)
        assert again is None
    assert kept.begin() is None, "there is one, which was not known of"
    assert kept.begin(beside=1, version=7) is None, "the trigger has another version"


def test_none_begins_where_none_is_wanted(kept: Kept) -> None:
    """Of a paused service, or of a copy that is not wanted."""
    kept.copies.want(kept.uid, 0)
    assert kept.begin() is None
    kept.copies.want(kept.uid, 1)
    kept.ledger.triggers.pause("svc", "", "test")
    assert kept.begin() is None


def test_a_bad_life_is_followed_after_a_pause(kept: Kept) -> None:
    """It is written with its end: how often, how long, and why."""
    for number, wait in ((1, 1), (2, 2), (3, 4)):
        run, flight = kept.alive()
        kept.ledger.end(flight, state=AttemptState.FAILED, exit_code=3, reason="exit 3")
        assert kept.settle() == 1
        ended, copy = kept.ledger.run(run), kept.copy
        assert (ended.state, ended.discarded, ended.released) == (RunState.DEAD, True, True)
        assert (copy.failures, copy.reason, copy.lives) == (number, "exit 3", number)
        assert copy.next_at == kept.ledger.clock.now() + wait * SECOND


def test_what_may_go_on_is_waited_for(kept: Kept) -> None:
    """A life whose task nobody can see keeps the next one back until it has ended itself."""
    _, flight = kept.alive()
    hold = kept.ledger.clock.now() + 45 * SECOND
    kept.ledger.end(
        flight, state=AttemptState.FAILED, exit_code=None, reason="gone", hold_until=hold
    )
    kept.settle()
    assert kept.copy.hold_until == hold


def test_a_life_that_is_over_has_succeeded(kept: Kept) -> None:
    """And one that the cluster could not start is tried again, as the same life."""
    run, flight = kept.alive()
    kept.ledger.end(flight, state=AttemptState.FAILED, counted=False, reason="busy")
    kept.settle()
    assert kept.ledger.run(run).state is RunState.PENDING
    kept.ledger.clock.advance(10 * SECOND)
    kept.ledger.claims.wake_delayed(kept.ledger.clock.now())
    flight = kept.claim(run)
    kept.ledger.clock.advance(15 * MINUTE)
    kept.ledger.end(flight, state=AttemptState.STOPPED, reason=LIFE_OVER)
    kept.settle()
    ended = kept.ledger.run(run)
    assert (ended.state, ended.reason, ended.attempts) == (RunState.SUCCEEDED, LIFE_OVER, 2)
    assert (kept.copy.failures, kept.copy.next_at) == (0, kept.ledger.clock.now())


def test_heartbeats_are_of_the_attempt_under_way(kept: Kept) -> None:
    """An older attempt, a later one, one that is stopped or over: it is to leave."""
    run, flight = kept.alive()
    assert kept.beat(run, checkpoint="7") == Heard(lease_us=LEASE, checkpoint="7")
    for attempt in (2, 9):
        with pytest.raises(Leave):
            kept.beat(run, attempt)
    with pytest.raises(Unheard):
        kept.beats.take(Beat(run_id="r0", attempt=1)).result(10)
    [known] = kept.copies.open(kept.uid)
    kept.ledger.clock.advance(SECOND)
    assert kept.copies.stop(known, "silent", unless_heard_since=kept.copy.heartbeat_at)
    with pytest.raises(Leave, match="silent"):
        kept.beat(run, checkpoint="8")
    kept.ledger.end(kept.ledger.flight(flight), state=AttemptState.STOPPED, reason="silent")
    with pytest.raises(Leave, match="over"):
        kept.beat(run, checkpoint="8")
    kept.settle()
    with pytest.raises(Leave, match="over"):
        kept.beat(run, checkpoint="8")
    assert kept.copy.checkpoint == "7"


def test_a_task_that_was_just_heard_is_not_stopped(kept: Kept) -> None:
    """Between the look and the stop its heartbeat came."""
    run, _ = kept.alive()
    kept.beat(run)
    [known] = kept.copies.open(kept.uid)
    seen = kept.copy.heartbeat_at
    kept.ledger.clock.advance(SECOND)
    kept.beat(run)
    assert not kept.copies.stop(known, "silent", unless_heard_since=seen)
    kept.beat(run)


def test_one_execution_counts(kept: Kept) -> None:
    """The first that was heard, until there is another attempt."""
    run, flight = kept.alive()
    kept.beat(run, execution="e-1")
    with pytest.raises(OtherExecution):
        kept.beat(run, execution="e-2", checkpoint="1")
    kept.ledger.end(flight, state=AttemptState.FAILED, counted=False)
    kept.settle()
    kept.ledger.clock.advance(10 * SECOND)
    kept.ledger.claims.wake_delayed(kept.ledger.clock.now())
    kept.claim(run)
    kept.beat(run, 2, execution="e-2", checkpoint="2")
    assert kept.copy.checkpoint == "2"


def test_the_first_heartbeat_takes_over(kept: Kept) -> None:
    """In one commit the new life counts and the old one is to leave; the old one's end changes
    nothing of what follows."""
    old, flight = kept.alive()
    kept.beat(old, checkpoint="7")
    kept.change()
    new, _ = kept.alive(beside=1)
    assert kept.beat(old, checkpoint="8").checkpoint == "8"
    assert kept.beat(new).checkpoint == "8"
    assert kept.ledger.run(old).cancel == "replaced by version 2"
    with pytest.raises(Leave):
        kept.beat(old, checkpoint="9")
    kept.ledger.end(kept.ledger.flight(flight), state=AttemptState.FAILED, exit_code=1)
    kept.settle()
    assert kept.ledger.run(old).state is RunState.CANCELLED
    assert (kept.copy.failures, kept.copy.next_at, kept.copy.checkpoint) == (0, 0, "8")


def test_a_first_line_is_the_checkpoint(kept: Kept) -> None:
    """Of a life that ended well; one that cannot be kept fails it."""
    _, flight = kept.alive()
    kept.ledger.end(flight, stdout='{"orch.checkpoint": [1, 2]}\n')
    kept.settle()
    assert (kept.copy.checkpoint, kept.copy.failures) == ("[1,2]", 0)
    run, flight = kept.alive()
    kept.ledger.end(flight, stdout='{"orch.checkpoint": [1, 2')
    kept.settle()
    assert kept.ledger.run(run).reason.startswith("the checkpoint was cut off")
    assert (kept.copy.checkpoint, kept.copy.failures) == ("[1,2]", 1)
