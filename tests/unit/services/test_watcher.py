"""How attempts end, as the watcher sees it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy import update

from bacalhau_client import Forbidden, ServerFault, Throttled, Unreachable
from orchestrator.domain.clock import HOUR, SECOND
from orchestrator.domain.states import AttemptState
from orchestrator.services import published
from orchestrator.services.canceller import Canceller
from orchestrator.services.clockwatch import Steps
from orchestrator.services.cluster import ClusterState
from orchestrator.services.watcher import Watcher
from orchestrator.store.schema import runs
from orchestrator.store.values import Attempt, Flight
from tests.support.desk import Desk
from tests.support.scripted import FakeJob, answered
from tests.support.waiting import until


@pytest.fixture
def watcher(desk: Desk) -> Iterator[Watcher]:
    """A watcher without a loop: `look` goes round once."""
    watcher = Watcher(
        desk.clock,
        desk.signals,
        desk.ledger.flights,
        desk.cluster,
        polls_per_second=1000,
        threads=2,
    )
    yield watcher
    watcher.stop()


def look(desk: Desk, watcher: Watcher, *, after: int = 20 * SECOND) -> int | None:
    """Hear what is new, let time pass, poll what is due, and wait until the polls are home."""
    for wait in (0, after):
        desk.clock.advance(wait)
        at = watcher.run_once()
        until(lambda: not watcher._polling, "polls have ended")
    return at


def attempt_of(desk: Desk, flight: Flight) -> Attempt:
    return desk.ledger.attempts(desk.ledger.run(flight.run_id))[-1]


def stop(desk: Desk, flight: Flight, job: FakeJob, grace: int = 60 * SECOND) -> None:
    """As the canceller does."""
    flights, now = desk.ledger.flights, desk.clock.now()
    flights.stopping(flight, "late").result()
    job.state = "Stopped"
    flights.stopped(flight, now, now + grace).result()


def test_success_and_failure(desk: Desk, watcher: Watcher) -> None:
    """By exit code, not by the job's state; the output and the node stand on the attempt."""
    (good, good_job), (bad, bad_job) = desk.accepted(), desk.accepted()
    good_job.complete(0)
    bad_job.complete(3)
    look(desk, watcher)
    assert attempt_of(desk, good).state is AttemptState.SUCCEEDED
    failed = attempt_of(desk, bad)
    assert (failed.state, failed.exit_code, failed.reason) == (AttemptState.FAILED, 3, "exit 3")
    assert (failed.node_id, failed.stdout, failed.counted) == ("n-1", "out\n", True)


def test_running_is_seen_once(desk: Desk, watcher: Watcher) -> None:
    """The first look at a running job writes it down, the next ones write nothing."""
    flight, job = desk.accepted()
    job.execution(5, node="n-7")
    look(desk, watcher)
    first = attempt_of(desk, flight)
    assert (first.state, first.node_id) == (AttemptState.RUNNING, "n-7")
    look(desk, watcher)
    look(desk, watcher)
    assert attempt_of(desk, flight).running_at == first.running_at
    assert len(desk.remote.of("get")) >= 3


def test_an_attempt_that_another_orchestrator_has_taken_over(desk: Desk, watcher: Watcher) -> None:
    """Once it is seen that it is not ours any more, nobody asks for its job."""
    flight, job = desk.accepted()
    look(desk, watcher, after=0)
    mine = runs.c.id == flight.run_id
    desk.ledger.db.write(
        lambda tx: tx.conn.execute(update(runs).where(mine).values(fence=flight.fence + 1)), "test"
    )
    job.execution(5)
    look(desk, watcher)
    asked = len(desk.remote.of("get"))
    look(desk, watcher)
    assert len(desk.remote.of("get")) == asked > 0
    assert attempt_of(desk, flight).state is AttemptState.ACCEPTED


def test_a_restart_finds_what_is_under_way(desk: Desk, watcher: Watcher) -> None:
    """A new process looks at once, however long the job was to take."""
    flight, job = desk.accepted()
    desk.ledger.flights.news()  # told to a process that is gone
    job.complete()
    look(desk, watcher, after=0)
    assert attempt_of(desk, flight).state is AttemptState.SUCCEEDED


