"""From topics to jobs that succeeded: orchestrator, local node, and Mosquitto."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.cli import orch as cli
from tests.support.inprocess import Orch
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import until

_numbers = itertools.count(1)


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


@pytest.fixture
def root() -> str:
    """Topics of the test's own."""
    return f"daemon-{os.getpid()}-{next(_numbers)}"


def _counted(orch: Orch, name: str) -> int:
    outputs = [orch.attempts(run)[-1].stdout or "{}" for run in orch.succeeded(name)]
    return sum(json.loads(output.splitlines()[0])["count"] for output in outputs)


def _listens(broker: Mosquitto, root: str) -> None:
    """Until there is a session nobody keeps anything."""
    until(lambda: broker.subscribed(f"{root}/#"), "it listens", within=30, show=broker.said)


def test_registering_a_topic_is_enough(mosquitto: Mosquitto, orch: Orch, root: str):
    """By the command line, with the job that comes with the kind: every message is counted."""
    args = ("--topic", f"{root}/#", "--broker", mosquitto.url, "--batch-window", "200ms")
    done = cli("register", "mqtt", "--name", "plain", *args, env={"ORCH_URL": orch.app.server.url})
    assert done.code == 0, done.err
    _listens(mosquitto, root)
    peer = mosquitto.peer()
    peer.publish(f"{root}/b", [f"message {n}" for n in range(90)])
    until(lambda: _counted(orch, "plain") >= 90, "all are counted", within=60)
    assert _counted(orch, "plain") == 90
    peer.close()
    orch.audit()


_SHELL = """
apiVersion: orch/v1
kind: mqtt
name: {name}
broker: {broker}
topic: {root}/#
retry: {{max_attempts: 2, backoff: {{initial: 10ms, max: 10ms}}}}
{more}
job:
  Type: batch
  Tasks:
    - Name: handle
      Engine:
        Type: docker
        Params:
          Image: "alpine:3.20"
          Entrypoint: [sh, -c, {script}]
      Env:
        SEEN: {seen}
"""


def test_values_of_a_message(mosquitto: Mosquitto, orch: Orch, root: str, tmp_path: Path):
    """Topic, levels and properties are values of a run for one message; with an id that it carries
    a message that is published twice is one run."""
    seen = tmp_path / "seen"
    text = _SHELL.format(
        name="values",
        broker=mosquitto.url,
        root=root,
        more="batch_size: 1\nid: {property: id}",
        script='\'echo "$WHAT" >> "$SEEN"\'',
        seen=seen,
    )
    what = "- ${{ mqtt.topic }} ${{ mqtt.levels[1] }} ${{ mqtt.qos }} ${{ event.body }}"
    orch.register(f'{text}        WHAT: "{what}"\n')
    _listens(mosquitto, root)
    peer = mosquitto.peer()
    for _ in range(2):
        peer.publish(f"{root}/y", ["text"], properties=[("id", "1")])
    peer.publish(f"{root}/z", ["text"], properties=[("id", "1")])

    def lines() -> list[str]:
        return seen.read_text().splitlines() if seen.exists() else []

    until(lambda: len(lines()) >= 2, "both are handled", within=60, show=lines)
    orch.drained()
    assert sorted(lines()) == [f"- {root}/y y 1 text", f"- {root}/z z 1 text"]
    assert f"{root}/y 1" in {run.key for run in orch.runs("values")}
    peer.close()
    orch.audit()


def test_messages_that_failed_are_handed_over_again(
    mosquitto: Mosquitto, orch: Orch, root: str, tmp_path: Path
):
    """A run names them; with `ack: on_success` only they make another run."""
    seen = tmp_path / "seen"
    script = tmp_path / "task.sh"
    failed = '{"orch.failed": [[1, 2]]}'
    script.write_text(
        f"cat $1 >> {seen}; test -e {seen}.once && exit 0; touch {seen}.once; echo '{failed}'"
    )
    orch.register(
        _SHELL.format(
            name="parts",
            broker=mosquitto.url,
            root=root,
            more="batch_size: 3\nbatch_window: 1s\nack: on_success\nretained: take",
            script=f"'sh {script} /orch/batch.ndjson'",
            seen=seen,
        )
    )
    _listens(mosquitto, root)
    peer = mosquitto.peer()
    peer.publish(f"{root}/y", ["a", "b", "c"])

    def bodies() -> list[str]:
        lines = seen.read_text().splitlines() if seen.exists() else []
        return [json.loads(line)["body"] for line in lines]

    until(lambda: len(bodies()) >= 4, "all are handled", within=60, show=bodies)
    orch.drained()
    assert sorted(bodies()) == ["a", "b", "b", "c"]
    peer.close()
    orch.audit()
