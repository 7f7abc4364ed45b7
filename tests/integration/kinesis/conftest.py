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
from tests.support.moto import client as client_of

Open = Callable[..., StreamSource]
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _credentials(aws_credentials: None) -> None:
    """Every test here asks with those of the test."""


@pytest.fixture
def kinesis(endpoint: str) -> Iterator[Any]:
    """A client of one's own, to write with."""
    client = client_of("kinesis", endpoint, "eu-central-1")
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