def test_another_version(desk: Desk, watcher: Watcher) -> None:
    """Somebody started the job again: no retry, and the reason names it."""
    flight, job = desk.accepted()
    job.version = 2
    look(desk, watcher)
    attempt = attempt_of(desk, flight)
    assert (attempt.state, attempt.retryable) == (AttemptState.FAILED, False)
    assert attempt.reason == f"somebody started version 2 of the job {job.id}"


def test_stopped_by_somebody_else(desk: Desk, watcher: Watcher) -> None:
    """A failed attempt, with the fact in its reason."""
    flight, job = desk.accepted()
    job.state = "Stopped"
    look(desk, watcher)
    assert attempt_of(desk, flight).reason.startswith("stopped by somebody else")


@pytest.mark.parametrize("ran", [True, False])
def test_the_grace_after_a_stop_is_kept(desk: Desk, watcher: Watcher, ran: bool) -> None:
    """Our own stop ends the attempt once the grace has passed; without a run it does not count."""
    flight, job = desk.accepted()
    if ran:
        job.execution(11, code=0, began=desk.clock.now())
    stop(desk, flight, job)
    look(desk, watcher, after=59 * SECOND)
    assert attempt_of(desk, flight).ended_at is None
    look(desk, watcher, after=2 * SECOND)
    attempt = attempt_of(desk, flight)
    assert (attempt.state, attempt.reason, attempt.counted) == (AttemptState.STOPPED, "late", ran)


def test_a_stop_that_the_watcher_has_not_heard_of(desk: Desk, watcher: Watcher) -> None:
    """A look that overlaps with the canceller's work does not take our own stop for another's."""
    flight, job = desk.accepted()
    look(desk, watcher, after=0)
    stop(desk, flight, job)
    desk.ledger.flights.news()
    look(desk, watcher)
    assert attempt_of(desk, flight).ended_at is None


def test_a_job_that_goes_on_after_its_stop(desk: Desk, watcher: Watcher) -> None:
    """The canceller hears of it a good while after the grace, at a bounded pace, until it stops;
    the log once."""
    canceller = Canceller(
        desk.clock, desk.signals, desk.ledger.flights, desk.cluster, Steps(desk.clock)
    )
    flight, job = desk.accepted()
    desk.remote.deaf = True
    desk.ledger.commands.cancel(flight.run_id, "enough", "me")
    canceller.run_once()
    job.execution(5)
    told: list[int] = []
    with structlog.testing.capture_logs() as logged:
        for second in range(0, 200, 5):
            look(desk, watcher, after=5 * SECOND)
            before = len(desk.remote.of("stop"))
            canceller.run_once()
            told += [second] * (len(desk.remote.of("stop")) - before)
    assert 3 <= len(told) <= 6
    assert min(told) >= 30
    assert [entry["event"] for entry in logged] == ["job goes on after its stop"]
    assert attempt_of(desk, flight).ended_at is None
    desk.remote.deaf = False
    for _ in range(20):
        look(desk, watcher, after=5 * SECOND)
        canceller.run_once()
    attempt = attempt_of(desk, flight)
    assert (attempt.state, attempt.reason) == (AttemptState.STOPPED, "enough")


def test_a_cluster_that_asks_to_be_left_alone(desk: Desk, watcher: Watcher) -> None:
    """429 with Retry-After: nobody is asked for anything before."""
    flight, job = desk.accepted()
    look(desk, watcher, after=0)
    error = answered(Throttled, 429)
    error.retry_after = 20.0  # type: ignore[attr-defined]
    desk.cluster.failed(error)
    desk.remote.calls.clear()
    job.complete()
    at = look(desk, watcher, after=19 * SECOND)
    assert desk.remote.calls == []
    assert at is not None
    assert 0 < at - desk.clock.now() <= SECOND + 1
    look(desk, watcher, after=2 * SECOND)
    assert attempt_of(desk, flight).state is AttemptState.SUCCEEDED


