"""The connector ``sqs``: messages of a queue, handled by short jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.queues import Inbox, QueueConnector, QueueSource
from connectors.sqs.settings import SqsSettings, parse_settings
from connectors.streams import SourceContext


class SqsConnector(QueueConnector):
    """Messages by their ids, in order within a group where the queue is FIFO."""

    kind: ClassVar[str] = "sqs"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "messages of an SQS queue, one by one or in batches"
    settings_model: ClassVar[type[pydantic.BaseModel]] = SqsSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        {"event.*", "batch.count", "sqs.queue", "sqs.region"}
    )

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The queue's name. Account, region and age of the queue are compared when it is found:
        the same queue may be written as a name, as an ARN and as a URL."""
        return {"queue": parse_settings(settings).address.name}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource:
        # Loaded on use, so that a daemon without such triggers stays small.
        from connectors.sqs.source import SqsSource

        return SqsSource(parse_settings(settings), context, inbox)
