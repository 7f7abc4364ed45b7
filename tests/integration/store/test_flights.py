"""Attempts under way: claims, fences, leases, deadlines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from orchestrator.domain.clock import HOUR, SECOND
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import AttemptState, Queue, RunState
from orchestrator.store.flights import Ending
from orchestrator.store.leases import Leases
from orchestrator.store.schema import runs
from tests.support.ledger import Ledger, claim_of


def test_a_claim_stores_the_attempt_before_anything_is_sent(ledger: Ledger) -> None:
    """Bytes, name and number are in the store; the run is submitting and ours."""
    ledger.fire(ledger.trigger())
    [flight] = ledger.claim()
    [loaded] = ledger.flights.load([AttemptState.SENDING])
    assert loaded == flight
    assert flight.body == f"{flight.run_id}/1".encode()
    assert ledger.runs()[0].state is RunState.SUBMITTING
    assert ledger.claims.in_flight() == 1
    assert ledger.claim() == []


def test_a_run_is_claimed_once(ledger: Ledger) -> None:
    """Two claims of the same look: one wins."""
    ledger.fire(ledger.trigger(), 3)
    claims = [claim_of(run) for run in ledger.claims.ready(10)]
    assert len(ledger.claims.claim(claims, 100)) == 3
    assert ledger.claims.claim(claims, 100) == []


@pytest.mark.parametrize("bound", [0, 1, 4])
def test_claims_stay_within_the_bound(ledger: Ledger, bound: int) -> None:
    """Counted at the claim, over all that are in flight."""
    ledger.fire(ledger.trigger(), 6)
    assert len(ledger.claim(max_in_flight=bound)) == bound
    assert ledger.claim(max_in_flight=bound) == []
    assert ledger.claims.in_flight() == bound


def test_concurrent_claims_stay_within_the_bound(open_ledger: Callable[..., Ledger]) -> None:
    """Two orchestrators at once never have more in flight together than is allowed."""
    ledgers = [open_ledger("one"), open_ledger("other")]
    ledgers[0].fire(ledgers[0].trigger(), 60)
    won: list[str] = []
    together = threading.Barrier(4)

    def work(ledger: Ledger) -> None:
        together.wait()
        for _ in range(8):
            won.extend(flight.run_id for flight in ledger.claim(4, max_in_flight=20))

    threads = [threading.Thread(target=work, args=(ledgers[n % 2],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == len(set(won)) == 20
    assert ledgers[0].claims.in_flight() == 20


def test_priority_then_age(ledger: Ledger) -> None:
    """What is more urgent goes first, then what is due first."""
    low, high = ledger.trigger("low"), ledger.trigger("high")
    ledger.fire(low, 2)
    ledger.fire(high, 2, priority=5)
    order = [(run.trigger_name, run.ordinal) for run in ledger.claims.ready(10)]
    assert order == [("high", 0), ("high", 1), ("low", 0), ("low", 1)]


def test_a_cancelled_run_is_not_claimed(ledger: Ledger) -> None:
    """Also where it was looked at before the command."""
    [run] = ledger.fire(ledger.trigger())
    claims = [claim_of(run)]
    ledger.commands.cancel(run.id, "no", "me")
    assert ledger.claims.claim(claims, 10) == []
    assert ledger.claims.ready(10) == []


def test_a_flight_to_its_end(ledger: Ledger) -> None:
    """Accepted, running, ended: each once, and the bytes go with the clear answer."""
    [run] = ledger.fire(ledger.trigger())
    [flight] = ledger.claim()
    assert ledger.flights.doubted(flight, faults=2).result()
    assert (ledger.flight(flight).doubt, ledger.flight(flight).faults) == (True, 2)
    accepted = ledger.accept(flight)
    assert (accepted.body, accepted.doubt, accepted.state) == (None, False, AttemptState.ACCEPTED)
    assert accepted.deadline_at == ledger.clock.now() + 25 * SECOND
    assert ledger.run(run).state is RunState.RUNNING
    assert not ledger.flights.accepted(flight, "j-other").result()
    assert ledger.flights.seen_running(accepted, "n-1").result()
    assert not ledger.flights.seen_running(accepted, "n-2").result()
    assert ledger.end(accepted, stdout="a\0b", reason="\0")
    assert not ledger.end(accepted)
    [attempt] = ledger.attempts(run)
    assert (attempt.state, attempt.node_id) == (AttemptState.SUCCEEDED, "n-1")
    assert attempt.stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_what_a_node_says_is_written_whatever_it_is(ledger: Ledger) -> None:
    """An ending that a database refuses would never be written, and its run never end."""
    [run] = ledger.fire(ledger.trigger())
    flight = ledger.accept(ledger.claim()[0])
    assert ledger.flights.seen_running(flight, "n\0").result()
    flight = ledger.flight(flight)
    assert ledger.end(flight, exit_code=2**40, node_id="\0", reason="\0", stderr="\0")
    [attempt] = ledger.attempts(run)
    assert (attempt.exit_code, attempt.node_id) == (2**31 - 1, "\N{REPLACEMENT CHARACTER}")


def test_an_old_fence_changes_nothing(open_ledger: Callable[..., Ledger]) -> None:
    """An orchestrator that was taken for dead finds that nothing of its own is left."""
    old, new = open_ledger("old"), open_ledger("new")
    [run] = old.fire(old.trigger())
    [flight] = old.claim()
    accepted = old.accept(flight)
    new.leases.renew(30 * SECOND)
    assert new.leases.adopt_orphans() == 1
    changes = [
        old.flights.accepted(flight, "j"),
        old.flights.doubted(flight, faults=1),
        old.flights.seen_running(accepted, "n"),
        old.flights.stopping(accepted, "why"),
        old.flights.stopped(accepted, 1, 2),
        old.flights.ended(accepted, Ending(state=AttemptState.FAILED)),
    ]
    assert [change.result() for change in changes] == [False] * 6
    assert old.flights.load(list(AttemptState)) == []
    assert old.flights.current(accepted) is None
    [adopted] = new.flights.load(list(AttemptState))
    assert adopted == replace(accepted, fence=accepted.fence + 1)
    assert new.end(adopted)
    new.settle(RunState.SUCCEEDED)
    assert new.run(run).state is RunState.SUCCEEDED


def test_a_settlement_with_an_old_fence_changes_nothing(
    open_ledger: Callable[..., Ledger],
) -> None:
    """A completer that is late finds the run moved."""
    ledger = open_ledger()
    [run] = ledger.fire(ledger.trigger())
    [flight] = ledger.claim()
    ledger.end(ledger.accept(flight))
    late = ledger.endings.unsettled(10)
    open_ledger("other").leases.adopt_orphans()
    from orchestrator.store.endings import Settlement

    moved = ledger.endings.settle([Settlement(unsettled=late[0], state=RunState.DEAD)]).moved
    assert moved == 0
    assert ledger.run(run).state is RunState.RUNNING


def test_the_living_are_left_alone(open_ledger: Callable[..., Ledger]) -> None:
    """Only runs whose owner has no lease are adopted; giving the lease back frees them at once."""
    one, other = open_ledger("one"), open_ledger("other")
    one.leases.renew(HOUR)
    other.leases.renew(HOUR)
    assert sorted(one.leases.alive()) == ["one", "other"]
    one.fire(one.trigger(), 2)
    one.claim()
    assert other.leases.adopt_orphans() == 0
    one.leases.give_back()
    assert other.leases.adopt_orphans() == 2
    assert Leases(one.db, "third").adopt_orphans() == 0


def test_an_expired_lease_frees_the_runs(open_ledger: Callable[..., Ledger]) -> None:
    """By the database's clock."""
    one, other = open_ledger("one"), open_ledger("other")
    one.leases.renew(-1)
    one.fire(one.trigger())
    one.claim()
    other.leases.renew(HOUR)
    assert other.leases.adopt_orphans() == 1


