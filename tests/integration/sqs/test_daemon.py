"""From a queue to jobs that succeeded: orchestrator, local node, and ElasticMQ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.elasticmq import REGION, ElasticMq
from tests.support.inprocess import Orch
from tests.support.waiting import until

HEAD = """
apiVersion: orch/v1
kind: sqs
name: {name}
queue: {url}
region: {region}
wait: 1s
visibility: 30s
retry: {{max_attempts: 2, backoff: {{initial: 10ms, max: 10ms}}}}
"""
SHELL = """
batch_size: 1
{more}
job:
  Type: batch
  Tasks:
    - Name: handle
      Engine:
        Type: docker
        Params:
          Image: "alpine:3.20"
          Entrypoint: [sh, -c, 'echo "$TEXT" >> "$SEEN"; test "$TEXT" != "- poison"']
      Env:
        TEXT: "- ${{{{ event.body }}}}"
        SEEN: {seen}
"""


@pytest.fixture
def orch(tmp_path: Path) -> Iterator[Orch]:
    """An orchestrator and a node; what would be a container is a process."""
    images = {"alpine:3.20": "-"}
    node = DevNode(DevNodeConfig(data_dir=tmp_path / "node", docker=False, images=images))
    node.start()
    try:
        with Orch.start(tmp_path / "orch", node.url) as started:
            yield started
    finally:
        node.stop()


def _register(orch: Orch, url: str, name: str, more: str) -> None:
    orch.register(HEAD.format(name=name, url=url, region=REGION) + more)


def test_every_message_is_counted_once(elasticmq: ElasticMq, orch: Orch):
    """In batches by the default job; the queue is empty when all runs have succeeded."""
    url = elasticmq.queue()
    elasticmq.send(url, [f"message {n}" for n in range(90)])
    _register(orch, url, "orders", "batch_size: 40\nbatch_window: 500ms\n")

    def counted() -> int:
        outputs = [orch.attempts(run)[-1].stdout or "{}" for run in orch.succeeded("orders")]
        return sum(json.loads(output.splitlines()[0])["count"] for output in outputs)

    until(lambda: counted() >= 90, "all are counted", within=120, show=counted)
    assert counted() == 90
    assert len(orch.runs("orders")) < 30
    until(lambda: elasticmq.left(url) == (0, 0), "the queue is empty", within=30)
    orch.audit()


def test_groups_are_handled_in_order(elasticmq: ElasticMq, orch: Orch, tmp_path: Path):
    """One message after the other within a group, a message a run."""
    url = elasticmq.queue(fifo=True)
    elasticmq.send(url, [f"{n % 2} {n:02d}" for n in range(12)], ["even", "odd"])
    seen = tmp_path / "seen"
    _register(orch, url, "ordered", SHELL.format(seen=seen, more=""))
    until(lambda: len(orch.succeeded("ordered")) == 12, "all succeeded", within=120)
    lines = seen.read_text().splitlines()
    for group in "01":
        mine = [line for line in lines if line.startswith(f"- {group} ")]
        assert mine == sorted(mine)
        assert len(mine) == 6
    until(lambda: elasticmq.left(url) == (0, 0), "the queue is empty", within=30)
    orch.audit()


def test_poison_is_kept_by_its_run(elasticmq: ElasticMq, orch: Orch, tmp_path: Path):
    """By default: the dead run holds the message, which is deleted from the queue."""
    url = elasticmq.queue()
    elasticmq.send(url, ["good", "poison"])
    _register(orch, url, "kept", SHELL.format(seen=tmp_path / "seen", more=""))
    until(lambda: elasticmq.left(url) == (0, 0), "the queue is empty", within=60)
    assert sorted(run.state for run in orch.drained()) == ["dead", "succeeded"]
    assert (tmp_path / "seen").read_text().splitlines().count("- poison") == 2
    orch.audit()


def test_poison_goes_back_to_the_queue(elasticmq: ElasticMq, orch: Orch, tmp_path: Path):
    """Where that is set: its redrive policy moves it on, and each delivery was a run."""
    letters = elasticmq.queue()
    policy = {"deadLetterTargetArn": elasticmq.arn(letters), "maxReceiveCount": 2}
    url = elasticmq.queue(RedrivePolicy=json.dumps(policy))
    elasticmq.send(url, ["good", "poison"])
    more = SHELL.format(seen=tmp_path / "seen", more="dead: return")
    _register(orch, url, "returned", more)
    until(lambda: elasticmq.left(letters) == (1, 0), "it is with the dead letters", within=90)
    assert elasticmq.left(url) == (0, 0)
    states = sorted(run.state for run in orch.drained())
    assert states == ["dead", "dead", "succeeded"]
    orch.audit()
