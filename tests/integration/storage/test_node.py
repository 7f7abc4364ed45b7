"""A node finds the object as the file that `source` promised, for commands and for modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from connectors.storage.batchfile import BatchFile, Compression, file_name
from connectors.storage.objects import ObjectStore, inline_source, part
from tests.unit.devnode.conftest import (
    IMAGE,
    Api,
    executions,
    output,
    shell_task,
    test_module,
    wasm_task,
)

NAME = f"u/{part('a topic, not plain')}/7/100-200"


@pytest.fixture
def api(tmp_path: Path, directory: Path) -> Iterator[Api]:
    """A dev node that may read the store's directory, and moto's S3."""
    credentials = {"AWS_ACCESS_KEY_ID": "node", "AWS_SECRET_ACCESS_KEY": "node"}
    config = DevNodeConfig(
        data_dir=tmp_path / "node",
        images={IMAGE: "-"},
        docker=False,
        local_allow=(str(directory),),
        s3_credentials=credentials,
        head_retry_wait=0.01,
    )
    node = DevNode(config).start()
    api = Api(node.url)
    yield api
    api.session.close()
    node.stop()


@pytest.fixture(params=["directory", "s3", "inline"])
def give(request: pytest.FixtureRequest) -> Callable[[BatchFile, str], Any]:
    """Makes an input source of a batch, by each way in turn."""
    if request.param == "inline":
        return lambda file, name: inline_source(file.finish().content(), f"/orch/{name}")
    store: ObjectStore = request.getfixturevalue(f"{request.param}_store")

    def put(file: BatchFile, name: str) -> Any:
        stored = store.put(f"{NAME}/{name}", file.finish().body)
        return store.source(stored, f"/orch/{name}")

    return put


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_command_reads_the_file(
    api: Api, give: Callable[[BatchFile, str], Any], compression: Compression
) -> None:
    """At exactly its target, with exactly its bytes, compressed or not."""
    file = BatchFile(compression=compression)
    file.add_values([b"1", b"2"])
    name = file_name(compression)
    read = "zcat" if compression == "gzip" else "cat"
    job = api.run(name, shell_task(f"{read} /orch/{name}", InputSources=[give(file, name)]))
    assert output(job)["Stdout"] == "1\n2\n", executions(job)


def test_a_module_reads_the_file(api: Api, give: Callable[[BatchFile, str], Any]) -> None:
    """WASM sees the same path: the module exits 1 without the file."""
    file = BatchFile()
    file.add_values([b"1", b"2", b"3"])
    source = give(file, "batch.ndjson")
    arguments = ("--count", "/orch/batch.ndjson")
    job = api.run("count", wasm_task(test_module("task"), *arguments, InputSources=[source]))
    assert executions(job) == [(9, "Running", -1)]
