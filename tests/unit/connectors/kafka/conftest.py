"""Sources of mode range and follow on a cluster in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka import KafkaConnector
from connectors.kafka import topic as topic_module
from connectors.streams import StreamSource
from tests.support.scriptedkafka import ScriptedCluster, stream_context

Open = Callable[..., StreamSource]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> ScriptedCluster:
    """The cluster that every source of the test speaks to."""
    cluster = ScriptedCluster()
    monkeypatch.setattr(topic_module, "shared", lambda connection, flavour: cluster)
    return cluster


@pytest.fixture
def open_source(cluster: ScriptedCluster, tmp_path: Path) -> Open:
    """Opens a source on the topic ``t``, discovered once if it is there."""

    def opened(**settings: Any) -> StreamSource:
        context = stream_context(tmp_path)
        source = KafkaConnector().open({"topic": "t", **settings}, context)
        if "t" in cluster.topics:
            source.discover({})
        return source

    return opened


class Clock:
    """Monotonic time that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that sources read."""
    clock = Clock()
    for module in ("topic", "range"):
        monkeypatch.setattr(f"connectors.kafka.{module}.time", clock)
    return clock
