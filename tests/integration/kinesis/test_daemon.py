"""From a stream to counted records: orchestrator, local node, and the tasks that come along."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.cli.devnode import task_commands
from tests.support.inprocess import Orch
from tests.support.waiting import until

RANGE = """
apiVersion: orch/v1
kind: kinesis
name: ranges
stream: {stream}
endpoint: {endpoint}
region: eu-central-1
poll: 200ms
max_wait: 0
max_records: 30
job:
  Type: batch
  Tasks:
    - Name: read
      Engine: {{Type: docker, Params: {{Image: "orch/kinesis-range:1"}}}}
      Env:
        KINESIS_STREAM: ${{{{ kinesis.stream }}}}
        KINESIS_SHARD: ${{{{ kinesis.shard }}}}
        KINESIS_START: ${{{{ kinesis.start }}}}
        KINESIS_END: ${{{{ kinesis.end }}}}
        KINESIS_ENDPOINT: ${{{{ kinesis.endpoint }}}}
        AWS_REGION: ${{{{ kinesis.region }}}}
        AWS_ACCESS_KEY_ID: key
        AWS_SECRET_ACCESS_KEY: of-the-test
"""
FILES = """
apiVersion: orch/v1
kind: kinesis
name: files
stream: {stream}
endpoint: {endpoint}
region: eu-central-1
mode: buffer
poll: 200ms
max_records: 40
max_age: 200ms
"""


@pytest.fixture
def orch(tmp_path: Path) -> Iterator[Orch]:
    """An orchestrator and a node that runs the sample tasks without Docker."""
    config = DevNodeConfig(data_dir=tmp_path / "node", images=task_commands(), docker=False)
    node = DevNode(config)
    node.start()
    try:
        with Orch.start(tmp_path / "orch", node.url) as started:
            yield started
    finally:
        node.stop()


@pytest.mark.parametrize(("name", "text"), [("ranges", RANGE), ("files", FILES)])
def test_every_record_is_counted_once(
    kinesis: Any, endpoint: str, orch: Orch, name: str, text: str
):
    """In both modes, over a merge: what the tasks have counted is what the shards held."""
    stream = f"daemon-{name}"
    kinesis.create_stream(StreamName=stream, ShardCount=2)
    entries = [{"Data": b"x", "PartitionKey": str(number)} for number in range(100)]
    kinesis.put_records(StreamName=stream, Records=entries)
    orch.register(text.format(stream=stream, endpoint=endpoint))
    one, two = (f"shardId-{number:012d}" for number in range(2))
    counted(orch, name, 100)
    # This server copies what the parents hold into the merged shard: another hundred.
    kinesis.merge_shards(StreamName=stream, ShardToMerge=one, AdjacentShardToMerge=two)
    counted(orch, name, 200)
    ends = [run for run in orch.runs(name) if run.state == "skipped"]
    assert len(ends) == 2
    assert all("closed" in (run.reason or "") for run in ends)
    orch.audit()


def counted(orch: Orch, name: str, wanted: int) -> None:
    """Wait until the outputs of the runs that succeeded add up."""

    def total() -> int:
        outputs = [orch.attempts(run)[-1].stdout or "" for run in orch.succeeded(name)]
        return sum(json.loads(output.splitlines()[0])["count"] for output in outputs)

    until(lambda: total() >= wanted, f"{wanted} records", within=120, show=total)
    assert total() == wanted