def test_deadlines(open_ledger: Callable[..., Ledger]) -> None:
    """An attempt past its deadline is to be stopped, by its own orchestrator, and only once."""
    ledger, other = open_ledger("one"), open_ledger("other")
    ledger.fire(ledger.trigger())
    flight = ledger.accept(ledger.claim()[0])
    deadline = flight.deadline_at or 0
    assert ledger.flights.next_deadline() == deadline
    assert other.flights.next_deadline() is None
    assert ledger.flights.to_cancel(deadline - 1) == []
    assert [f.run_id for f in ledger.flights.to_cancel(deadline)] == [flight.run_id]
    assert other.flights.to_cancel(deadline) == []
    ledger.flights.stopping(flight, "late").result()
    ledger.flights.stopped(flight, deadline, deadline + SECOND).result()
    assert ledger.flights.to_cancel(deadline) == []
    assert ledger.flights.next_deadline() is None
    assert [f.hold_until for f in ledger.flights.news()] == [deadline + SECOND]


def test_a_stop_that_is_not_heeded_is_asked_for_again(ledger: Ledger) -> None:
    """Once a stop, whoever asks; the reason and the hold stand until the next answer."""
    ledger.fire(ledger.trigger())
    flight = ledger.accept(ledger.claim()[0])
    now = flight.deadline_at or 0
    ledger.flights.stopping(flight, "late").result()
    ledger.flights.stopped(flight, now, now + SECOND).result()
    stopped = ledger.flight(flight)
    assert ledger.flights.stop_again(stopped).result()
    assert not ledger.flights.stop_again(stopped).result()
    [again] = ledger.flights.to_cancel(now)
    assert (again.stopped_at, again.stop_reason) == (None, "late")
    assert again.hold_until == now + SECOND
    assert not ledger.flights.stop_again(replace(stopped, fence=stopped.fence - 1)).result()


