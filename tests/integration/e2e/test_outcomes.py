"""Exit codes, timeouts, queues and cancels, with real tasks on a dev node."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from bacalhau_client import Job
from bacalhau_client.devnode import ComputeNode, DevNode, DevNodeConfig
from orchestrator.domain.clock import SECOND
from orchestrator.domain.states import AttemptState, RunState, TriggerState
from tests.support.checker import one_live_job_at_a_time
from tests.support.inprocess import ACTOR, Orch, Witness
from tests.support.jobs import IMAGES, NEVER, shell
from tests.support.proxy import Answer, Exchange, Hold, Proxy, lose_request
from tests.support.waiting import until

_BACKOFF = {"initial": "50ms", "max": "100ms"}


def _fire(orch: Orch, text: str) -> str:
    return orch.app.timing.fire(orch.register(text).name, ACTOR)


def _spans(jobs: list[Job]) -> dict[str, list[tuple[int, int]]]:
    """When each run's jobs were live by the node's clock."""
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for job in jobs:
        spans[job.labels["orch.run"]].append((job.create_time, job.modify_time))
    return spans


def test_exit_code_decides_not_the_jobs_state(orch: Orch, witness: Witness) -> None:
    """A task that exits 3 twice and then 0 succeeds on attempt 3, with both reasons shown; to the
    node all three jobs are Completed."""
    run_id = _fire(
        orch,
        shell(
            "flaky",
            'echo "try $ORCH_ATTEMPT"; [ $ORCH_ATTEMPT = 3 ] || exit 3',
            at=NEVER,
            retry={"max_attempts": 3, "backoff": _BACKOFF},
        ),
    )
    run = orch.until_ended(run_id)
    assert (run.state, run.attempts, run.tries) == (RunState.SUCCEEDED, 3, 3)
    attempts = orch.attempts(run)
    assert [(a.state, a.exit_code, a.reason) for a in attempts] == [
        (AttemptState.FAILED, 3, "exit 3"),
        (AttemptState.FAILED, 3, "exit 3"),
        (AttemptState.SUCCEEDED, 0, ""),
    ]
    assert [a.stdout for a in attempts] == ["try 1\n", "try 2\n", "try 3\n"]
    assert {job.state.name for job in witness.jobs()} == {"Completed"}
    one_live_job_at_a_time(_spans(witness.jobs()))
    orch.audit()


def test_redriven_with_the_newest_job(orch: Orch) -> None:
    """Where the job itself was wrong; without it a run keeps the version that it was made with."""
    once = {"max_attempts": 1}
    run_id = _fire(orch, shell("wrong", "echo one; exit 3", at=NEVER, retry=once))
    assert orch.until_ended(run_id).state is RunState.DEAD
    orch.apply(shell("wrong", "echo two", at=NEVER, retry=once))
    assert orch.app.commands.redrive("wrong", [], ACTOR) == 1
    again = orch.until_ended(run_id)
    assert (again.state, again.version) == (RunState.DEAD, 1)
    assert orch.app.commands.redrive("wrong", [], ACTOR, latest=True) == 1
    mended = orch.until_ended(run_id)
    assert (mended.state, mended.version) == (RunState.SUCCEEDED, 2)
    assert [a.stdout for a in orch.attempts(mended)] == ["one\n", "one\n", "two\n"]
    orch.audit()


def test_a_trigger_whose_every_run_fails_trips(orch: Orch, tmp_path: Path) -> None:
    """It is paused with the reason, and goes on when somebody has mended its job and resumes it."""
    mended = tmp_path / "mended"
    once = {"max_attempts": 1}
    text = shell("hopeless", f"[ -e {mended} ] || exit 3", every="1s", retry=once, trip_after=2)
    orch.register(text)

    def paused() -> bool:
        return orch.app.triggers.get("hopeless").state is TriggerState.PAUSED

    until(paused, "it is paused")
    assert "in a row were dead" in orch.app.triggers.get("hopeless").note
    assert "exit 3" in orch.app.triggers.get("hopeless").note
    orch.drained()
    before = len(orch.runs("hopeless"))
    mended.touch()
    orch.app.timing.resume("hopeless", skip=True, actor=ACTOR)
    until(lambda: len(orch.runs("hopeless")) > before + 1, "it fires again")
    orch.pause("hopeless")
    orch.drained()
    states = {run.state for run in orch.runs("hopeless") if run.state is not RunState.SKIPPED}
    assert states == {RunState.DEAD, RunState.SUCCEEDED}
    orch.audit()


def test_dead_after_max_attempts_and_redriven(orch: Orch, tmp_path: Path) -> None:
    """A task that always exits 3 is dead after `max_attempts`; `dead redrive` runs it again."""
    mended = tmp_path / "mended"
    run_id = _fire(
        orch,
        shell(
            "hopeless",
            f"[ -e {mended} ] || exit 3",
            at=NEVER,
            retry={"max_attempts": 2, "backoff": _BACKOFF},
        ),
    )
    run = orch.until_ended(run_id)
    assert (run.state, run.attempts) == (RunState.DEAD, 2)
    assert run.reason == "exit 3 (after 2 of 2 attempts)"
    mended.touch()
    assert orch.app.commands.redrive("hopeless", [], ACTOR) == 1
    run = orch.until_ended(run_id)
    assert (run.state, run.attempts, run.tries) == (RunState.SUCCEEDED, 3, 1)
    orch.audit()


def test_timeout_is_a_failed_attempt_then_the_next(orch: Orch, witness: Witness) -> None:
    """A task that sleeps past its limit ends by it, and the next attempt's job comes after."""
    run_id = _fire(
        orch,
        shell(
            "slow",
            "[ $ORCH_ATTEMPT = 2 ] || sleep 30",
            at=NEVER,
            timeout="1s",
            retry={"max_attempts": 2, "backoff": _BACKOFF},
        ),
    )
    run = orch.until_ended(run_id)
    assert (run.state, run.attempts) == (RunState.SUCCEEDED, 2)
    assert orch.attempts(run)[0].reason == "execution timed out after 1 s"
    one_live_job_at_a_time(_spans(witness.jobs()))


