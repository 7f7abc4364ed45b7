"""Endings: run, checkpoint and callbacks move together, once."""

from __future__ import annotations

import pytest

from orchestrator.domain.clock import SECOND
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import AttemptState, Queue, RunState, TriggerState
from orchestrator.store.endings import Settlement
from orchestrator.store.errors import Missing
from orchestrator.store.outbox import Callback
from tests.support.clocks import START
from tests.support.ledger import STEP, Ledger

CALLBACK = Callback(event="on_failure", target={"url": "http://x"}, payload={"k": "é"})


def done(ledger: Ledger, name: str = "tick") -> int:
    """How many due times `done` has passed."""
    [partition] = ledger.reads.partitions(ledger.triggers.get(name).uid)
    return (int(partition.done or 0) - START) // STEP


def test_an_ending_settles_its_run_once(ledger: Ledger) -> None:
    """The run ends with its attempt; a second settlement of the same look moves nothing."""
    [run] = ledger.fire(ledger.trigger())
    [flight] = ledger.claim()
    ledger.end(ledger.accept(flight))
    unsettled = ledger.endings.unsettled(10)
    settlement = Settlement(
        unsettled=unsettled[0], state=RunState.SUCCEEDED, tries=1, callbacks=[CALLBACK]
    )
    assert ledger.endings.settle([settlement]).moved == 1
    assert ledger.endings.settle([settlement]).moved == 0
    assert ledger.endings.unsettled(10) == []
    after = ledger.run(run)
    assert (after.state, after.ended_at, after.tries) == (
        RunState.SUCCEEDED,
        ledger.clock.now(),
        1,
    )
    assert ledger.scalar("SELECT count(*) FROM outbox") == 1
    assert ledger.claims.in_flight() == 0


def test_done_moves_over_the_contiguous_prefix(ledger: Ledger) -> None:
    """It stops before the first run that is open, whatever has ended behind it."""
    runs = ledger.fire(ledger.trigger(), 4)
    for position, expected in [(2, 0), (0, 1), (1, 3), (3, 4)]:
        ledger.finish(runs[position])
        assert done(ledger) == expected


def test_done_stops_before_the_dead_until_they_are_released(ledger: Ledger) -> None:
    """Redriving moves it on by success, discarding at once."""
    runs = ledger.fire(ledger.trigger(), 3)
    for run in runs:
        ledger.finish(run, RunState.DEAD if run.ordinal != 1 else RunState.CANCELLED)
    assert done(ledger) == 0
    assert ledger.commands.redrive("tick", [runs[0].id], "me") == 1
    assert done(ledger) == 0
    ledger.finish(runs[0])
    assert done(ledger) == 2
    assert ledger.commands.discard("tick", [], "note", "me") == 1
    assert done(ledger) == 3
    assert ledger.run(runs[2]).released


def test_callbacks_are_written_with_every_ending(ledger: Ledger) -> None:
    """A run that dies, is redriven and dies again tells it twice."""
    [run] = ledger.fire(ledger.trigger())
    for _ in range(2):
        ledger.finish(run, RunState.DEAD, callbacks=[CALLBACK])
        ledger.commands.redrive(None, [], "me")
    pending = ledger.outbox.pending(ledger.clock.now())
    assert [(p.event, p.target, p.payload) for p in pending] == [
        ("on_failure", {"url": "http://x"}, '{"k":"é"}')
    ] * 2


def test_a_cancelled_run_tells_twice_too(ledger: Ledger) -> None:
    """Cancelled before any attempt, retried and cancelled again."""
    [run] = ledger.fire(ledger.trigger())
    for _ in range(2):
        ledger.commands.cancel(run.id, "no", "me")
        ledger.settle(RunState.CANCELLED, callbacks=[CALLBACK])
        ledger.commands.retry(run.id, "me")
    assert len(ledger.outbox.pending(ledger.clock.now())) == 2


