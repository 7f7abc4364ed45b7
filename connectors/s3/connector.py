"""The connector ``s3``: objects that appear in a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.queues import Inbox, QueueConnector, QueueSource
from connectors.s3.settings import S3Settings, parse_settings
from connectors.streams import SourceContext


class S3Connector(QueueConnector):
    """An event for each content of each key."""

    kind: ClassVar[str] = "s3"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "new objects in a bucket, by listing or by notifications"
    settings_model: ClassVar[type[pydantic.BaseModel]] = S3Settings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        f"object.{name}"
        for name in (
            *("bucket", "region", "endpoint"),
            *("key", "version", "size", "etag", "modified", "path"),
        )
    )

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Bucket and prefix: a listing that has come to some time and key says nothing about other
        prefixes."""
        parsed = parse_settings(settings)
        return {"bucket": parsed.bucket, "prefix": parsed.prefix}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource:
        # Loaded on use, so that a daemon without such triggers stays small.
        from connectors.s3.source import S3Source

        return S3Source(parse_settings(settings), context, inbox)