def _without_timeouts(exchange: Exchange) -> None:
    """A node that does not keep to a job's timeouts: it never hears of them."""
    body = json.loads(exchange.body)
    for task in body["Job"]["Tasks"]:
        task.pop("Timeouts", None)
    exchange.body = json.dumps(body).encode()
    exchange.headers["Content-Length"] = str(len(exchange.body))
    exchange.send(exchange.forward())


def test_own_deadline_stops_the_job_and_waits_for_the_grace(
    orch: Orch, proxy: Proxy, witness: Witness
) -> None:
    """Where the node lets a job run past its total timeout, the orchestrator stops it, waits for
    the grace, and only then submits the next attempt."""
    proxy.rule(_without_timeouts, method="PUT")
    run_id = _fire(
        orch,
        shell(
            "endless",
            "[ $ORCH_ATTEMPT = 2 ] || sleep 60",
            at=NEVER,
            timeout="1s",
            queue_timeout="1s",
            stop_grace="1500ms",
            retry={"max_attempts": 2, "backoff": _BACKOFF},
        ),
    )
    run = orch.until_ended(run_id)
    assert (run.state, run.attempts, run.tries) == (RunState.SUCCEEDED, 2, 2)
    first, second = orch.attempts(run)
    assert first.state is AttemptState.STOPPED
    assert first.reason.startswith("stopped at its deadline: ran longer than 2 s since")
    assert first.stopped_at is not None
    assert second.created_at >= first.stopped_at + 1.5 * SECOND
    jobs = sorted(witness.jobs(), key=lambda job: job.create_time)
    assert [job.state.name for job in jobs] == ["Stopped", "Completed"]
    one_live_job_at_a_time(_spans(jobs))


def test_waiting_in_the_clusters_queue_uses_up_no_attempt(tmp_path: Path) -> None:
    """While no node suits, a job's total timeout passes in the queue: tried again, not counted."""
    config = DevNodeConfig(
        data_dir=tmp_path / "node",
        images=IMAGES,
        docker=False,
        nodes=(ComputeNode(labels={"zone": "a"}), ComputeNode(labels={"zone": "b"})),
        disconnect_after=0.3,
    )
    with DevNode(config) as node, Orch.start(tmp_path / "orch", node.url) as orch:
        zone_b = node.node_ids()[1]
        node.kill_compute_node(zone_b)
        until(
            lambda: not orch.app.client.nodes.get(zone_b).connection.is_connected,
            "the node is missed",
        )
        run_id = _fire(
            orch,
            shell(
                "waiting",
                "exit 0",
                at=NEVER,
                zone="b",
                timeout="1s",
                queue_timeout="1s",
                retry={"max_attempts": 1},
            ),
        )
        run = orch.until_run(run_id, lambda run: run.reason != "", "has failed once")
        assert run.reason.startswith("waited in the cluster's queue and never ran")
        assert (run.state, run.tries) == (RunState.PENDING, 0)
        node.bring_back_compute_node(zone_b)
        run = orch.until_ended(run_id)
        assert (run.state, run.tries) == (RunState.SUCCEEDED, 1)
        assert [attempt.counted for attempt in orch.attempts(run)] == [False, True]
        orch.audit()


