"""The connector ``mqtt``: messages of a broker, handled by short jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.broker.library import need
from connectors.mqtt.settings import MqttSettings, parse_settings
from connectors.queues import Inbox, QueueConnector, QueueSource
from connectors.streams import SourceContext


class MqttConnector(QueueConnector):
    """Messages by the ids that they carry, or by what the session says of them."""

    kind: ClassVar[str] = "mqtt"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "messages on topics of an MQTT broker, one by one or in batches"
    settings_model: ClassVar[type[pydantic.BaseModel]] = MqttSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        {
            "event.*",
            "batch.count",
            "mqtt.broker",
            "mqtt.filter",
            "mqtt.topic",
            "mqtt.levels.*",
            "mqtt.qos",
            "mqtt.retained",
            "mqtt.properties.*",
        }
    )

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Broker, filter and client id: the session at the broker is theirs."""
        parsed = parse_settings(settings)
        named = {} if parsed.client_id is None else {"client_id": parsed.client_id}
        return {"broker": str(parsed.address), "topic": parsed.topic, **named}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource:
        need("kind mqtt")
        # Loaded on use, so that a daemon without such triggers stays small.
        from connectors.mqtt.source import MqttSource

        return MqttSource(parse_settings(settings), context, inbox)