def test_a_hold_that_the_clock_moves(desk: Desk, watcher: Watcher) -> None:
    """The clock is set back in the middle of a hold: that does not prolong it by an hour."""
    flight, job = desk.accepted()
    look(desk, watcher, after=0)
    stop(desk, flight, job, grace=30 * SECOND)
    look(desk, watcher, after=0)
    desk.ledger.waits.shift(-HOUR, desk.clock.step(-HOUR))
    for _ in range(6):
        look(desk, watcher)
    assert attempt_of(desk, flight).state is AttemptState.STOPPED


def test_a_lost_node_holds_the_next_attempt(desk: Desk, watcher: Watcher) -> None:
    """Until the task that may go on there has timed out."""
    flight, job = desk.accepted()
    job.state, began = "Failed", desk.clock.now()
    job.execution(10, message="node has disappeared", began=began)
    look(desk, watcher)
    attempt = attempt_of(desk, flight)
    assert attempt.hold_until == began + flight.execution_us


def test_a_node_whose_clock_is_ahead_holds_nobody_longer(desk: Desk, watcher: Watcher) -> None:
    """A task that began next year by its node's clock has begun by now."""
    flight, job = desk.accepted()
    job.state = "Failed"
    job.execution(10, message="node has disappeared", began=desk.clock.now() + 9000 * HOUR)
    look(desk, watcher)
    assert attempt_of(desk, flight).hold_until <= desk.clock.now() + flight.execution_us


def test_one_lost_job_is_a_failed_attempt(desk: Desk, watcher: Watcher) -> None:
    """Others are still known: the job is gone after five seconds, and the run goes on."""
    desk.accepted()
    flight, job = desk.accepted()
    del desk.remote.jobs[job.id]
    look(desk, watcher, after=SECOND)
    assert attempt_of(desk, flight).ended_at is None
    for _ in range(3):
        look(desk, watcher)
    assert attempt_of(desk, flight).reason == "the cluster lost the job"
    assert attempt_of(desk, flight).retryable
    assert not desk.cluster.status.blocked


def test_jobs_lost_in_number_stop_the_dispatch(desk: Desk, watcher: Watcher) -> None:
    """The cluster lost its store: no attempt ends until somebody says that it is ours."""
    flights = [desk.accepted()[0] for _ in range(4)]
    desk.remote.jobs.clear()
    for _ in range(4):
        look(desk, watcher)
    assert desk.cluster.status.state is ClusterState.LOST
    assert all(attempt_of(desk, flight).ended_at is None for flight in flights)
    desk.cluster.accept()
    for _ in range(4):
        look(desk, watcher)
    assert {attempt_of(desk, flight).reason for flight in flights} == {"the cluster lost the job"}


def test_a_404_for_a_moment_loses_nothing(desk: Desk, watcher: Watcher) -> None:
    """A job that is found again was never lost."""
    flight, job = desk.accepted()
    gone = desk.remote.jobs.pop(job.id)
    look(desk, watcher, after=SECOND)
    desk.remote.jobs[job.id] = gone
    look(desk, watcher)
    gone.complete()
    look(desk, watcher)
    assert attempt_of(desk, flight).state is AttemptState.SUCCEEDED


def test_another_cluster_ends_no_attempt(desk: Desk, watcher: Watcher) -> None:
    """A job that answers from elsewhere is not judged."""
    flight, job = desk.accepted()
    job.complete()
    desk.remote.orchestrator_id = "cluster-2"
    look(desk, watcher)
    assert desk.cluster.status.state is ClusterState.CHANGED
    assert attempt_of(desk, flight).ended_at is None


@pytest.mark.parametrize(
    "error", [Unreachable("gone"), answered(Forbidden, 403), answered(ServerFault, 500)]
)
def test_trouble_ends_no_attempt(desk: Desk, watcher: Watcher, error: Exception) -> None:
    """A cluster that cannot be asked is asked again."""
    flight, job = desk.accepted()
    job.complete()
    desk.remote.script["get"].append(error)  # type: ignore[arg-type]
    look(desk, watcher)
    assert attempt_of(desk, flight).ended_at is None
    look(desk, watcher)
    assert attempt_of(desk, flight).state is AttemptState.SUCCEEDED


