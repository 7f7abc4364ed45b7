"""Copies that always run: the service connector passes what the kit asks of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from connectors.abc import JSON
from connectors.service import ServiceKind
from connectors.testing import Bad, ConnectorConformance
from connectors.testing.harness import Harness

_SCALE = {"max": 5, "of": "orders", "target": 100}


class ServiceHarness(Harness[ServiceKind]):
    connector = ServiceKind()

    def settings(self) -> Mapping[str, JSON]:
        return {
            "life": "1h",
            "heartbeat": "5s",
            "lease": "20s",
            "update": "stop_first",
            "backoff": {"initial": "2s", "max": "1m", "healthy_after": "30s"},
            "scale": _SCALE,
            "image": "registry.example.com/worker:3",
        }

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"life": "19s"}, "life"),
            ({"heartbeat": "never"}, "heartbeat"),
            ({"lease": "9s"}, "lease"),
            ({"update": "rolling"}, "update"),
            ({"backoff": {"initial": "1h"}}, "backoff.initial"),
            ({"scale": {**_SCALE, "min": 6}}, "scale.min"),
            ({"copies": 2}, "copies"),
            ({"image": "two words"}, "image"),
        ]


class TestService(ConnectorConformance):
    """Kind service."""

    @pytest.fixture
    def harness(self) -> ServiceHarness:
        return ServiceHarness()
