"""Streams of moto's server, over HTTP."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.kinesis import KinesisConnector
from connectors.streams import SourceContext, StreamSource

Open = Callable[..., StreamSource]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """moto's server."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the test, whatever the machine has."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def kinesis(endpoint: str) -> Iterator[Any]:
    """A client of one's own, to write with."""
    import boto3

    client = boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="eu-central-1",
        aws_access_key_id="key",
        aws_secret_access_key="hunter2",
    )
    yield client
    client.close()


@pytest.fixture
def stream(kinesis: Any) -> str:
    """A stream of the test's own, with one shard."""
    name = f"clicks-{next(_numbers)}"
    kinesis.create_stream(StreamName=name, ShardCount=1)
    return name


@pytest.fixture
def opened(endpoint: str, stream: str, tmp_path: Path) -> Iterator[Open]:
    """Opens sources of that stream, as an orchestrator does."""
    sources: list[StreamSource] = []

    def open_(**settings: JSON) -> StreamSource:
        context = SourceContext(
            instance="i",
            trigger="clicks",
            trigger_uid="u-1",
            secrets={},
            data_dir=tmp_path / "data",
            stop=threading.Event(),
        )
        base: dict[str, JSON] = {
            "stream": stream,
            "endpoint": endpoint,
            "region": "eu-central-1",
            "poll": "200ms",
        }
        sources.append(KinesisConnector().open({**base, **settings}, context))
        return sources[-1]

    yield open_
    for source in sources:
        source.close()
