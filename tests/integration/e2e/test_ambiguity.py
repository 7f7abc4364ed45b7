"""A line that loses, delays and forges: nothing runs twice, nothing is lost, dispatch goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode
from orchestrator.domain.states import RunState
from orchestrator.services.cluster import ClusterState
from tests.support.inprocess import ACTOR, Orch, Witness, lines
from tests.support.jobs import NEVER, shell
from tests.support.proxy import (
    Exchange,
    Fault,
    Hold,
    Proxy,
    answer,
    answer_after,
    cut_answer,
    lose_answer,
    lose_request,
)
from tests.support.waiting import until

_RUNS = 4


def _note(file: Path) -> str:
    """What a task does: write down that it ran, for which attempt."""
    return f'echo "$ORCH_RUN_ID $ORCH_ATTEMPT" >> {file}'


def _fire(orch: Orch, file: Path, count: int = _RUNS) -> list[str]:
    orch.register(shell("noted", _note(file), at=NEVER, overlap="allow"))
    return [orch.app.timing.fire("noted", ACTOR) for _ in range(count)]


def _prove_once(orch: Orch, witness: Witness, file: Path, fired: list[str]) -> None:
    """Each run succeeded with its first attempt, as one job, whose task ran once."""
    for run_id in fired:
        run = orch.until_ended(run_id, within=40)
        assert run.state is RunState.SUCCEEDED, (run, orch.attempts(run))
        assert (run.attempts, run.tries) == (1, 1)
    assert Counter(lines(file)) == Counter(f"{run_id} 1" for run_id in fired)
    jobs = witness.jobs()
    assert len(jobs) == len(fired)
    assert {job.version for job in jobs} == {1}
    assert {job.labels["orch.run"] for job in jobs} == set(fired)
    orch.audit()


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (lose_request, 6),
        (lose_answer, 6),
        (cut_answer, 6),
        (answer(500, body=b'{"Status":500,"Message":"no luck"}'), 6),
        (answer(503), 6),
        (answer(429, headers={"Retry-After": "1"}), 3),
        (answer(401), 3),
        (answer(403), 3),
        (answer(502, body=b"<html>bad gateway</html>"), 6),
        (answer(200, body=b"<html>hotel wifi</html>"), 6),
        (answer(302, headers={"Location": "http://127.0.0.1:9/"}), 6),
        (answer_after(503), 6),
        (answer_after(500), 6),
        (answer_after(504), 6),
        (answer_after(200), 6),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_faulty_submissions_run_each_job_once(
    orch: Orch, proxy: Proxy, witness: Witness, tmp_path: Path, fault: Fault, times: int
) -> None:
    """Whatever becomes of the first submissions, every job runs exactly once, at attempt 1."""
    proxy.rule(fault, method="PUT", times=times)
    fired = _fire(orch, tmp_path / "noted")
    _prove_once(orch, witness, tmp_path / "noted", fired)
    until(lambda: orch.app.cluster.status.state is ClusterState.OK, "the cluster is fine again")


@pytest.mark.parametrize(
    "fault",
    [lose_request, lose_answer, cut_answer, answer(500), answer(503), answer(429), answer(401)],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_faulty_answers_to_everything(
    orch: Orch, proxy: Proxy, witness: Witness, tmp_path: Path, fault: Fault
) -> None:
    """Also when looking up and watching fail for a while, nothing is twice and nothing is lost."""
    proxy.rule(fault, times=4)
    fired = _fire(orch, tmp_path / "noted")
    _prove_once(orch, witness, tmp_path / "noted", fired)


@pytest.mark.parametrize("forwarded", [True, False], ids=["answer late", "request late"])
def test_late_beyond_the_read_timeout(
    orch: Orch, proxy: Proxy, witness: Witness, tmp_path: Path, forwarded: bool
) -> None:
    """An answer, or a commit, that comes after the client has given up waiting adds no job."""
    hold = Hold(forwarded=forwarded)
    proxy.rule(hold, method="PUT", times=1)
    fired = _fire(orch, tmp_path / "noted", 1)
    assert hold.held.wait(10)
    if forwarded:
        orch.until_ended(fired[0])  # found by its name
        hold.release.set()
    else:
        # In doubt, looked up and not there: sent again. Then the first request gets through too.
        until(lambda: len(proxy.seen("PUT")) == 2, "the same bytes were sent again")
        hold.release.set()
        assert hold.done.wait(10)
    _prove_once(orch, witness, tmp_path / "noted", fired)


def test_connection_refused_uses_up_nothing(
    tmp_path: Path, node: DevNode, witness: Witness
) -> None:
    """While nobody listens no attempt is used up; when somebody does, dispatch goes on."""
    node.stop()
    with Orch.start(tmp_path / "orch", node.url) as orch:
        fired = _fire(orch, tmp_path / "noted")
        until(lambda: orch.app.cluster.status.state is ClusterState.AWAY, "the cluster is away")
        node.start()
        _prove_once(orch, witness, tmp_path / "noted", fired)


def test_node_restarts_under_load(tmp_path: Path, node: DevNode, witness: Witness) -> None:
    """A node that goes away and comes back keeps its jobs: no run is sent as a second job."""
    with Orch.start(tmp_path / "orch", node.url) as orch:
        orch.register(shell("tick", "exit 0", every="200ms", overlap="allow"))
        for _ in range(2):
            before = len(orch.succeeded("tick"))
            until(lambda n=before: len(orch.succeeded("tick")) > n + 3, "runs succeed")
            node.stop()
            until(lambda: orch.app.cluster.status.state is ClusterState.AWAY, "it is missed")
            node.start()
        orch.pause("tick")
        runs = orch.drained()
        assert {run.state for run in runs} <= {RunState.SUCCEEDED}
        names = Counter(job.labels["orch.run"] for job in witness.jobs())
        assert names == Counter(run.id for run in runs for _ in range(run.attempts))
        orch.audit()


@pytest.mark.parametrize(
    ("status", "state"), [(401, ClusterState.UNAUTHORIZED), (403, ClusterState.FORBIDDEN)]
)
def test_forbidden_cluster_stops_dispatch_until_it_is_ours_again(
    orch: Orch, proxy: Proxy, witness: Witness, tmp_path: Path, status: int, state: ClusterState
) -> None:
    """401 and 403 stop the dispatch and say so; when they end it goes on by itself."""
    lift = proxy.rule(answer(status), method="PUT")
    fired = _fire(orch, tmp_path / "noted", 20)
    until(lambda: orch.app.cluster.status.state is state, f"the cluster is {state}")
    until(lambda: len(proxy.seen("PUT")) > 2, "it is tried now and then")
    assert len({name for _, name in proxy.seen("PUT")}) <= 20
    assert not witness.jobs()
    lift()
    _prove_once(orch, witness, tmp_path / "noted", fired)


def test_five_faults_while_others_succeed_are_the_end(
    orch: Orch, proxy: Proxy, witness: Witness, tmp_path: Path
) -> None:
    """A job that the node answers with 500 five times while it takes others is dead, with its
    words; the others are not held up."""
    orch.register(shell("poison", "exit 0", at=NEVER, overlap="allow"))
    orch.register(shell("good", _note(tmp_path / "noted"), every="500ms", overlap="allow"))

    forge = answer(500, body=b'{"Message":"a bug of mine"}')

    def fault(exchange: Exchange) -> None:
        if "poison" in exchange.job_name:
            forge(exchange)
        else:
            exchange.send(exchange.forward())

    proxy.rule(fault, method="PUT")
    run = orch.until_ended(orch.app.timing.fire("poison", ACTOR), within=40)
    assert run.state is RunState.DEAD
    assert "a bug of mine" in run.reason
    assert run.attempts == 1
    orch.pause("good")
    assert {r.state for r in orch.drained() if r.trigger_name == "good"} == {RunState.SUCCEEDED}
    assert not [job for job in witness.jobs() if "poison" in job.name]


def test_refusal_after_doubt_counts_only_after_a_look(
    orch: Orch, proxy: Proxy, witness: Witness, tmp_path: Path
) -> None:
    """A 400 for bytes whose first answer was lost is not believed while the job is there."""
    refuse = answer(400, body=b'{"Message":"never heard of it"}')
    proxy.rule(lose_answer, method="PUT", times=1)
    proxy.rule(answer(503), method="GET", path="/jobs/orch-", times=2)
    proxy.rule(refuse, method="PUT", times=3)
    fired = _fire(orch, tmp_path / "noted", 1)
    _prove_once(orch, witness, tmp_path / "noted", fired)


def test_refused_job_is_dead_with_the_nodes_words(
    orch: Orch, proxy: Proxy, witness: Witness, tmp_path: Path
) -> None:
    """A clear 400 is final: no retry, the node's words are the reason."""
    proxy.rule(answer(400, body=b'{"Message":"job is wrong"}'), method="PUT")
    fired = _fire(orch, tmp_path / "noted", 1)
    run = orch.until_ended(fired[0])
    assert (run.state, run.attempts) == (RunState.DEAD, 1)
    assert "job is wrong" in run.reason
    assert not witness.jobs()
