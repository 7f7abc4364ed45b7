"""A dev node, a faulty line to it, and somebody who asks it directly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.inprocess import Orch, Witness
from tests.support.jobs import IMAGES
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
