"""The connector ``kinesis``: shards of a stream, consumed in order by short jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.kinesis import positions
from connectors.kinesis.settings import KinesisSettings, parse_settings
from connectors.streams import END, SourceContext, StreamConnector, StreamSource


class KinesisConnector(StreamConnector):
    """Shards as partitions, sequence numbers as positions (:mod:`connectors.kinesis.positions`)."""

    kind: ClassVar[str] = "kinesis"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "records of a Kinesis stream, by ranges or in files"
    settings_model: ClassVar[type[pydantic.BaseModel]] = KinesisSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        {
            *(f"kinesis.{name}" for name in ("stream", "arn", "region", "endpoint", "shard")),
            *(f"kinesis.{name}" for name in ("start", "end", "arrived")),
            *(f"batch.{name}" for name in ("count", "bytes", "uri", "format", "compression")),
        }
    )

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def position(self, settings: Mapping[str, JSON], text: str) -> str:
        written = text.strip()
        if written == END:
            return END
        return str(
            positions.parse(written.upper() if written.lower() == "trim_horizon" else written)
        )

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """The stream's name. Account, region and age of the stream are compared when it is found:
        the same stream may be written as a name and as an ARN."""
        return {"stream": parse_settings(settings).name}

    def open(self, settings: Mapping[str, JSON], context: SourceContext) -> StreamSource:
        # Loaded on use, so that a daemon without such triggers stays small.
        from connectors.kinesis.buffer import BufferSource
        from connectors.kinesis.range import RangeSource
        from connectors.kinesis.service import Service

        parsed = parse_settings(settings)
        kind = RangeSource if parsed.mode == "range" else BufferSource
        return kind(parsed, context, Service(parsed))
