"""Trips: dead runs in a row pause their trigger, in the transaction that ends the last of them."""

from __future__ import annotations

import json

from orchestrator.domain.states import RunState, TriggerState
from orchestrator.store.values import Run, Trigger
from tests.support.ledger import Ledger

DEAD, SUCCEEDED = RunState.DEAD, RunState.SUCCEEDED


def end(ledger: Ledger, runs: list[Run], *states: RunState, trip_after: int = 3) -> Trigger:
    """Bring the next runs to their ends; what their trigger is then."""
    for state in states:
        ledger.finish(runs.pop(0), state, reason="exit 3", trip_after=trip_after)
    return ledger.triggers.get("tick")


def test_so_many_in_a_row(ledger: Ledger) -> None:
    """One that succeeds between them begins the count anew; the last one is named."""
    runs = ledger.fire(ledger.trigger(), 6)
    assert end(ledger, runs, DEAD, DEAD, SUCCEEDED, DEAD, DEAD).state is TriggerState.ACTIVE
    last = runs[0]
    tripped = end(ledger, runs, DEAD)
    assert tripped.state is TriggerState.PAUSED
    said = f"tripped: 3 runs in a row were dead, the last one ({last.id}) of: exit 3"
    assert tripped.note == said
    assert ledger.reads.next_wakes([tripped.uid]) == {}
    newest = ledger.reads.trail(limit=1).items[0]
    assert (newest["actor"], newest["action"], newest["subject"]) == ("orch", "trip", "tick")
    assert json.loads(newest["detail"]) == {"note": said}


def test_cancelled_ones_do_not_count(ledger: Ledger) -> None:
    """Neither as dead nor as succeeded: somebody wanted their end."""
    runs = ledger.fire(ledger.trigger(), 4)
    states = (DEAD, RunState.CANCELLED, DEAD)
    assert end(ledger, runs, *states).state is TriggerState.ACTIVE
    assert end(ledger, runs, DEAD).state is TriggerState.PAUSED


def test_runs_that_exist_go_on(ledger: Ledger) -> None:
    """Their ends change neither the note nor the trail, whatever they are."""
    runs = ledger.fire(ledger.trigger(), 5)
    before = end(ledger, runs, DEAD, DEAD, DEAD)
    assert end(ledger, runs, DEAD).note == before.note
    assert end(ledger, runs, SUCCEEDED).state is TriggerState.PAUSED
    actions = [entry["action"] for entry in ledger.reads.trail(limit=10).items]
    assert actions == ["trip", "register"]


def test_after_it_is_resumed_it_counts_anew(ledger: Ledger) -> None:
    """Otherwise the first dead run would pause it again."""
    runs = ledger.fire(ledger.trigger(), 6)
    end(ledger, runs, DEAD, DEAD, DEAD)
    ledger.triggers.resume("tick", {}, "me")
    assert end(ledger, runs, DEAD, DEAD).state is TriggerState.ACTIVE
    assert end(ledger, runs, DEAD).state is TriggerState.PAUSED


def test_several_at_once(ledger: Ledger) -> None:
    """Ended by one look, they count one by one; those of others do not."""
    ledger.trigger("other")
    runs = ledger.fire(ledger.triggers.get("other"), 1) + ledger.fire(ledger.trigger(), 2)
    for flight in ledger.claim(3):
        ledger.end(ledger.accept(flight))
    assert ledger.settle(DEAD, trip_after=2, reason="exit 1") == len(runs)
    assert ledger.triggers.get("tick").state is TriggerState.PAUSED
    assert ledger.triggers.get("other").state is TriggerState.ACTIVE


def test_without_the_setting_none_trips(ledger: Ledger) -> None:
    """However many are dead."""
    runs = ledger.fire(ledger.trigger(), 10)
    for run in runs:
        ledger.finish(run, DEAD)
    assert ledger.triggers.get("tick").state is TriggerState.ACTIVE
