"""The connector ``sns``: notifications of topics, posted by SNS or fetched from a queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.push import PushConnector, Receiver
from connectors.queues import Inbox, QueueSource
from connectors.sns.settings import SnsSettings, parse_settings
from connectors.streams import SourceContext


class SnsConnector(PushConnector):
    """Each notification of a topic on the list is an event."""

    kind: ClassVar[str] = "sns"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "notifications of SNS topics, over HTTP or through a queue"
    settings_model: ClassVar[type[pydantic.BaseModel]] = SnsSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset({"event.*", "batch.count", "batch.uri"})

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The queue, where there is one: its account, region and age are compared when it is
        found. Otherwise nothing, because no checkpoint points into what a topic brings."""
        parsed = parse_settings(settings)
        return {} if parsed.via == "http" else {"queue": parsed.address.name}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource | None:
        parsed = parse_settings(settings)
        if parsed.via == "http":
            return None
        # Loaded on use, so that a daemon without such triggers stays small.
        from connectors.sns.source import SnsSource

        return SnsSource(parsed, context, inbox)

    def receiver(self, settings: Mapping[str, JSON], context: SourceContext) -> Receiver | None:
        parsed = parse_settings(settings)
        if parsed.via == "sqs":
            return None
        from connectors.sns.receiver import SnsReceiver

        return SnsReceiver(parsed, context)
