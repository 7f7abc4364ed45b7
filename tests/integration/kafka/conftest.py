"""A dev node that runs the sample tasks, and orchestrators on one data directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.cli.devnode import task_commands
from tests.support.inprocess import Orch
from tests.support.jobs import IMAGES


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
