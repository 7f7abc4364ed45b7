"""The three kinds of stores, each with its server."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.storage.address import parse
from connectors.storage.objects import ObjectStore
from connectors.storage.stores import open_store
from tests.integration.storage.kubo import Kubo, serve

SECRETS = {"access_key_id": "key", "secret_access_key": "hunter2"}
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """moto's server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_client(s3_endpoint: str) -> Iterator[Any]:
    """A client of one's own, to look at what is there."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="hunter2",
    )
    yield client
    client.close()


@pytest.fixture
def bucket(s3_client: Any) -> str:
    """A bucket of the test's own."""
    name = f"bucket-{next(_numbers)}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_store(s3_endpoint: str, bucket: str) -> Iterator[ObjectStore]:
    """A store below a prefix of that bucket."""
    address = parse(f"s3://{bucket}/some/prefix?region=us-east-1&endpoint={s3_endpoint}")
    with open_store(address, SECRETS) as store:
        yield store


@pytest.fixture
def kubo() -> Kubo:
    """A Kubo node."""
    return Kubo()


@pytest.fixture
def ipfs_store(kubo: Kubo) -> Iterator[ObjectStore]:
    """A store in it."""
    with serve(kubo) as place, open_store(parse(f"ipfs://{place}/some/place")) as store:
        yield store


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the directory store is; not made yet."""
    return tmp_path / "shared" / "orch"


@pytest.fixture
def directory_store(directory: Path) -> Iterator[ObjectStore]:
    """A store in a directory."""
    with open_store(parse(str(directory))) as store:
        yield store


@pytest.fixture(params=["directory", "s3", "ipfs"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    """Each kind in turn."""
    return request.getfixturevalue(f"{request.param}_store")