def test_polling_adapts(desk: Desk, watcher: Watcher) -> None:
    """Once the length of a trigger's jobs is known, the next one is looked at shortly before."""
    trigger = desk.ledger.trigger("long")

    def new() -> tuple[Flight, FakeJob]:
        [run] = desk.ledger.fire(trigger)
        [flight] = desk.ledger.claims.claim([desk.claim_of(run)], 100)
        desk.send(flight)
        return flight, desk.remote.jobs[flight.job_name]

    _, job = new()
    job.took = 10 * SECOND
    job.complete()
    look(desk, watcher)
    new()
    desk.remote.calls.clear()
    look(desk, watcher, after=0)
    assert desk.remote.of("get") == []
    look(desk, watcher, after=8 * SECOND)
    assert desk.remote.of("get") == []
    look(desk, watcher, after=1 * SECOND)
    assert desk.remote.of("get") == ["get"]


def test_the_clock_set_back_does_not_blind_it(desk: Desk, watcher: Watcher) -> None:
    """Polls keep their pace on a clock that never steps."""
    flight, job = desk.accepted()
    look(desk, watcher, after=0)
    desk.clock.step(-HOUR)
    job.complete()
    look(desk, watcher)
    assert attempt_of(desk, flight).state is AttemptState.SUCCEEDED


def test_the_budget_of_requests(desk: Desk) -> None:
    """No more polls than the budget has, and the next look is when it has one again."""
    for _ in range(6):
        desk.accepted()
    watcher = Watcher(
        desk.clock, desk.signals, desk.ledger.flights, desk.cluster, polls_per_second=2, threads=4
    )
    desk.remote.calls.clear()
    at = look(desk, watcher)
    assert len(desk.remote.of("get")) == 2
    assert at is not None
    assert 0 < at - desk.clock.now() <= SECOND // 2 + 1
    watcher.stop()


PUBLISHES = {
    "Publisher": {"Type": "s3"},
    "ResultPaths": [{"Name": "orch", "Path": "/orch/out"}],
}


def test_a_published_list_is_read_before_the_attempt_ends(
    desk: Desk, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it cannot be read the attempt goes on; what it says then stands on the attempt."""
    flight, job = desk.accepted()
    job.task = PUBLISHES
    job.complete(0)
    look(desk, watcher)
    assert attempt_of(desk, flight).ended_at is None, "the cluster names no result yet"
    desk.remote.script["results"].append(answered(ServerFault, 500))
    look(desk, watcher)
    assert attempt_of(desk, flight).ended_at is None
    monkeypatch.setattr(published, "failed_in", lambda _results, _count: [(0, 3)])
    look(desk, watcher)
    attempt = attempt_of(desk, flight)
    assert (attempt.state, attempt.failed) == (AttemptState.SUCCEEDED, "[[0, 3]]")


def test_a_published_list_that_stays_away_fails_the_attempt(desk: Desk, watcher: Watcher) -> None:
    """After five minutes: nobody can tell which events have failed."""
    flight, job = desk.accepted()
    job.task = PUBLISHES
    job.complete(0)
    look(desk, watcher)
    look(desk, watcher, after=400 * SECOND)
    attempt = attempt_of(desk, flight)
    assert attempt.state is AttemptState.FAILED
    assert (
        attempt.reason == "the result of the task cannot be read: the cluster names 0 of 1 results"
    )


@pytest.mark.parametrize(
    "task", [{"Publisher": {"Type": "s3"}}, {**PUBLISHES, "Publisher": {"Type": ""}}]
)
def test_other_results_are_not_looked_at(
    desk: Desk, watcher: Watcher, task: dict[str, Any]
) -> None:
    """Only a result path of the name `orch` is for us."""
    flight, job = desk.accepted()
    job.task = task
    job.complete(0)
    look(desk, watcher)
    assert attempt_of(desk, flight).state is AttemptState.SUCCEEDED
    assert not desk.remote.of("results")
