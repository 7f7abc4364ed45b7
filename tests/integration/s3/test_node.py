"""A node finds a run's objects where its values and its list say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from connectors.payloads import Payloads
from tests.integration.s3.conftest import Box
from tests.unit.devnode.conftest import IMAGE, Api, executions, output, shell_task, wasm_task

Open = Callable[..., Box]
_TASKS = Path(__file__).parents[3] / "specs" / "tasks"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """A dev node that may read moto's S3."""
    node = DevNode(
        DevNodeConfig(
            data_dir=tmp_path / "node",
            images={IMAGE: "-"},
            docker=False,
            s3_credentials={"AWS_ACCESS_KEY_ID": "node", "AWS_SECRET_ACCESS_KEY": "node"},
            head_retry_wait=0.01,
        )
    ).start()
    api = Api(node.url)
    yield api
    api.session.close()
    node.stop()


def test_objects_of_one_name_stay_apart(s3: Any, bucket: str, opened: Open, api: Api):
    """Three objects of one base name: each in the directory of its line's number."""
    keys = ["a/part.csv", "b/c/part.csv", "part.csv"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    box = opened(input="source", batch_size=10)
    box.until(3)
    described = box.source.describe(list(box.ids.values()))
    read = "for n in 0 1 2; do cat /orch/objects/$n/part.csv; echo; done"
    job = api.run("read", shell_task(read, InputSources=list(described.inputs)))
    assert output(job)["Stdout"].split() == keys, executions(job)


def test_one_object_lies_at_its_path(s3: Any, bucket: str, opened: Open, api: Api):
    """`object.path` names the file, whatever stands in the key before its last part."""
    s3.put_object(Bucket=bucket, Key="in/ä b/x y.txt", Body=b"here")
    box = opened(input="source")
    box.until(1)
    described = box.source.describe(list(box.ids.values()))
    about: Any = described.values["object"]
    job = api.run("read", shell_task(f"cat '{about['path']}'", InputSources=[*described.inputs]))
    assert output(job)["Stdout"] == "here", executions(job)


def test_the_default_job_counts_objects(s3: Any, bucket: str, opened: Open, api: Api):
    """A line each in the list, which the module of the library counts."""
    for n in range(5):
        s3.put_object(Bucket=bucket, Key=f"{n}.log", Body=b"x")
    box = opened(batch_size=10)
    box.until(5)
    lines = [json.dumps(message.body).encode() + b"\n" for message in box.ids.values()]
    inputs = Payloads().pack("batch", b"".join(lines))
    module = (_TASKS / "records.wasm").read_bytes()
    job = api.run("count", wasm_task(module, "/orch/batch.ndjson", InputSources=[*inputs]))
    assert json.loads(output(job)["Stdout"])["count"] == 5, executions(job)
