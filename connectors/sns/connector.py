"""The connector ``sns``: notifications of topics that SNS brings over HTTP."""

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
    """Each notification that a topic on the list has signed is an event."""

    kind: ClassVar[str] = "sns"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "notifications of SNS topics, signed by AWS"
    settings_model: ClassVar[type[pydantic.BaseModel]] = SnsSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset({"event.*"})

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Nothing: no checkpoint points into what a topic brings."""
        parse_settings(settings)
        return {}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource | None:
        return None

    def receiver(self, settings: Mapping[str, JSON], context: SourceContext) -> Receiver | None:
        # Loaded on use, so that a daemon without such triggers stays small.
        from connectors.sns.receiver import SnsReceiver

        return SnsReceiver(parse_settings(settings), context)