def test_cancel_stops_the_job_and_waits_for_the_grace(orch: Orch, witness: Witness) -> None:
    """A cancelled run ends when its job is stopped and the grace is over, not before."""
    run_id = _fire(orch, shell("doomed", "sleep 60", at=NEVER, stop_grace="1s"))
    orch.until_run(run_id, lambda run: run.state is RunState.RUNNING, "runs")
    orch.app.commands.cancel(run_id, "not needed", ACTOR)
    run = orch.until_ended(run_id)
    assert (run.state, run.reason) == (RunState.CANCELLED, "not needed")
    attempt = orch.attempts(run)[0]
    assert attempt.stopped_at is not None
    assert attempt.ended_at is not None
    assert attempt.ended_at >= attempt.stopped_at + SECOND
    assert [job.state.name for job in witness.jobs()] == ["Stopped"]


def test_cancel_of_what_was_never_sent_needs_no_job(
    tmp_path: Path, node: DevNode, witness: Witness
) -> None:
    """While nobody listens nothing was sent: the run ends at once, and no job comes of it."""
    node.stop()
    with Orch.start(tmp_path / "orch", node.url) as orch:
        run_id = _fire(orch, shell("never", "exit 0", at=NEVER))
        orch.until_run(run_id, lambda run: run.attempts == 1, "is claimed")
        orch.app.commands.cancel(run_id, "not needed", ACTOR)
        assert orch.until_ended(run_id).state is RunState.CANCELLED
        node.start()
        other = _fire(orch, shell("other", "exit 0", at=NEVER))
        orch.until_ended(other)
        assert {job.labels["orch.run"] for job in witness.jobs()} == {other}


@pytest.mark.parametrize("late", ["only", "second"])
def test_cancel_in_doubt_leaves_no_unwatched_job(
    orch: Orch, proxy: Proxy, witness: Witness, late: str
) -> None:
    """The first PUT commits long after its client has gone and the run was cancelled: there is
    one job, and it is stopped before the run ends."""
    hold = Hold(forwarded=False)
    proxy.rule(hold, method="PUT", times=1)
    lift = proxy.rule(lose_request, method="PUT") if late == "only" else None
    run_id = _fire(orch, shell("unsure", "sleep 60", at=NEVER, stop_grace="200ms"))
    assert hold.held.wait(10)
    orch.until_run(run_id, lambda _: orch.attempts(run_id)[0].doubt, "is in doubt")
    orch.app.commands.cancel(run_id, "not needed", ACTOR)
    if lift is not None:
        # Every other PUT is lost: without a clear answer the run must not end.
        until(lambda: len(proxy.seen("PUT")) >= 3, "the same bytes are sent again and again")
        assert orch.run(run_id).ended_at is None
        hold.release.set()
        assert hold.done.wait(10)
        run = orch.until_ended(run_id)
        lift()
    else:
        run = orch.until_ended(run_id)
        hold.release.set()
        assert hold.done.wait(10)
    assert (run.state, run.attempts) == (RunState.CANCELLED, 1)
    assert [job.state.name for job in witness.jobs()] == ["Stopped"]
    assert {job.version for job in witness.jobs()} == {1}
    assert len({name for _, name in proxy.seen("PUT")}) == 1


def test_stop_whose_answer_is_lost(orch: Orch, proxy: Proxy, witness: Witness) -> None:
    """A DELETE without an answer is sent again; the run ends once, as cancelled."""
    run_id = _fire(orch, shell("doomed", "sleep 60", at=NEVER, stop_grace="200ms"))
    orch.until_run(run_id, lambda run: run.state is RunState.RUNNING, "runs")

    def forward_and_close(exchange: Exchange) -> None:
        answer: Answer = exchange.forward()
        assert answer.status == 200

    proxy.rule(forward_and_close, method="DELETE", times=2)
    orch.app.commands.cancel(run_id, "not needed", ACTOR)
    assert orch.until_ended(run_id).state is RunState.CANCELLED
    assert len(proxy.seen("DELETE")) >= 3
    assert [job.state.name for job in witness.jobs()] == ["Stopped"]


def test_somebody_else_stops_our_job(orch: Orch, witness: Witness) -> None:
    """A job that somebody stopped behind our back is a failed attempt, and is tried again."""
    run_id = _fire(
        orch,
        shell(
            "stopped",
            "[ $ORCH_ATTEMPT = 2 ] || sleep 60",
            at=NEVER,
            retry={"max_attempts": 2, "backoff": _BACKOFF},
        ),
    )
    orch.until_run(run_id, lambda run: run.state is RunState.RUNNING, "runs")
    witness.client.jobs.stop(witness.jobs()[0].id, reason="I say so")
    run = orch.until_ended(run_id)
    assert (run.state, run.attempts) == (RunState.SUCCEEDED, 2)
    assert orch.attempts(run)[0].reason.startswith("stopped by somebody else")