def test_news_of_others(open_ledger: Callable[..., Ledger]) -> None:
    """What was stopped here and belongs to another by now is no news here."""
    old, new = open_ledger("old"), open_ledger("new")
    old.fire(old.trigger())
    flight = old.accept(old.claim()[0])
    assert [told.run_id for told in old.flights.news()] == [flight.run_id]
    assert old.flights.stopping(flight, "late").result()
    new.leases.renew(30 * SECOND)
    assert new.leases.adopt_orphans() == 1
    assert old.flights.news() == []
    assert not old.flights.seen_running(flight, "node").result()
    assert old.flights.current(flight) is None


def test_news(ledger: Ledger) -> None:
    """What was accepted is told once, as it was then; what was stopped as it is by now, unless it
    has ended."""
    ledger.fire(ledger.trigger(), 3)
    flights = [ledger.accept(flight) for flight in ledger.claim()]
    assert ledger.flights.news() == [ledger.flight(flight) for flight in flights]
    assert ledger.flights.news() == []
    for flight in flights[:2]:
        assert ledger.flights.stopping(flight, "late").result()
    ledger.end(ledger.flight(flights[0]))
    assert ledger.flights.news() == [ledger.flight(flights[1])]


def test_a_run_that_cannot_be_rendered(ledger: Ledger) -> None:
    """It is dead with the reason, and the ledger shows an attempt that was never sent."""
    [run] = ledger.fire(ledger.trigger())
    ledger.claims.fail_unsent(run, "no such secret")
    ledger.claims.fail_unsent(run, "twice")
    [attempt] = ledger.attempts(run)
    assert (attempt.state, attempt.retryable) == (AttemptState.FAILED, False)
    assert attempt.reason == "no such secret"
    ledger.settle(RunState.DEAD)
    assert ledger.run(run).state is RunState.DEAD


def test_a_queue_survives_the_end_of_its_head(ledger: Ledger) -> None:
    """A retried head of an ordered partition stays the head: nothing overtakes it."""
    trigger = ledger.trigger()
    head, second = ledger.fire(trigger, 2, overlap=Overlap.QUEUE)
    [flight] = ledger.claim()
    ledger.end(ledger.accept(flight), state=AttemptState.FAILED)
    ledger.settle(RunState.PENDING, not_before=ledger.clock.now() + SECOND)
    assert (ledger.run(head).queue, ledger.run(second).queue) == (Queue.DELAYED, Queue.LINE)
    assert ledger.rows(sa.select(runs.c.id).where(runs.c.queue == Queue.READY)) == []
