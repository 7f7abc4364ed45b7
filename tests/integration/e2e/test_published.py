"""A task names the events that failed in the result that it publishes to S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.domain.states import AttemptState, RunState
from tests.support import moto
from tests.support.inprocess import Orch
from tests.support.jobs import IMAGE, IMAGES
from tests.support.queuesource import MemoryConnector, MemoryQueue, queue_registry
from tests.support.waiting import until

_BUCKET = "published-results"
_COUNT = 1000


@pytest.fixture
def node(tmp_path: Path, endpoint: str) -> Iterator[DevNode]:
    """A dev node that may write to a bucket of moto's, and signs what lies there."""
    client = moto.client("s3", endpoint, "us-east-1")
    client.create_bucket(Bucket=_BUCKET)
    client.close()
    credentials = {name.upper(): value for name, value in moto.KEYS.items()}
    config = DevNodeConfig(
        data_dir=tmp_path / "node", images=IMAGES, docker=False, s3_credentials=credentials
    )
    with DevNode(config) as node:
        yield node


def trigger(script: str, endpoint: str) -> str:
    """A trigger whose task publishes what it leaves in /orch/out."""
    place = {"Bucket": _BUCKET, "Key": "{jobID}/{executionID}", "Endpoint": endpoint}
    task = {
        "Name": "main",
        "Engine": {
            "Type": "docker",
            "Params": {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]},
        },
        "Publisher": {"Type": "s3", "Params": {**place, "Region": "us-east-1"}},
        "ResultPaths": [{"Name": "orch", "Path": "/orch/out"}],
        "Env": {"COUNT": "${{ batch.count }}"},
    }
    document = {"apiVersion": "orch/v1", "kind": "queue", "name": "main", "queue": "main"}
    quick = {"retry": {"max_attempts": 2, "backoff": {"initial": "50ms", "max": "50ms"}}}
    job = {"Type": "batch", "Tasks": [task]}
    return json.dumps({**document, **quick, "batch_size": _COUNT, "job": job})


def test_only_what_the_result_names_comes_again(
    tmp_path: Path, node: DevNode, endpoint: str
) -> None:
    """More of them than an output could name; a list that is broken fails the attempt."""
    outside = MemoryConnector()
    queue = outside.queues["main"] = MemoryQueue()
    queue.put(*(f"m{n}" for n in range(_COUNT)))
    ranges = [[n, n + 1] for n in range(0, _COUNT, 2)]
    said = tmp_path / "failed.json"
    said.write_text(json.dumps({"orch.failed": ranges}))
    script = (
        f'[ "$COUNT" != {_COUNT} ] || cp {said} /orch/out/failed.json; '
        '[ "$ORCH_ATTEMPT$COUNT" != "1500" ] || echo broken > /orch/out/failed.json'
    )
    with Orch.start(tmp_path / "orch", node.url, registry=queue_registry(outside)) as orch:
        orch.register(trigger(script, endpoint))
        until(lambda: not queue.messages, "the queue is empty", within=60)
        first, second = sorted(orch.drained(), key=lambda run: -run.data["batch"]["count"])
        counts = [run.data["batch"]["count"] for run in (first, second)]
        assert counts == [_COUNT, _COUNT // 2]
        assert {run.state for run in (first, second)} == {RunState.SUCCEEDED}
        broken, good = orch.attempts(second)
        assert (broken.state, good.state) == (AttemptState.FAILED, AttemptState.SUCCEEDED)
        assert "no JSON" in broken.reason
        orch.audit()
    assert sorted(queue.returned) == sorted(f"m{n}#1" for n in range(0, _COUNT, 2))
