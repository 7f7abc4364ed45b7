"""A daemon to kill, and a node that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.daemon import Daemon
from tests.support.inprocess import Witness
from tests.support.jobs import IMAGES
from tests.support.proxy import Proxy


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevNode]:
    """A dev node in this process: it outlives every daemon."""
    config = DevNodeConfig(data_dir=tmp_path / "node", images=IMAGES, docker=False, capacity=8)
    with DevNode(config) as node:
        yield node


@pytest.fixture
def witness(node: DevNode) -> Iterator[Witness]:
    """Sees what the node really has."""
    with Witness(node.url) as witness:
        yield witness


@pytest.fixture
def proxy(node: DevNode) -> Iterator[Proxy]:
    """The line between daemon and node."""
    with Proxy(node.url) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def pycache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the daemons keep their compiled modules."""
    return tmp_path_factory.mktemp("pycache")


@pytest.fixture
def daemon(tmp_path: Path, proxy: Proxy, pycache: Path) -> Iterator[Daemon]:
    """Not started."""
    daemon = Daemon(tmp_path / "orch", proxy.url, pycache=pycache)
    yield daemon
    daemon.close()
