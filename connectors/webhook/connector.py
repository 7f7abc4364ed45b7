"""The connector ``webhook``: events that others bring by HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.push import PushConnector, Receiver
from connectors.queues import Inbox, QueueSource
from connectors.streams import SourceContext
from connectors.webhook.settings import WebhookSettings, parse_settings


class WebhookConnector(PushConnector):
    """Each request that is signed as the settings say is an event."""

    kind: ClassVar[str] = "webhook"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "events that others bring by HTTP, signed"
    settings_model: ClassVar[type[pydantic.BaseModel]] = WebhookSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset({"event.*"})

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Nothing: no checkpoint points into what others bring."""
        parse_settings(settings)
        return {}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource | None:
        return None

    def receiver(self, settings: Mapping[str, JSON], context: SourceContext) -> Receiver | None:
        # Loaded on use, so that a daemon without such triggers stays small.
        from connectors.webhook.receiver import WebhookReceiver

        return WebhookReceiver(parse_settings(settings), context)
