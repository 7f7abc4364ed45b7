"""Ending jobs: deadlines, cancelled runs, and clusters that do not listen."""

from __future__ import annotations

import pytest

from bacalhau_client import CannotStop, NotFound, ServerFault, Unreachable
from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.services.canceller import Canceller
from orchestrator.services.clockwatch import Steps
from orchestrator.store.values import Attempt, Flight
from tests.support.desk import Desk
from tests.support.scripted import answered


@pytest.fixture
def canceller(desk: Desk) -> Canceller:
    return Canceller(desk.clock, desk.signals, desk.ledger.flights, desk.cluster, Steps(desk.clock))


def attempt_of(desk: Desk, flight: Flight) -> Attempt:
    return desk.ledger.attempts(desk.ledger.run(flight.run_id))[-1]


def test_a_deadline(desk: Desk, canceller: Canceller) -> None:
    """The job is stopped when its time is over, once, and the hold is the grace."""
    flight, job = desk.accepted()
    assert canceller.run_once() == flight.deadline_at
    assert desk.remote.of("stop") == []
    desk.clock.advance(25 * SECOND)
    assert canceller.run_once() is None
    attempt = attempt_of(desk, flight)
    assert job.state == "Stopped"
    assert attempt.stop_reason is not None
    assert "waited in the cluster's queue longer than 20 s" in attempt.stop_reason
    assert attempt.hold_until == desk.clock.now() + flight.grace_us
    assert canceller.run_once() is None
    assert desk.remote.of("stop") == ["stop"]


def test_a_cancelled_run(desk: Desk, canceller: Canceller) -> None:
    """With the reason that was given."""
    flight, job = desk.accepted()
    desk.ledger.commands.cancel(flight.run_id, "enough", "me")
    canceller.run_once()
    assert (job.state, attempt_of(desk, flight).stop_reason) == ("Stopped", "enough")


def test_what_is_being_sent_is_left_alone(desk: Desk, canceller: Canceller) -> None:
    """An attempt in doubt is sent until a clear answer, and stopped then."""
    [flight] = desk.flights()
    desk.ledger.commands.cancel(flight.run_id, "enough", "me")
    canceller.run_once()
    assert desk.remote.calls == []
    desk.send(flight, doubt=True)
    canceller.run_once()
    assert desk.remote.of("stop") == ["stop"]


@pytest.mark.parametrize("error", [answered(CannotStop, 500), answered(NotFound, 404)])
def test_a_job_that_has_ended(desk: Desk, canceller: Canceller, error: CannotStop) -> None:
    """It is for the watcher to find out how; nobody is asked again, nothing is waited for."""
    flight, _ = desk.accepted()
    desk.ledger.commands.cancel(flight.run_id, "enough", "me")
    desk.remote.script["stop"].append(error)
    canceller.run_once()
    assert attempt_of(desk, flight).stopped_at == desk.clock.now()
    assert attempt_of(desk, flight).hold_until == desk.clock.now()
    canceller.run_once()
    assert desk.remote.of("stop") == ["stop"]


@pytest.mark.parametrize("error", [Unreachable("gone"), answered(ServerFault, 500)])
def test_a_cluster_that_does_not_listen(
    desk: Desk, canceller: Canceller, error: Unreachable
) -> None:
    """It is asked again, a second later or when the pause is over; the wish is written first."""
    flight, job = desk.accepted()
    desk.ledger.commands.cancel(flight.run_id, "enough", "me")
    desk.remote.script["stop"].extend([error, error])
    for _ in range(2):
        at = canceller.run_once()
        assert at is not None
        assert at >= desk.clock.now() + SECOND
        attempt = attempt_of(desk, flight)
        assert (attempt.stop_reason, attempt.stopped_at) == ("enough", None)
        desk.clock.advance(MINUTE)
    canceller.run_once()
    assert job.state == "Stopped"


def test_a_cluster_that_is_away_is_asked_for_one(desk: Desk, canceller: Canceller) -> None:
    """The others are not waited for one by one; all are stopped when it is back."""
    jobs = [desk.accepted()[1] for _ in range(5)]
    desk.clock.advance(MINUTE)
    desk.remote.script["stop"].append(Unreachable("gone"))
    canceller.run_once()
    assert desk.remote.of("stop") == ["stop"]
    desk.clock.advance(MINUTE)
    canceller.run_once()
    assert {job.state for job in jobs} == {"Stopped"}


def test_what_is_about_one_job_holds_up_no_other(desk: Desk, canceller: Canceller) -> None:
    """A job that the cluster cannot stop is tried again beside the others."""
    jobs = [desk.accepted()[1] for _ in range(3)]
    desk.clock.advance(MINUTE)
    desk.remote.script["stop"].append(answered(ServerFault, 500))
    canceller.run_once()
    assert sorted(job.state for job in jobs) == ["Running", "Stopped", "Stopped"]


class TestCutOff:
    """Nodes that are not there."""

    def cancel(self, desk: Desk, canceller: Canceller, flight: Flight) -> int:
        desk.ledger.commands.cancel(flight.run_id, "enough", "me")
        canceller.run_once()
        return attempt_of(desk, flight).hold_until

    def test_a_node_that_is_there(self, desk: Desk, canceller: Canceller) -> None:
        """The grace is enough."""
        flight, job = desk.accepted()
        job.execution(5, began=desk.clock.now())
        assert self.cancel(desk, canceller, flight) == desk.clock.now() + flight.grace_us

    def test_a_node_that_is_cut_off(self, desk: Desk, canceller: Canceller) -> None:
        """Its task goes on until its own timeout: no other attempt before."""
        flight, job = desk.accepted()
        job.execution(5, began=desk.clock.now())
        desk.remote.connected["n-1"] = False
        assert self.cancel(desk, canceller, flight) == desk.clock.now() + flight.execution_us

    def test_a_lost_node_beside_a_good_one(self, desk: Desk, canceller: Canceller) -> None:
        """The cluster has begun again elsewhere; the lost task is waited for as well."""
        flight, job = desk.accepted()
        began = desk.clock.now()
        job.execution(10, node="n-1", began=began, message="node has disappeared")
        job.execution(5, node="n-2", began=began + SECOND)
        desk.remote.connected["n-1"] = False
        assert self.cancel(desk, canceller, flight) == began + flight.execution_us

    def test_what_has_completed_there_is_over(self, desk: Desk, canceller: Canceller) -> None:
        """A partition that exited before its node went away holds nobody up."""
        flight, job = desk.accepted()
        job.execution(9, node="n-1", code=0, began=desk.clock.now())
        job.execution(5, node="n-2", began=desk.clock.now(), partition=1)
        desk.remote.connected["n-1"] = False
        assert self.cancel(desk, canceller, flight) == desk.clock.now() + flight.grace_us

    def test_nobody_can_say(self, desk: Desk, canceller: Canceller) -> None:
        """A job that ran is waited for as if its node were cut off."""
        flight, job = desk.accepted()
        job.execution(5)
        desk.ledger.flights.seen_running(flight, "n-1").result()
        desk.remote.script["nodes"].append(Unreachable("gone"))
        assert self.cancel(desk, canceller, flight) == desk.clock.now() + flight.execution_us
