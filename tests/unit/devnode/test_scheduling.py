"""Placement, tries, queues and what blocks them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bacalhau_client.devnode import ComputeNode
from tests.unit.devnode.conftest import (
    ENDED,
    Api,
    MakeNode,
    executions,
    shell_task,
    wasm_source,
    wasm_task,
)

NOP = wasm_source("nop")


def _padded(size: int) -> dict[str, object]:
    return wasm_task(NOP, Env={"P": "x" * size})


def test_a_large_spec_wedges_the_node(api: Api) -> None:
    """Above about 1,000,000 bytes a job is taken, never starts, and all others wait behind it."""
    large = api.submit("large", _padded(1_000_000))
    behind = api.submit("behind", wasm_task(NOP))
    with ThreadPoolExecutor(4) as pool:
        others = list(pool.map(lambda n: api.submit(f"b-{n}", wasm_task(NOP)), range(4)))
    assert {api.state(job) for job in [large, behind, *others]} == {"Pending"}
    assert api.stop(large).status_code == 200
    assert api.until(behind, ENDED)["Job"]["State"]["StateType"] == "Completed"


def test_a_spec_below_the_limit_runs(api: Api) -> None:
    """960 kB went through a real node."""
    assert api.run("fits", _padded(959_000))["Job"]["State"]["StateType"] == "Completed"


def test_wedge_survives_a_restart(make_node: MakeNode) -> None:
    """The jobs wait in the same order after the node came back."""
    node, api = make_node()
    large = api.submit("large", _padded(1_000_000))
    behind = api.submit("behind", wasm_task(NOP))
    node.stop()
    node.start()
    assert api.state(behind) == "Pending"
    api.stop(large)
    assert api.until(behind, ENDED)["Job"]["State"]["StateType"] == "Completed"


def test_race_for_a_name_leaves_one_job(api: Api) -> None:
    """Of many at once one gets a 200, the others a 409 or the 500 of the same bytes."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.put("race", wasm_task(NOP)), range(8)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes[0] == 200
    assert set(codes[1:]) <= {409, 500}
    conflicts = [answer.json() for answer in answers if answer.status_code == 409]
    assert all(body["Code"] == "ResourceInUse" for body in conflicts)
    versions = api.call("GET", "orchestrator/jobs/race/versions").json()["Items"]
    assert len(versions) == 1


def test_failed_executions_are_tried_twice_on_every_node(make_node: MakeNode) -> None:
    """Two nodes: four executions, two on each."""
    node, api = make_node(nodes=(ComputeNode(), ComputeNode()))
    job = api.run("trap", wasm_task(wasm_source("unreachable")))
    placed = [execution["NodeID"] for execution in job["Executions"]["Items"]]
    assert sorted(placed) == sorted(node.node_ids() * 2)
    assert {state for state, _, _ in executions(job)} == {10}


def test_queue_timeout_does_not_fire(api: Api) -> None:
    """A job that no node suits is Queued with a queue timeout, and stays so."""
    nowhere = [{"Key": "zone", "Operator": "=", "Values": ["x"]}]
    task = wasm_task(NOP, Timeouts={"QueueTimeout": 1})
    job = api.submit("queued", task, Constraints=nowhere)
    api.until(job, {"Queued"})
    other = api.run("slow", shell_task("sleep 1.5"))
    assert other["Job"]["State"]["StateType"] == "Completed"
    assert api.state(job) == "Queued"


def test_capacity_limits_what_runs_at_once(make_node: MakeNode) -> None:
    """With room for one, the second task starts when the first has ended."""
    _, api = make_node(capacity=1)
    first = api.submit("first", shell_task("sleep 0.5; date +%s%N"))
    second = api.submit("second", shell_task("date +%s%N"))
    times = [
        int(api.until(job, ENDED)["Executions"]["Items"][0]["RunOutput"]["Stdout"])
        for job in (first, second)
    ]
    assert times[0] < times[1]


def test_an_update_stops_the_version_that_runs(api: Api) -> None:
    """The same name with another spec cancels the executions of the version before."""
    job = api.submit("job", shell_task("sleep 60"))
    api.until(job, {"Running"})
    api.submit("job", shell_task("exit 5"))
    done = api.until(job, ENDED)
    assert (done["Job"]["Version"], executions(done)) == (2, [(9, "Running", 5)])
    every = api.call(
        "GET", f"orchestrator/jobs/{job}/executions", params={"all_job_versions": "true"}
    ).json()["Items"]
    assert [execution["ComputeState"]["StateType"] for execution in every] == [11, 9]


def test_rerun_of_an_older_version(api: Api) -> None:
    """A rerun takes the spec of the version that it names and becomes a new version."""
    job = api.run("job", shell_task("exit 1"))["Job"]["ID"]
    api.run("job", shell_task("exit 2"))
    answer = api.call("PUT", f"orchestrator/jobs/{job}/rerun", json={"JobVersion": 1}).json()
    assert answer["JobVersion"] == 3
    assert executions(api.until(job, ENDED)) == [(9, "Running", 1)]


def test_a_failed_job_cannot_be_stopped(api: Api) -> None:
    """Stopping what has failed is a conflict, and changes nothing."""
    job = api.run("trap", wasm_task(wasm_source("unreachable")))["Job"]["ID"]
    answer = api.stop(job)
    assert (answer.status_code, answer.json()["Code"]) == (500, "ConflictJobState")
    assert api.state(job) == "Failed"


def test_total_timeout_stops_what_runs(api: Api) -> None:
    """With a longer second try the job fails on time, and its execution is cancelled."""
    limits = {"ExecutionTimeout": 1, "TotalTimeout": 2, "QueueTimeout": 1}
    job = api.run("late", shell_task("sleep 60", Timeouts={**limits, "QueueTimeout": 0}))
    assert job["Job"]["State"]["Message"] == "Job timed out. Job took longer than 2s"
    assert executions(job)[0] == (10, "Execution timed out after 1s", 0)


def test_other_job_types_fail_with_a_reason(api: Api) -> None:
    """The dev node runs batch jobs; others are taken and say so."""
    task = wasm_task(NOP)
    job = api.run("service", task, Type="service")
    assert "no jobs of type service" in job["Job"]["State"]["Message"]


def test_count_of_zero_completes_at_once(api: Api) -> None:
    """Nothing to do is done."""
    job = api.run("nothing", wasm_task(NOP), Count=0)
    assert (job["Job"]["State"]["StateType"], executions(job)) == ("Completed", [])
