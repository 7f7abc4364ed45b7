"""The connector ``service``: copies of a job that should always run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.service.settings import ServiceSettings, parse_settings
from connectors.services import ServiceConnector, ServicePlan


class ServiceKind(ServiceConnector):
    """Copies that are started again whatever ends them."""

    kind: ClassVar[str] = "service"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "copies of a job that should always run"
    settings_model: ClassVar[type[pydantic.BaseModel]] = ServiceSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        {
            *(f"service.{name}" for name in ("copy", "image", "url", "checkpoint")),
            *(f"service.{name}" for name in ("life", "heartbeat", "lease")),
            "run.token",
        }
    )

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Nothing: a service is its trigger, whatever its settings become."""
        parse_settings(settings)
        return {}

    def plan(self, settings: Mapping[str, JSON]) -> ServicePlan:
        return parse_settings(settings).plan
