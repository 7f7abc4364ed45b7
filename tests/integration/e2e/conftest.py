"""A dev node, a faulty line to it, and somebody who asks it directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.inprocess import Orch, Witness
from tests.support.jobs import IMAGES
from tests.support.logsource import Log, LogConnector, log_registry
from tests.support.proxy import Proxy


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevNode]:
    """A dev node whose images are local commands."""
    node = DevNode(
        DevNodeConfig(data_dir=tmp_path / "node", images=IMAGES, docker=False, capacity=8)
    )
    with node:
        yield node


@pytest.fixture
def proxy(node: DevNode) -> Iterator[Proxy]:
    """The line to the node, good until a test says otherwise."""
    with Proxy(node.url) as proxy:
        yield proxy


@pytest.fixture
def witness(node: DevNode) -> Iterator[Witness]:
    """Sees what the node really has."""
    with Witness(node.url) as witness:
        yield witness


@pytest.fixture
def orch(tmp_path: Path, proxy: Proxy) -> Iterator[Orch]:
    """An orchestrator that reaches the node through the proxy."""
    with Orch.start(tmp_path / "orch", proxy.url) as orch:
        yield orch


@pytest.fixture
def logs() -> LogConnector:
    """The connector, with one log of one partition."""
    connector = LogConnector()
    connector.logs["main"] = Log(starts={"p0": 0}, ends={"p0": 0})
    return connector


@pytest.fixture
def start(tmp_path: Path, node: DevNode, logs: LogConnector) -> Iterator[Callable[..., Orch]]:
    """Start an orchestrator on the one data directory; the test may stop it and start another."""
    started: list[Orch] = []

    def begin(**settings: Any) -> Orch:
        orch = Orch.start(tmp_path / "orch", node.url, registry=log_registry(logs), **settings)
        started.append(orch)
        return orch

    yield begin
    for orch in started:
        orch.app.stop()
