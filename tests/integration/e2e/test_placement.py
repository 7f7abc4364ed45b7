"""A retry goes to another node first, where it was one node that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bacalhau_client.devnode import ComputeNode, DevNode, DevNodeConfig
from orchestrator.domain.states import RunState
from tests.support.inprocess import ACTOR, Orch
from tests.support.jobs import IMAGES, NEVER, shell

RETRY = {"max_attempts": 3, "backoff": {"initial": "50ms", "max": "50ms"}}


@pytest.mark.parametrize("turn", range(3))
def test_the_second_attempt_leaves_out_the_node_of_the_first(tmp_path: Path, turn: int) -> None:
    """With two nodes the attempts of a run alternate, whatever the cluster would have chosen."""
    nodes = (ComputeNode(), ComputeNode())
    config = DevNodeConfig(data_dir=tmp_path / "node", images=IMAGES, docker=False, nodes=nodes)
    with DevNode(config) as node, Orch.start(tmp_path / "orch", node.url) as orch:
        orch.register(shell("moves", 'test "$ORCH_ATTEMPT" = 2', at=NEVER, retry=RETRY))
        run = orch.until_ended(orch.app.timing.fire("moves", ACTOR))
        first, second = orch.attempts(run)
        assert run.state is RunState.SUCCEEDED
        assert {first.node_id, second.node_id} == set(node.node_ids())
        assert second.job_id is not None
        job = orch.app.client.jobs.get(second.job_id).job
        assert job.raw["Constraints"] == [
            {"Key": "name", "Operator": "!=", "Values": [first.node_id]}
        ]


def test_one_node_is_not_left_out(tmp_path: Path) -> None:
    """Where there is no other node the same one is tried again."""
    config = DevNodeConfig(data_dir=tmp_path / "node", images=IMAGES, docker=False)
    with DevNode(config) as node, Orch.start(tmp_path / "orch", node.url) as orch:
        orch.register(shell("stays", 'test "$ORCH_ATTEMPT" = 2', at=NEVER, retry=RETRY))
        run = orch.until_ended(orch.app.timing.fire("stays", ACTOR))
        assert [a.node_id for a in orch.attempts(run)] == [node.node_ids()[0]] * 2
        assert run.state is RunState.SUCCEEDED


def test_a_job_that_says_where_it_runs_is_left_alone(tmp_path: Path) -> None:
    """Its own constraints may leave no other node, so none is added to them."""
    nodes = (ComputeNode(labels={"zone": "a"}), ComputeNode(labels={"zone": "b"}))
    config = DevNodeConfig(data_dir=tmp_path / "node", images=IMAGES, docker=False, nodes=nodes)
    with DevNode(config) as node, Orch.start(tmp_path / "orch", node.url) as orch:
        text = shell("zone", 'test "$ORCH_ATTEMPT" = 2', at=NEVER, zone="b", retry=RETRY)
        orch.register(text)
        run = orch.until_ended(orch.app.timing.fire("zone", ACTOR))
        assert [a.node_id for a in orch.attempts(run)] == [node.node_ids()[1]] * 2
        assert run.state is RunState.SUCCEEDED
