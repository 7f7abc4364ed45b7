"""Verdicts on made-up jobs: what no recording shows."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.outcome import ExecutionView, JobView, Outcome, Verdict, judge


def execution(partition: int = 0, state: int = 9, code: int | None = 0, **more: Any):
    values: dict[str, Any] = {"id": f"e-{partition}-{state}", "node_id": "n-1"} | more
    return ExecutionView(partition=partition, compute_state=state, exit_code=code, **values)


def of(state: str, *executions: ExecutionView, **job: Any) -> Outcome:
    return judge(JobView(state=state, executions=executions, **job))


def test_exit_minus_one_is_success_of_wasm_alone() -> None:
    """-1 is what a WASM task that returned shows; of a container it is a failure."""
    assert of("Completed", execution(code=-1), wasm=True).verdict is Verdict.SUCCEEDED
    assert of("Completed", execution(code=-1)).reason == "exit -1"


@pytest.mark.parametrize("wasm", [True, False])
def test_a_missing_run_output_is_a_failure(wasm: bool) -> None:
    """State 9 without an exit code proves nothing."""
    outcome = of("Completed", execution(code=None), wasm=wasm)
    assert (outcome.verdict, outcome.reason) == (
        Verdict.FAILED,
        "the execution has no output record",
    )


def test_every_partition_must_have_succeeded() -> None:
    """One partition that failed, or that nobody knows of, fails the job."""
    both = [execution(0), execution(1)]
    assert of("Completed", *both, count=2).verdict is Verdict.SUCCEEDED
    failed = of("Completed", execution(0), execution(1, code=4), count=2)
    assert (failed.verdict, failed.exit_code) == (Verdict.FAILED, 4)
    missing = of("Completed", execution(0), count=2)
    assert missing.reason == "the node keeps no execution (partition 1 of 2)"


def test_the_last_execution_of_a_partition_decides() -> None:
    """An earlier try that failed does not matter, whatever the order in the answer."""
    failed = execution(state=10, code=0, message="trap", created_at=1)
    good = execution(created_at=2)
    assert of("Completed", failed, good).verdict is Verdict.SUCCEEDED
    assert of("Completed", good, failed).verdict is Verdict.SUCCEEDED
    assert of("Completed", execution(created_at=1), execution(code=3, created_at=2)).reason == (
        "exit 3"
    )


def test_state_nine_is_needed() -> None:
    """A stopped execution shows exit code 0 too: that is no success."""
    for state in (0, 4, 5, 8, 10, 11):
        assert of("Completed", execution(state=state, code=0)).verdict is Verdict.FAILED


def test_a_job_that_only_waited_does_not_count() -> None:
    """Its TotalTimeout passed in the queue: the cluster was busy, no attempt is used up."""
    outcome = of("Failed", message="Job timed out. Job took longer than 2s")
    assert not outcome.counts
    assert outcome.reason.startswith("waited in the cluster's queue and never ran")
    ran = of("Failed", execution(state=11), message="Job timed out. Job took longer than 2s")
    assert ran.counts


def test_a_cluster_without_nodes_does_not_count() -> None:
    """Nodes that are there and do not suit do count: the job asks for what nobody has."""
    text = "not enough nodes to run job. requested: 1, available: {}, suitable: 0."
    assert not of("Failed", message=text.format(0)).counts
    assert of("Failed", message=text.format(1)).counts
    assert of("Failed", message=text.format(10)).counts


def test_executions_speak_before_the_job() -> None:
    """The newest failed execution's words are the reason, brought into the ledger's form."""
    old = execution(state=10, message="Execution timed out after 1m30s", created_at=1)
    outcome = of("Failed", old, message="not enough nodes to run job")
    assert outcome.reason == "execution timed out after 1 m30 s"
    assert of("Failed", message="").reason == "the job ended as Failed"


@pytest.mark.parametrize("state", ["Failed", "Completed"])
def test_a_lost_node_holds_the_next_attempt(state: str) -> None:
    """Also where another execution ended meanwhile: the lost node's task may go on."""
    gone = execution(state=10, message="node has disappeared", created_at=5)
    other = execution(code=3, created_at=9)
    outcome = of(state, gone, other)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.node_lost
    assert outcome.execution_started == 9


@pytest.mark.parametrize(
    ("state", "executions", "verdict"),
    [
        ("Pending", [], Verdict.WAITING),
        ("Queued", [], Verdict.WAITING),
        ("Running", [], Verdict.RUNNING),
        ("Queued", [execution(state=5, code=None)], Verdict.RUNNING),
        ("Queued", [execution(state=2, code=None)], Verdict.WAITING),
        ("a word of a later version", [], Verdict.WAITING),
        ("Stopped", [execution(state=11)], Verdict.STOPPED),
    ],
)
def test_what_has_not_ended(state: str, executions: list[Any], verdict: Verdict) -> None:
    """A job waits until a node took it on; a word that nobody knows is no end."""
    assert of(state, *executions).verdict is verdict


def test_no_executions_and_count_zero() -> None:
    """A job without anything to show has not succeeded."""
    assert of("Completed").verdict is Verdict.FAILED
    assert of("Completed", count=0).verdict is Verdict.FAILED
