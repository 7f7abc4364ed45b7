"""A dev node that runs the sample tasks, and orchestrators on one data directory."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from connectors.kafka.buffer import BufferSource
from connectors.kafka.connection import Connection, Flavour
from connectors.kafka.reader import Isolation, Reader, open_reader
from connectors.kafka.settings import parse_settings
from connectors.streams import SourceContext
from orchestrator.cli.devnode import task_commands
from tests.support.bufferfiles import Make, Runner
from tests.support.inprocess import Orch
from tests.support.jobs import IMAGES
from tests.support.kafka import Kafka
from tests.support.kafkareads import Opened


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevNode]:
    """Shell scripts, the sample tasks, and whatever lies below the test's directory."""
    config = DevNodeConfig(
        data_dir=tmp_path / "node",
        images={**IMAGES, **task_commands()},
        local_allow=(str(tmp_path),),
        docker=False,
        capacity=8,
    )
    with DevNode(config) as node:
        yield node


@pytest.fixture
def start(tmp_path: Path, node: DevNode) -> Iterator[Callable[..., Orch]]:
    """Start an orchestrator; the test may stop it and start another."""
    started: list[Orch] = []

    def begin(data_dir: Path = tmp_path / "orch", **settings: Any) -> Orch:
        orch = Orch.start(data_dir, node.url, **settings)
        started.append(orch)
        return orch

    yield begin
    for orch in started:
        orch.app.stop()


@pytest.fixture(params=["kafka-python", "confluent"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    return request.param


@pytest.fixture
def make(kafka: Kafka, flavour: Flavour, tmp_path: Path) -> Iterator[Make]:
    """Opens sources with a storage in `tmp_path / "files"`, unless told otherwise."""
    sources: list[BufferSource] = []

    def open_one(topic: str, *, room: int = 4, uid: str = "u1", **settings: Any) -> Runner:
        read = parse_settings(
            {
                "topic": topic,
                "brokers": kafka.bootstrap,
                "mode": "buffer",
                "client": flavour,
                "max_age": "200ms",
                "storage": str(tmp_path / "files"),
                **settings,
            }
        )
        context = SourceContext(
            instance="i",
            trigger="t",
            trigger_uid=uid,
            secrets={},
            data_dir=tmp_path / "own",
            stop=threading.Event(),
        )
        sources.append(BufferSource(read, context))
        return Runner(sources[-1], room=room)

    yield open_one
    for source in sources:
        source.close()
    gc.collect()


@pytest.fixture
def opened(flavour: Flavour) -> Iterator[Opened]:
    """Opens readers, and closes them."""
    readers: list[Reader] = []

    def open_one(kafka: Kafka, isolation: Isolation = "read_committed") -> Reader:
        connection = Connection(brokers=tuple(kafka.bootstrap.split(",")))
        readers.append(open_reader(connection, flavour, isolation=isolation))
        return readers[-1]

    yield open_one
    for reader in readers:
        reader.close()
