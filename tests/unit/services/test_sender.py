"""Sending without doubt: every answer that a cluster may give, before and after doubt."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bacalhau_client import (
    AlreadyThere,
    Ambiguous,
    BacalhauError,
    Conflict,
    Forbidden,
    GatewayFault,
    MalformedResponse,
    NotFound,
    Refused,
    ServerFault,
    Throttled,
    Unauthorized,
    Unavailable,
    UnexpectedStatus,
    Unreachable,
)
from orchestrator.domain.states import AttemptState
from orchestrator.services.cluster import ClusterState
from orchestrator.services.sender import FAULTS_AT_MOST, Progress, Sender, Sending
from orchestrator.store.leases import Leases
from orchestrator.store.seal import Seal
from orchestrator.store.values import Attempt
from tests.support.desk import Desk
from tests.support.scripted import answered

ERRORS: dict[str, BacalhauError] = {
    "unreachable": Unreachable("refused"),
    "no answer": Ambiguous("timeout"),
    "502": GatewayFault("bad gateway", status=502),
    "not JSON": MalformedResponse("<html>"),
    "401": answered(Unauthorized, 401),
    "403": answered(Forbidden, 403),
    "404": answered(NotFound, 404),
    "409": answered(Conflict, 409),
    "already there": answered(AlreadyThere, 500),
    "429": answered(Throttled, 429),
    "503": answered(Unavailable, 503),
    "500": answered(ServerFault, 500),
    "302": answered(UnexpectedStatus, 302),
}
# After these the job may exist: it is looked up by name before anything is sent again.
DOUBTFUL = {"no answer", "502", "not JSON", "503", "500", "409", "already there"}


def start(desk: Desk, *, doubt: bool = False) -> Sending:
    [flight] = desk.flights()
    if doubt:
        desk.ledger.flights.doubted(flight, faults=0).result()
    return Sending(flight=desk.ledger.flight(flight), doubt=doubt)


def attempt_of(desk: Desk, sending: Sending) -> Attempt:
    return desk.ledger.attempts(desk.ledger.run(sending.flight.run_id))[-1]


def send(desk: Desk, sending: Sending) -> Progress:
    progress = desk.sender.send(sending)
    if sending.commit is not None:
        sending.commit.result(10)
    return progress


def test_taken_at_once(desk: Desk) -> None:
    """One PUT, nothing else."""
    sending = start(desk)
    assert send(desk, sending) is Progress.ACCEPTED
    assert desk.remote.of("put", "get") == ["put"]
    attempt = attempt_of(desk, sending)
    assert (attempt.state, attempt.job_id) == (
        AttemptState.ACCEPTED,
        f"j-{sending.flight.job_name}",
    )


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("doubt", [True, False])
@pytest.mark.parametrize("name", ERRORS)
def test_every_unclear_answer(desk: Desk, name: str, doubt: bool, committed: bool) -> None:
    """No attempt is used up; after doubt the name is asked for first; one job exists at the end."""
    sending = start(desk, doubt=doubt)
    desk.remote.script["put"].append(ERRORS[name])
    desk.remote.after = {"put"} if committed and name in DOUBTFUL else set()
    progress = send(desk, sending)
    assert progress in (Progress.AGAIN, Progress.ACCEPTED)
    if progress is Progress.AGAIN:
        assert attempt_of(desk, sending).state is AttemptState.SENDING
        assert sending.doubt == (doubt or name in DOUBTFUL)
        assert attempt_of(desk, sending).doubt == sending.doubt
        desk.clock.advance(60_000_000)
        assert send(desk, sending) is Progress.ACCEPTED
    calls = desk.remote.of("put", "get")
    for before, call in pairwise(calls):
        if call == "put" and before == "put":
            assert not sending.doubt, "sent twice without asking for the name"
    if doubt:
        assert calls[0] == "get"
    assert len({job.id for job in desk.remote.jobs.values()}) == 1
    assert calls.count("put") == (1 if desk.remote.after else 2)
    assert desk.ledger.run(sending.flight.run_id).attempts == 1


@pytest.mark.parametrize("name", sorted(set(ERRORS) - {"404"}))
def test_the_look_up_fails(desk: Desk, name: str) -> None:
    """While nobody says whether the job exists, nothing is sent."""
    sending = start(desk, doubt=True)
    desk.remote.script["get"].append(ERRORS[name])
    send(desk, sending)
    if name in ("409", "already there"):
        return  # no answer of a GET; it is asked again at once
    assert desk.remote.of("put") == []
    assert attempt_of(desk, sending).state is AttemptState.SENDING


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_job(desk: Desk, status: int) -> None:
    """The job is wrong: no retry, with the node's words."""
    sending = start(desk)
    desk.remote.script["put"].append(answered(Refused, status, "Timeouts: too long"))
    assert send(desk, sending) is Progress.DONE
    attempt = attempt_of(desk, sending)
    assert (attempt.state, attempt.retryable) == (AttemptState.FAILED, False)
    assert attempt.reason == "the cluster refuses the job: Timeouts: too long"