def test_callbacks_share_the_fate_of_their_ending(ledger: Ledger) -> None:
    """A settlement that is late writes none."""
    [run] = ledger.fire(ledger.trigger())
    [flight] = ledger.claim()
    ledger.end(ledger.accept(flight))
    [unsettled] = ledger.endings.unsettled(10)
    ledger.settle(RunState.SUCCEEDED)
    late = Settlement(unsettled=unsettled, state=RunState.DEAD, callbacks=[CALLBACK])
    assert ledger.endings.settle([late]).moved == 0
    assert ledger.outbox.next_at() is None
    assert ledger.run(run).state is RunState.SUCCEEDED


def test_delivery_is_noted_once(ledger: Ledger) -> None:
    """Delivered callbacks are not told again; failed ones at their time, given up ones never."""
    runs = ledger.fire(ledger.trigger(), 3)
    for run in runs:
        ledger.finish(run, RunState.DEAD, callbacks=[CALLBACK])
    one, two, three = ledger.outbox.pending(ledger.clock.now())
    ledger.outbox.delivered(one)
    ledger.outbox.failed(two, "refused", ledger.clock.now() + SECOND)
    ledger.outbox.failed(two, "late news", None)
    ledger.outbox.failed(three, "gone", None)
    assert ledger.outbox.pending(ledger.clock.now()) == []
    assert ledger.outbox.next_at() == ledger.clock.now() + SECOND
    [again] = ledger.outbox.pending(ledger.clock.now() + SECOND)
    assert (again.id, again.tries) == (two.id, 1)


def test_a_retry_waits_for_its_time(ledger: Ledger) -> None:
    """Between two attempts a run is pending, with a new number for the next."""
    [run] = ledger.fire(ledger.trigger())
    [flight] = ledger.claim()
    ledger.end(ledger.accept(flight), state=AttemptState.FAILED, reason="exit 3")
    ledger.settle(RunState.PENDING, not_before=ledger.clock.now() + SECOND, reason="exit 3")
    waiting = ledger.run(run)
    assert (waiting.state, waiting.queue, waiting.reason) == (
        RunState.PENDING,
        Queue.DELAYED,
        "exit 3",
    )
    assert ledger.claim() == []
    ledger.clock.advance(SECOND)
    assert ledger.claims.wake_delayed(ledger.clock.now()) == 1
    [second] = ledger.claim()
    assert (second.number, second.fence) == (2, 2)


def test_endings_of_many_partitions_in_one_go(ledger: Ledger) -> None:
    """One settlement moves all of them, and each line by its own room."""
    for n in range(3):
        ledger.fire(ledger.trigger(f"t{n}"), 3, overlap=Overlap.QUEUE)
    for flight in ledger.claim():
        ledger.end(ledger.accept(flight))
    assert ledger.settle(RunState.SUCCEEDED) == 3
    assert len(ledger.claims.ready(10)) == 3
    assert [done(ledger, f"t{n}") for n in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("cancel", [True, False])
def test_a_deleted_trigger_goes_with_its_last_run(ledger: Ledger, cancel: bool) -> None:
    """Drained or cancelled; then the name is free, and the ledger is still there."""
    trigger = ledger.trigger()
    [run] = ledger.fire(trigger)
    ledger.triggers.delete("tick", cancel=cancel, actor="me")
    assert ledger.endings.finish_deletions() == 0
    assert ledger.triggers.get("tick").state is TriggerState.DELETING
    if cancel:
        ledger.settle(RunState.CANCELLED)
    else:
        ledger.finish(run)
    assert ledger.endings.finish_deletions() == 1
    with pytest.raises(Missing):
        ledger.triggers.get("tick")
    assert ledger.trigger().uid != trigger.uid
    assert ledger.run(run).trigger_name == "tick"


def test_a_trigger_that_drains_is_cancelled_after_all(ledger: Ledger) -> None:
    """Deleted again with `cancel`, its open runs end; without, nothing changes. Then it is gone."""
    ledger.fire(ledger.trigger())
    ledger.triggers.delete("tick", cancel=False, actor="me")
    assert ledger.triggers.delete("tick", cancel=False, actor="me").state is TriggerState.DELETING
    assert ledger.settle(RunState.CANCELLED) == 0
    ledger.triggers.delete("tick", cancel=True, actor="me")
    assert ledger.settle(RunState.CANCELLED) == 1
    assert ledger.endings.finish_deletions() == 1
    with pytest.raises(Missing):
        ledger.triggers.delete("tick", cancel=True, actor="me")
