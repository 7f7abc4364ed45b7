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
from tests.support.moto import client as client_of

SECRETS = {"access_key_id": "key", "secret_access_key": "hunter2"}
_numbers = itertools.count(1)


@pytest.fixture
def s3_client(endpoint: str) -> Iterator[Any]:
    """A client of one's own, to look at what is there."""
    client = client_of("s3", endpoint, "us-east-1")
    yield client
    client.close()


@pytest.fixture
def bucket(s3_client: Any) -> str:
    """A bucket of the test's own."""
    name = f"bucket-{next(_numbers)}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_store(endpoint: str, bucket: str) -> Iterator[ObjectStore]:
    """A store below a prefix of that bucket."""
    address = parse(f"s3://{bucket}/some/prefix?region=us-east-1&endpoint={endpoint}")
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