def test_a_refusal_after_doubt_counts_only_after_a_look(desk: Desk) -> None:
    """What was sent before may have been taken all the same."""
    sending = start(desk)
    desk.remote.script["put"].extend([Ambiguous("timeout"), answered(Refused, 400)])
    desk.remote.script["get"].append(answered(NotFound, 404))
    assert send(desk, sending) is Progress.AGAIN
    desk.clock.advance(60_000_000)
    desk.remote.after = {"put"}
    assert send(desk, sending) is Progress.ACCEPTED
    assert desk.remote.of("put", "get") == ["put", "get", "put", "get"]


FOREIGN = {
    "another run": {"orch.run": "r-other"},
    "another attempt": {"orch.attempt": "2"},
    "another spec": {"orch.spec": "other"},
    "no labels": {"orch.run": "", "orch.attempt": "", "orch.spec": ""},
}


@pytest.mark.parametrize("what", [*FOREIGN, "version 2"])
def test_a_job_that_is_not_ours(desk: Desk, what: str) -> None:
    """A job of our name with other labels or another version is not adopted, loudly."""
    other = start(desk)
    send(desk, other)
    sending = start(desk, doubt=True)
    job = desk.remote.jobs[other.flight.job_name]
    job.name = sending.flight.job_name
    job.labels = {
        "orch.run": sending.flight.run_id,
        "orch.attempt": "1",
        "orch.spec": "hash",
    } | FOREIGN.get(what, {})
    job.version = 2 if what == "version 2" else 1
    desk.remote.jobs[job.name] = job
    assert send(desk, sending) is Progress.DONE
    attempt = attempt_of(desk, sending)
    assert (attempt.state, attempt.retryable) == (AttemptState.FAILED, False)
    assert "not adopted" in attempt.reason
    assert job.name in attempt.reason
    assert desk.remote.of("put") == ["put"]


def test_five_faults_while_others_succeed(desk: Desk) -> None:
    """The job is what the cluster fails on: dead, after a last look for it."""
    sending = start(desk)
    for turn in range(FAULTS_AT_MOST):
        desk.remote.script["put"].append(answered(ServerFault, 500, "boom"))
        last = turn == FAULTS_AT_MOST - 1
        assert send(desk, sending) is (Progress.DONE if last else Progress.AGAIN)
        assert send(desk, start(desk)) is Progress.ACCEPTED
    attempt = attempt_of(desk, sending)
    assert not attempt.retryable
    assert attempt.reason.startswith("the cluster failed 5 times on this job while others went")


def test_five_faults_while_nothing_succeeds(desk: Desk) -> None:
    """A cluster that fails on everything, though it can still be read, costs no attempt."""
    sending = start(desk)
    for _ in range(2 * FAULTS_AT_MOST):
        desk.remote.script["put"].append(answered(ServerFault, 500, "disk full"))
        assert send(desk, sending) is Progress.AGAIN
        desk.cluster.answered()  # somebody reads with success
    assert attempt_of(desk, sending).state is AttemptState.SENDING
    assert attempt_of(desk, sending).faults == 2 * FAULTS_AT_MOST
    assert send(desk, sending) is Progress.ACCEPTED


def test_bytes_that_cannot_be_opened(desk: Desk) -> None:
    """Without its key the attempt fails; a job that is there already is adopted all the same."""
    stranger = Sender(desk.cluster, desk.ledger.flights, Seal(b"o" * 32))
    sending = start(desk, doubt=True)
    assert stranger.send(sending) is Progress.DONE
    assert attempt_of(desk, sending).retryable
    taken = start(desk)
    send(desk, taken)
    again = Sending(flight=taken.flight, doubt=True)
    assert stranger.send(again) is Progress.ACCEPTED


def test_nothing_is_sent_to_another_cluster(desk: Desk) -> None:
    """Before the first PUT, and after trouble, the cluster says who it is."""
    send(desk, start(desk))
    sending = start(desk)
    desk.remote.script["put"].append(Unreachable("gone"))
    send(desk, sending)
    desk.remote.identity = "cluster-2"
    desk.clock.advance(60_000_000)
    assert send(desk, sending) is Progress.AGAIN
    assert desk.cluster.status.state is ClusterState.CHANGED
    assert desk.remote.of("put") == ["put", "put"]


def test_an_attempt_that_was_taken_over(desk: Desk) -> None:
    """The acceptance of an orchestrator that was taken for dead changes nothing."""
    sending = start(desk)
    Leases(desk.ledger.db, "other").renew(10**12)
    Leases(desk.ledger.db, "other").adopt_orphans()
    desk.sender.send(sending)
    assert sending.commit is not None
    assert sending.commit.result(10) is False


def test_never_sent(desk: Desk) -> None:
    """An attempt of which the cluster knows nothing ends without a stop and does not count."""
    sending = start(desk)
    desk.sender.never_sent(sending, "cancelled")
    attempt = attempt_of(desk, sending)
    assert (attempt.state, attempt.counted) == (AttemptState.STOPPED, False)
    assert desk.remote.calls == []
