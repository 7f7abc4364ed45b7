"""The default job on the dev node: what `orch register sqs --queue …` runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import specs
from bacalhau_client.devnode import DevNode, DevNodeConfig
from connectors.payloads import Payloads
from connectors.sqs import SqsConnector
from connectors.sqs.messages import Reading
from tests.support.sqs import received
from tests.support.waiting import until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevNode]:
    """A dev node as the demo makes it."""
    node = DevNode(DevNodeConfig(data_dir=tmp_path / "node", docker=False))
    node.start()
    yield node
    node.stop()


def test_messages_are_counted(node: DevNode):
    """A batch of messages, a line of JSON each, whatever stands in them."""
    reading = Reading(parsed=False, ordered=False, wanted=None)
    messages = [reading.message(received(body)) for body in ("one", "two\nlines", '{"n": 3}', "")]
    lines = "".join(json.dumps(message.body) + "\n" for message in messages if message)
    known = specs.BASE_PATHS.extended(outside=tuple(SqsConnector.value_paths))
    read = specs.parse_trigger(
        specs.from_data({"apiVersion": "orch/v1", "kind": "sqs", "name": "orders"}),
        settings={"sqs": ()}.get,
        default_job=specs.default_job,
    )
    rendered = specs.compile_template(
        specs.prepare(read, base_dir=None, known=known), known=known
    ).render(
        {"sqs": {"queue": "orders"}},
        name="orders",
        labels={},
        env={},
        timeouts=(60_000_000, 90_000_000),
        inputs=tuple(Payloads().pack("b", lines.encode())),
    )
    jobs = f"{node.url}/api/v1/orchestrator/jobs"
    answer = requests.put(jobs, json=json.loads(rendered.body), timeout=20)
    assert answer.status_code == 200, answer.text
    place = f"{jobs}/{answer.json()['JobID']}?include=executions"

    def ended() -> Any:
        found = requests.get(place, timeout=20).json()
        return found if found["Job"]["State"]["StateType"] in ("Completed", "Failed") else None

    output = until(ended, "the job has ended", within=60)["Executions"]["Items"][-1]["RunOutput"]
    assert output["ExitCode"] == -1, output
    assert json.loads(output["Stdout"])["count"] == 4
