"""An orchestrator with its API, and a dev node that really runs the tasks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.api import Api, serving
from tests.support.jobdesk import IMAGES, Desk


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevNode]:
    config = DevNodeConfig(
        data_dir=tmp_path_factory.mktemp("node"), images=IMAGES, docker=False, capacity=8
    )
    with DevNode(config) as started:
        yield started


@pytest.fixture(scope="module")
def api(node: DevNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("api"), node.url, allow_private_callbacks=True) as served:
        yield served


@pytest.fixture
def desk(api: Api) -> Desk:
    return Desk(api)
