"""Default jobs on the dev node: what `orch register kafka --topic …` runs, without Docker."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import specs
from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.cli.devnode import task_commands
from tests.support.kafka import Kafka
from tests.support.waiting import until

PATHS = ("topic", "partition", "start", "end", "brokers", "group", "isolation", "idle_exit")
KNOWN = specs.BASE_PATHS.extended(outside=tuple(f"kafka.{name}" for name in PATHS))
RECORDS = b"".join(b'{"offset":%d,"timestamp":0,"value":"x"}\n' % n for n in range(100, 150))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevNode]:
    """A dev node as the demo makes it."""
    config = DevNodeConfig(
        data_dir=tmp_path / "node",
        images=task_commands(),
        local_allow=(str(tmp_path / "shared"),),
        docker=False,
    )
    node = DevNode(config)
    node.start()
    yield node
    node.stop()


def run(node: DevNode, mode: str, kafka: dict[str, Any], inputs: tuple[Any, ...] = ()) -> Any:
    """Render the default job of a mode, run it, and return its execution's RunOutput."""
    data = {"apiVersion": "orch/v1", "kind": "kafka", "name": "logs", "mode": mode}
    read = specs.parse_trigger(
        specs.from_data(data), settings={"kafka": ("mode",)}.get, default_job=specs.default_job
    )
    job = specs.prepare(read, base_dir=None, known=KNOWN)
    rendered = specs.compile_template(job, known=KNOWN).render(
        {"kafka": kafka},
        name=f"{mode}-{len(inputs)}",
        labels={},
        env={
            "ORCH_RUN_ID": "r1",
            "ORCH_ATTEMPT": "1",
            "ORCH_DEADLINE": "2126-01-01T00:00:00Z",
        },
        timeouts=(60_000_000, 90_000_000),
        inputs=inputs,
    )
    jobs = f"{node.url}/api/v1/orchestrator/jobs"
    answer = requests.put(jobs, json=json.loads(rendered.body), timeout=20)
    assert answer.status_code == 200, answer.text
    place = f"{jobs}/{answer.json()['JobID']}?include=executions"

    def ended() -> Any:
        found = requests.get(place, timeout=20).json()
        return found if found["Job"]["State"]["StateType"] in ("Completed", "Failed") else None

    found = until(ended, f"the job of mode {mode} has ended", within=60)
    return found["Executions"]["Items"][-1]["RunOutput"]


def values(kafka: Kafka, topic: str) -> dict[str, Any]:
    """What the connector gives to a run."""
    return {
        "topic": topic,
        "partition": 0,
        "start": 100,
        "end": 150,
        "brokers": kafka.bootstrap,
        "group": f"orch.i.{topic}.u",
        "isolation": "read_committed",
        "idle_exit": 1,
    }


@pytest.mark.parametrize(("mode", "count"), [("range", 50), ("follow", 100)])
def test_tasks_that_read_themselves(node: DevNode, kafka: Kafka, mode: str, count: int):
    """The image's program runs on this machine and tells what it has read in one line."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b"value"] * 200)
    output = run(node, mode, values(kafka, topic))
    assert output["ExitCode"] == 0, output
    told = json.loads(output["Stdout"])
    assert (told["count"], told["first"]) == (count, 100)


def _shared(directory: Path) -> dict[str, Any]:
    file = directory / "shared" / "batch.ndjson"
    file.parent.mkdir()
    file.write_bytes(RECORDS)
    return {"Type": "localDirectory", "Params": {"SourcePath": str(file)}}


def _inline(_: Path) -> dict[str, Any]:
    data = base64.b64encode(RECORDS).decode()
    return {"Type": "inline", "Params": {"URL": f"data:application/x-ndjson;base64,{data}"}}


@pytest.mark.parametrize("given", [_shared, _inline])
def test_a_buffered_file_is_counted(
    node: DevNode, tmp_path: Path, given: Callable[[Path], dict[str, Any]]
):
    """A batch is found at /orch/batch.ndjson, from wherever it comes."""
    source = {"Source": given(tmp_path), "Target": "/orch/batch.ndjson"}
    output = run(node, "buffer", {}, (source,))
    assert output["ExitCode"] == -1, output
    told = {"count": 50, "first": 100, "last": 149, "bytes": len(RECORDS)}
    assert json.loads(output["Stdout"]) == told


def test_the_dev_node_says_what_stands_for_an_image(tmp_path: Path):
    """`orch dev-node` knows our images, an option goes before it, and its log tells both."""
    command = [sys.executable, "-m", "orchestrator", "dev-node", "--listen", "127.0.0.1:0"]
    command += ["--data-dir", str(tmp_path), "--image", "orch/kafka-range:1=true"]
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        until(
            lambda: process.poll() is not None or "kafka-follow" in log.read_text(),
            "it says so",
            within=60,
        )
    finally:
        process.terminate()
        process.wait(20)
    text = log.read_text()
    assert re.search(r"image orch/kafka-follow:1 is the command: .*python.* .*/task\.py", text)
    assert "image orch/kafka-range:1 is the command: true\n" in text
