"""The cluster's clear answers are written together, and each for itself."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from orchestrator.domain.signals import Signal, Topic
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.store.database import sqlite_url
from orchestrator.store.values import Flight
from tests.support.ledger import Ledger


class Listener(Signal):
    """Reads what has been accepted in the moment in which it is woken."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self.news: list[Flight] = []

    def raise_(self) -> None:
        self.news += self._ledger.flights.news()


def test_answers_during_a_commit_share_the_next_one(tmp_path: Path) -> None:
    """Each attempt is accepted with its own job; one taken over meanwhile stays as it is."""
    ledger = Ledger(sqlite_url(tmp_path))
    ledger.fire(ledger.trigger(), 4)
    flights = ledger.claim()
    release = threading.Event()
    blocked = ledger.db.submit(lambda tx: release.wait(10), "test")
    strange = replace(flights[3], fence=flights[3].fence + 1)
    futures = [
        ledger.flights.accepted(flight, f"j-{n}")
        for n, flight in enumerate([*flights[:3], strange])
    ]
    release.set()
    assert blocked.result()
    assert [future.result() for future in futures] == [True, True, True, False]
    for n, flight in enumerate(flights[:3]):
        [attempt] = ledger.attempts(ledger.run(flight.run_id))
        assert (attempt.state, attempt.job_id) == (AttemptState.ACCEPTED, f"j-{n}")
        assert ledger.run(flight.run_id).state is RunState.RUNNING
    [attempt] = ledger.attempts(ledger.run(flights[3].run_id))
    assert (attempt.state, attempt.job_id) == (AttemptState.SENDING, None)
    assert ledger.run(flights[3].run_id).state is RunState.SUBMITTING
    ledger.close()


def test_who_is_woken_finds_the_news(tmp_path: Path) -> None:
    """An accepted attempt is among the news before its signal: else nobody would watch its job."""
    ledger = Ledger(sqlite_url(tmp_path))
    ledger.fire(ledger.trigger(), 3)
    listener = Listener(ledger)
    ledger.db.signals.listen(listener, [Topic.FLIGHT])
    flights = ledger.claim()
    for future in [ledger.flights.accepted(flight, f"j-{flight.run_id}") for flight in flights]:
        assert future.result()
    ledger.close()  # the writer's thread has ended: all signals were raised
    assert {flight.run_id for flight in listener.news} == {flight.run_id for flight in flights}


def test_only_an_earlier_deadline_is_news(tmp_path: Path) -> None:
    """Who waits for the first deadline of all is not woken by those that come later."""
    ledger = Ledger(sqlite_url(tmp_path))
    ledger.fire(ledger.trigger(), 3)
    signal = Signal()
    ledger.db.signals.listen(signal, [Topic.DEADLINE])
    flights = ledger.claim()
    assert ledger.flights.next_deadline() is None
    assert ledger.flights.accepted(flights[0], "j-0").result()
    first = ledger.flights.next_deadline()
    assert first is not None
    later = replace(flights[1], total_us=flights[1].total_us + 1)
    assert ledger.flights.accepted(later, "j-1").result()
    earlier = replace(flights[2], total_us=flights[2].total_us - 60_000_000)
    assert ledger.flights.accepted(earlier, "j-2").result()
    assert (ledger.flights.next_deadline() or first) < first
    ledger.close()  # the writer's thread has ended: all signals were raised
    assert signal.seen() == 2  # the first of all, and the one that was earlier
