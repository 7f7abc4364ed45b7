"""The connector ``kafka``: partitions of a topic as ranges, lives of followers, or files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.kafka.settings import KafkaSettings, parse_settings
from connectors.kafka.start import MAX_OFFSET
from connectors.streams import SourceContext, StreamConnector, StreamSource
from connectors.validation import shown


class KafkaConnector(StreamConnector):
    """A topic, in mode ``range``, ``follow`` or ``buffer``."""

    kind: ClassVar[str] = "kafka"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "partitions of a Kafka topic: ranges, followers, or files of records"
    settings_model: ClassVar[type[pydantic.BaseModel]] = KafkaSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        {
            "kafka.topic",
            "kafka.partition",
            "kafka.start",
            "kafka.end",
            "kafka.brokers",
            "kafka.group",
            "kafka.isolation",
            "kafka.life",
            "kafka.idle_exit",
            "batch.count",
            "batch.bytes",
            "batch.uri",
            "batch.format",
            "batch.compression",
        }
    )

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The topic. Not the brokers: a cluster keeps its data when its addresses change, and
        another cluster's topic has another id."""
        return {"topic": parse_settings(settings).topic}

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def position(self, settings: Mapping[str, JSON], text: str) -> str:
        written = text.strip()
        if (
            not (written.isascii() and written.isdecimal())
            or len(written) > 19
            or int(written) > MAX_OFFSET
        ):
            raise ValueError(f"{shown(text)} is not an offset: write a whole number from 0 on")
        return str(int(written))

    def open(self, settings: Mapping[str, JSON], context: SourceContext) -> StreamSource:
        read = parse_settings(settings)
        # Each mode loads only what it needs: a daemon that follows has no use for storages.
        if read.mode == "follow":
            from connectors.kafka.follow import FollowSource

            return FollowSource(read, context)
        if read.mode == "buffer":
            from connectors.kafka.buffer import BufferSource

            return BufferSource(read, context)
        if read.filter is not None:
            from connectors.kafka.filtered import FilteredSource

            return FilteredSource(read, context, read.filter)
        from connectors.kafka.range import RangeSource

        return RangeSource(read, context)
