"""The clock is set: what waits for a while still waits for that while, and is moved once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from orchestrator.domain.clock import HOUR, MINUTE, SECOND
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.store.outbox import Callback, Pending
from orchestrator.store.values import Flight, Run
from tests.support.ledger import STEP, Ledger, claim_of

Open = Callable[..., Ledger]
HOOK = Callback(event="on_success", target={"url": "http://127.0.0.1:9/"}, payload={})


def delayed(ledger: Ledger, wait: int) -> Run:
    """A run whose next attempt comes after `wait`."""
    [run] = ledger.fire(ledger.trigger(f"retried-{len(ledger.runs())}"))
    [flight] = ledger.claims.claim([claim_of(run)], 100)
    ledger.end(ledger.accept(flight), state=AttemptState.FAILED)
    ledger.settle(RunState.PENDING, not_before=ledger.clock.now() + wait)
    return run


def flying(ledger: Ledger) -> Flight:
    """An attempt that was told to stop, and whose grace runs."""
    [run] = ledger.fire(ledger.trigger(f"flying-{len(ledger.runs())}"))
    flight = ledger.accept(ledger.claims.claim([claim_of(run)], 100)[0])
    now = ledger.clock.now()
    assert ledger.flights.stopped(flight, now, now + 15 * SECOND).result()
    return flight


def callback(ledger: Ledger, wait: int) -> Pending:
    """A callback that failed once and comes again after `wait`."""
    [run] = ledger.fire(ledger.trigger(f"told-{len(ledger.runs())}"))
    ledger.finish(run, callbacks=[HOOK])
    [pending] = ledger.outbox.pending(ledger.clock.now())
    ledger.outbox.failed(pending, "away", ledger.clock.now() + wait)
    return pending


@pytest.mark.parametrize("step", [HOUR, -HOUR, MINUTE], ids=["forward", "back", "a minute"])
def test_waits_move_with_the_clock(ledger: Ledger, step: int) -> None:
    """Retries, rates, deadlines, holds and callbacks were to last a while, not an hour more or
    less; what is ready stays so."""
    ledger.clock.advance(10 * STEP)
    retried = delayed(ledger, 5 * SECOND)
    callback(ledger, 9 * SECOND)
    trigger = ledger.trigger("limited")
    [ready] = ledger.fire(trigger)
    first, second = ledger.fire(trigger, 2, rate=0.1)
    ledger.finish(first)
    flight = flying(ledger)
    now = ledger.clock.step(step)
    ledger.waits.shift(step, now)
    assert ledger.run(retried).not_before == now + 5 * SECOND
    assert ledger.run(second).not_before == now + 10 * SECOND
    assert ledger.scalar("SELECT max(rate_next) FROM triggers") == now + 20 * SECOND
    assert ledger.flight(flight).deadline_at == now + 25 * SECOND
    assert ledger.flight(flight).hold_until == now + 15 * SECOND
    assert ledger.outbox.next_at() == now + 9 * SECOND
    assert [run.id for run in ledger.claims.ready(10)] == [ready.id]


def test_what_was_delivered_does_not_move(ledger: Ledger) -> None:
    """An ended wait is history."""
    callback(ledger, SECOND)
    [pending] = ledger.outbox.pending(ledger.clock.advance(2 * SECOND))
    ledger.outbox.delivered(pending)
    ledger.waits.shift(HOUR, ledger.clock.step(HOUR))
    assert ledger.scalar("SELECT next_at FROM outbox") == pending.next_at


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_two_orchestrators_on_one_machine(open_ledger: Open, step: int) -> None:
    """What they share moves once, what belongs to one of them by that one."""
    one, other = open_ledger("one"), open_ledger("other")
    retried = delayed(one, 5 * SECOND)
    callback(one, 9 * SECOND)
    flights = [flying(one), flying(other)]
    now = one.clock.step(step)
    one.waits.shift(step, now)
    assert other.flight(flights[1]).deadline_at == now - step + 25 * SECOND
    # It measures for itself, a moment later.
    later = one.clock.advance(SECOND)
    other.waits.shift(step + 40_000, later)
    assert one.run(retried).not_before == now + 5 * SECOND
    assert one.outbox.next_at() == now + 9 * SECOND
    assert one.flight(flights[0]).deadline_at == now + 25 * SECOND
    assert other.flight(flights[1]).deadline_at == now + 25 * SECOND + 40_000


def test_steps_that_follow_each_other_are_each_made_up_for(open_ledger: Open) -> None:
    """The same step again, and one back, are other steps."""
    one, other = open_ledger("one"), open_ledger("other")
    retried = delayed(one, 10 * SECOND)
    for step in (-HOUR, -HOUR, HOUR):
        now = one.clock.step(step)
        for ledger in (other, one):
            ledger.waits.shift(step, now)
        assert one.run(retried).not_before == now + 10 * SECOND


def test_at_the_same_moment(open_ledger: Open) -> None:
    """Both write at once: one of them moves what they share."""
    ledgers = [open_ledger("one"), open_ledger("other")]
    for _ in range(8):
        retried = delayed(ledgers[0], 10 * SECOND)
        now = ledgers[0].clock.step(-HOUR)
        together = threading.Barrier(2)

        def shift(ledger: Ledger, now: int, together: threading.Barrier) -> None:
            together.wait()
            ledger.waits.shift(-HOUR, now)

        threads = [
            threading.Thread(target=shift, args=(ledger, now, together)) for ledger in ledgers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ledgers[0].run(retried).not_before == now + 10 * SECOND
        ledgers[0].clock.advance(5 * MINUTE)
