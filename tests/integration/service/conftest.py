"""A dev node whose images are commands, and an orchestrator on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.cli.devnode import task_commands
from tests.support.inprocess import Orch
from tests.support.jobs import IMAGES


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DevNode]:
    """A dev node."""
    images = {**IMAGES, **task_commands()}
    config = DevNodeConfig(data_dir=tmp_path / "node", images=images, docker=False, capacity=8)
    with DevNode(config) as node:
        yield node


@pytest.fixture
def orch(tmp_path: Path, node: DevNode) -> Iterator[Orch]:
    """An orchestrator."""
    with Orch.start(tmp_path / "orch", node.url) as orch:
        yield orch
