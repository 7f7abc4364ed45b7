"""The dispatcher: what is sent when, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from bacalhau_client import Ambiguous, BacalhauError, Forbidden, Throttled, Unreachable
from orchestrator.domain.clock import HOUR, SECOND
from orchestrator.domain.signals import Signal, Topic
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.services.cluster import ClusterState
from orchestrator.services.dispatcher import Dispatcher
from orchestrator.services.renderer import Early, Unrenderable
from orchestrator.store.errors import Unavailable
from orchestrator.store.leases import Leases
from orchestrator.store.values import Flight, Run
from tests.support.desk import Desk
from tests.support.scripted import answered
from tests.support.waiting import until

Make = Callable[..., Dispatcher]


@pytest.fixture
def make(desk: Desk) -> Iterator[Make]:
    made: list[Dispatcher] = []

    def one(max_in_flight: int = 100, threads: int = 2, render: Any = None) -> Dispatcher:
        renderer: Any = SimpleNamespace(render=render or desk.claim_of)
        made.append(
            Dispatcher(
                desk.clock,
                desk.signals,
                desk.ledger.claims,
                desk.ledger.flights,
                renderer,
                desk.sender,
                desk.cluster,
                max_in_flight=max_in_flight,
                threads=threads,
            )
        )
        return made[-1]

    yield one
    for dispatcher in made:
        dispatcher.stop()


def fire(desk: Desk, count: int) -> list[Run]:
    return desk.ledger.fire(desk.ledger.trigger(), count)


def go(dispatcher: Dispatcher, rounds: int = 6) -> None:
    """Go round until what was begun has come home."""
    for _ in range(rounds):
        dispatcher.run_once()
        until(lambda: _idle(dispatcher), "sends have ended")


def _idle(dispatcher: Dispatcher) -> bool:
    with dispatcher._state:
        return len(dispatcher._sending) == len(dispatcher._later)


def test_everything_is_sent_once(desk: Desk, make: Make) -> None:
    """However often it goes round."""
    runs = fire(desk, 20)
    dispatcher = make()
    until(lambda: (go(dispatcher), len(desk.remote.of("put")) == 20)[1], "all are sent")
    go(dispatcher)
    assert len(desk.remote.of("put")) == 20
    until(
        lambda: all(desk.ledger.run(run).state is RunState.RUNNING for run in runs),
        "all are accepted",
    )


def test_max_in_flight(desk: Desk, make: Make) -> None:
    """Never more than that are with the cluster; an ending makes room for the next."""
    fire(desk, 6)
    dispatcher = make(max_in_flight=2)
    go(dispatcher)
    assert len(desk.remote.of("put")) == 2
    flights = desk.ledger.flights
    accepted = until(lambda: flights.load([AttemptState.ACCEPTED]), "it is accepted")
    desk.ledger.end(accepted[0])
    desk.ledger.settle(RunState.SUCCEEDED)
    go(dispatcher)
    assert len(desk.remote.of("put")) == 3


@pytest.mark.parametrize(
    "error",
    [Unreachable("gone"), Ambiguous("timeout"), answered(Throttled, 429), answered(Forbidden, 403)],
)
def test_one_probe_while_the_cluster_is_away(desk: Desk, make: Make, error: BacalhauError) -> None:
    """Its backlog does not grow, and it goes on by itself."""
    desk.cluster.confirm()
    desk.cluster.failed(error)
    fire(desk, 10)
    desk.remote.script["put"].extend([error] * 3)
    dispatcher = make()
    assert dispatcher.run_once() == desk.clock.now() + int(desk.cluster.pause() * SECOND)
    assert desk.ledger.claims.in_flight() == 0
    for n in range(1, 4):
        desk.clock.advance(40 * SECOND)
        go(dispatcher, 3)
        assert desk.ledger.claims.in_flight() == 1
        assert len(desk.remote.of("put")) == n
        assert desk.cluster.status.state is not ClusterState.OK
    desk.clock.advance(40 * SECOND)
    until(lambda: (go(dispatcher), len(desk.remote.jobs) == 20)[1], "all are sent")
    assert all(run.attempts == 1 for run in desk.ledger.runs())


def test_one_in_doubt_is_the_probe(desk: Desk, make: Make) -> None:
    """After a restart in the middle of trouble not all that are in doubt are tried at once."""
    flights = desk.flights(8)
    desk.remote.script["get"].extend([Ambiguous("timeout")] * 8)
    dispatcher = make()
    go(dispatcher, 1)
    assert len(desk.remote.of("get")) == 8
    desk.remote.script["get"].extend([Ambiguous("timeout")] * 3)
    for n in range(1, 4):
        desk.clock.advance(40 * SECOND)
        go(dispatcher, 3)
        assert len(desk.remote.of("get")) == 8 + n
    desk.clock.advance(40 * SECOND)
    until(lambda: (go(dispatcher), len(desk.remote.of("put")) == 8)[1], "all are sent")
    assert {call for kind, call in desk.remote.calls if kind == "get"} == {
        flight.job_name for flight in flights
    }


def test_an_acceptance_whose_commit_was_not_heard_of(desk: Desk, make: Make) -> None:
    """The store has it, the answer got lost: whoever watches is told to read it there."""
    [run] = fire(desk, 1)
    heard = Signal()
    desk.signals.listen(heard, [Topic.ADOPTED])
    real = desk.ledger.flights.accepted

    def unheard(flight: Flight, job_id: str) -> Future[bool]:
        assert real(flight, job_id).result()
        desk.ledger.flights.news()
        broken: Future[bool] = Future()
        broken.set_exception(Unavailable("the connection is gone"))
        desk.ledger.flights.accepted = real  # type: ignore[method-assign]
        return broken

    desk.ledger.flights.accepted = unheard  # type: ignore[method-assign]
    dispatcher = make()
    go(dispatcher, 2)
    desk.clock.advance(SECOND)
    go(dispatcher, 2)
    until(lambda: not dispatcher._sending, "nothing is being sent")
    assert desk.remote.of("put") == ["put"]
    assert desk.ledger.run(run).state is RunState.RUNNING
    assert heard.seen() == 1


def test_taken_over_and_given_back(desk: Desk, make: Make) -> None:
    """What another orchestrator took while it was in doubt here, and left to us again, is sent."""
    [run] = fire(desk, 1)
    desk.remote.script["put"].append(Ambiguous("timeout"))
    dispatcher = make()
    go(dispatcher, 1)
    for owner in ("other", "me"):
        leases = Leases(desk.ledger.db, owner)
        leases.renew(30 * SECOND if owner == "me" else -1)
        assert leases.adopt_orphans() == 1
    desk.signals.listen(dispatcher._adopted, [Topic.ADOPTED])

    def look() -> bool:
        desk.clock.advance(10 * SECOND)
        go(dispatcher)
        return desk.ledger.run(run).state is RunState.RUNNING

    until(look, "it is accepted")
    assert desk.ledger.run(run).attempts == 1
    assert desk.remote.of("put") == ["put", "put"]


def test_blocked(desk: Desk, make: Make) -> None:
    """Nothing is claimed and nothing sent, until somebody accepts the cluster."""
    desk.cluster.block(ClusterState.LOST, "gone")
    fire(desk, 3)
    dispatcher = make()
    assert dispatcher.run_once() is None
    assert desk.ledger.claims.in_flight() == 0
    desk.cluster.accept()
    until(lambda: (go(dispatcher), len(desk.remote.of("put")) == 3)[1], "all are sent")


def test_a_restart_asks_before_it_sends(desk: Desk, make: Make) -> None:
    """What was being sent when the process ended is looked up by name."""
    [flight] = desk.flights()
    go(make())
    assert desk.remote.of("get", "put") == ["get", "put"]
    assert desk.ledger.run(flight.run_id).attempts == 1


def test_a_delayed_run_goes_at_its_time(desk: Desk, make: Make) -> None:
    """The dispatcher says when to look again."""
    [run] = fire(desk, 1)
    [flight] = desk.ledger.claim()
    desk.ledger.end(desk.ledger.accept(flight), state=AttemptState.FAILED)
    at = desk.clock.now() + HOUR
    desk.ledger.settle(RunState.PENDING, not_before=at)
    dispatcher = make()
    assert dispatcher.run_once() == at
    desk.clock.advance(HOUR)
    go(dispatcher)
    assert desk.ledger.run(run).attempts == 2


def test_a_clock_set_back_holds_nothing_up(desk: Desk, make: Make) -> None:
    """What is ready is sent, though its due time lies ahead again."""
    fire(desk, 1)
    desk.clock.step(-HOUR)
    go(make())
    assert desk.remote.of("put") == ["put"]


def test_a_run_that_cannot_be_rendered(desk: Desk, make: Make) -> None:
    """It is dead with the reason, and the others go on."""
    bad, good = fire(desk, 2)

    def render(run: Run) -> Any:
        if run.id == bad.id:
            raise Unrenderable("there is no secret TOKEN")
        return desk.claim_of(run)

    go(make(render=render))
    [attempt] = desk.ledger.attempts(bad)
    assert (attempt.state, attempt.reason) == (AttemptState.FAILED, "there is no secret TOKEN")
    until(lambda: desk.ledger.run(good).state is RunState.RUNNING, "the other is accepted")


def test_a_run_that_cannot_be_rendered_yet(desk: Desk, make: Make) -> None:
    """It waits with the reason, uses up no attempt, holds up nobody, and is sent when it can be."""
    early, good = fire(desk, 2)
    told = ["its source was not read"]

    def render(run: Run) -> Any:
        if run.id == early.id and told:
            raise Early(told[0])
        return desk.claim_of(run)

    dispatcher = make(render=render)
    go(dispatcher)
    until(lambda: desk.ledger.run(good).state is RunState.RUNNING, "the other is accepted")
    waiting = desk.ledger.run(early)
    assert (waiting.state, waiting.queue, waiting.attempts) == (RunState.PENDING, "delayed", 0)
    assert waiting.reason == told.pop()
    desk.clock.step(3 * SECOND)
    go(dispatcher)
    until(lambda: desk.ledger.run(early).state is RunState.RUNNING, "it is accepted")
    assert desk.ledger.run(early).attempts == 1


def test_a_cancelled_run_that_was_never_sent(desk: Desk, make: Make) -> None:
    """It needs no stop, and no cluster that answers."""
    desk.remote.script["node"].append(Unreachable("gone"))
    [run] = fire(desk, 1)
    dispatcher = make()
    go(dispatcher, 1)
    desk.ledger.commands.cancel(run.id, "enough", "me")
    go(dispatcher, 1)
    [attempt] = desk.ledger.attempts(run)
    assert (attempt.state, attempt.counted) == (AttemptState.STOPPED, False)
    assert desk.remote.of("put") == []


def test_a_cancelled_run_in_doubt_is_sent_to_its_end(desk: Desk, make: Make) -> None:
    """A late commit would leave a job that nobody watches."""
    desk.remote.script["put"].append(Ambiguous("timeout"))
    [run] = fire(desk, 1)
    dispatcher = make()
    go(dispatcher, 1)
    desk.ledger.commands.cancel(run.id, "enough", "me")
    go(dispatcher, 1)
    assert desk.ledger.attempts(run)[0].state is AttemptState.SENDING
    desk.clock.advance(40 * SECOND)
    go(dispatcher)
    until(lambda: desk.ledger.run(run).state is RunState.RUNNING, "it is accepted")
    assert [flight.run_id for flight in desk.ledger.flights.to_cancel(0)] == [run.id]
