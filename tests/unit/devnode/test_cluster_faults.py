"""Compute nodes that go away and come back, another cluster, a lost store."""

from __future__ import annotations

from typing import Any

import pytest

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

LOST = "Execution stop requested because node has disappeared"
ZONES = (ComputeNode(labels={"zone": "a"}), ComputeNode(labels={"zone": "b"}))


def _connection(api: Api, node_id: str) -> str:
    nodes: list[dict[str, Any]] = api.call("GET", "orchestrator/nodes").json()["Nodes"]
    return next(node["Connection"] for node in nodes if node["Info"]["NodeID"] == node_id)


def test_job_of_a_killed_node_moves_to_another(make_node: MakeNode) -> None:
    """Its execution is lost, a new one runs elsewhere."""
    node, api = make_node(nodes=ZONES)
    job = api.submit("moves", shell_task("sleep 1"))
    placed = api.until(job, {"Running"})["Executions"]["Items"][0]["NodeID"]
    node.kill_compute_node(placed)
    assert _connection(api, placed) == "CONNECTED"
    done = api.until(job, ENDED)
    assert executions(done) == [(10, LOST, 0), (9, "Running", 0)]
    assert done["Executions"]["Items"][1]["NodeID"] != placed
    assert _connection(api, placed) == "DISCONNECTED"


def test_a_disconnected_node_reports_when_it_is_back_in_time(make_node: MakeNode) -> None:
    """What ended while nobody heard is told as soon as the node is heard again."""
    node, api = make_node(disconnect_after=60.0)
    job = api.submit("unseen", shell_task("sleep 0.3; exit 4"))
    api.until(job, {"Running"})
    node.disconnect_compute_node(node.node_ids()[0])
    waiting = api.submit("waiting", wasm_task(wasm_source("nop")))
    assert api.state(waiting) == "Pending"
    node.bring_back_compute_node(node.node_ids()[0])
    assert executions(api.until(job, ENDED)) == [(9, "Running", 4)]
    assert api.until(waiting, ENDED)["Job"]["State"]["StateType"] == "Completed"


def test_a_late_result_of_a_lost_execution_changes_nothing(make_node: MakeNode) -> None:
    """The cluster has given it up: the job stays failed."""
    node, api = make_node()
    job = api.submit("late", shell_task("sleep 0.5"))
    api.until(job, {"Running"})
    node.disconnect_compute_node(node.node_ids()[0])
    failed = api.until(job, ENDED)
    assert executions(failed) == [(10, LOST, 0)]
    node.bring_back_compute_node(node.node_ids()[0])
    assert _connection(api, node.node_ids()[0]) == "CONNECTED"
    assert api.get(job) == failed


def test_queued_jobs_start_when_a_node_is_back(make_node: MakeNode) -> None:
    """A job with a queue timeout waits for its node."""
    node, api = make_node(nodes=ZONES)
    first = node.node_ids()[0]
    node.kill_compute_node(first)
    api.wait(lambda: _connection(api, first) == "DISCONNECTED", "the node is gone")
    only_a = [{"Key": "zone", "Operator": "=", "Values": ["a"]}]
    task = wasm_task(wasm_source("nop"), Timeouts={"QueueTimeout": 60})
    job = api.submit("waits", task, Constraints=only_a)
    api.until(job, {"Queued"})
    node.bring_back_compute_node(first)
    assert api.until(job, ENDED)["Job"]["State"]["StateType"] == "Completed"


def test_another_cluster_shows_in_the_jobs(make_node: MakeNode) -> None:
    """New jobs carry the new orchestrator's id; the change survives a restart."""
    node, api = make_node()
    name = "bacalhau.org/orchestrator.id"
    before = api.run("before", wasm_task(wasm_source("nop")))["Job"]["Meta"][name]
    after = node.become_another_cluster()
    node.stop()
    node.start()
    assert before != after
    assert api.run("after", wasm_task(wasm_source("nop")))["Job"]["Meta"][name] == after


def test_a_wiped_store_knows_no_job(make_node: MakeNode) -> None:
    """Jobs are gone, also after a restart, and their names are free."""
    node, api = make_node()
    running = api.submit("running", shell_task("sleep 60"))
    api.until(running, {"Running"})
    node.wipe()
    assert api.call("GET", f"orchestrator/jobs/{running}").status_code == 404
    node.stop()
    node.start()
    assert api.call("GET", "orchestrator/jobs").json()["Items"] == []
    assert api.run("running", shell_task("true"))["Job"]["Version"] == 1


@pytest.mark.parametrize("enabled", [True, False])
def test_admin_paths_only_where_enabled(make_node: MakeNode, enabled: bool) -> None:
    """A node that was not told so cannot be broken over HTTP."""
    node, api = make_node(admin=enabled)
    path = f"dev/nodes/{node.node_ids()[0]}/kill"
    assert api.call("PUT", path).status_code == (200 if enabled else 404)
    assert api.call("PUT", "dev/nodes/n-unknown/kill").status_code == 404
    assert api.call("PUT", "dev/nonsense").status_code == 404


def test_node_by_id(make_node: MakeNode) -> None:
    """One node's description, by its whole or its short id."""
    node, api = make_node()
    whole = node.node_ids()[0]
    for wanted in (whole, whole[:10]):
        info = api.call("GET", f"orchestrator/nodes/{wanted}").json()["Node"]["Info"]
        assert info["NodeID"] == whole
    assert api.call("GET", "orchestrator/nodes/n-none").status_code == 404
