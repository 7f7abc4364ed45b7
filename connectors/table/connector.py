"""The connector ``table``: rows of a database's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.queues import Inbox, QueueConnector, QueueSource
from connectors.streams import SourceContext
from connectors.table.settings import TableSettings, parse_settings


class TableConnector(QueueConnector):
    """An event for each row, by its key."""

    kind: ClassVar[str] = "table"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "rows of a table: claimed as work, or followed as it grows"
    settings_model: ClassVar[type[pydantic.BaseModel]] = TableSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths: ClassVar[frozenset[str]] = frozenset(
        {"event.*", "batch.count", "table.name", "table.database"}
    )

    def check(self, settings: Mapping[str, JSON]) -> None:
        parse_settings(settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Table and database, and what its rows are known by. Who asks it, and how, is not part of
        it."""
        parsed = parse_settings(settings)
        found: dict[str, JSON] = {"table": parsed.table, "database": parsed.address.place}
        if parsed.key != "id":
            found["key"] = parsed.key
        if parsed.mode != "claim":
            found["mode"] = parsed.mode
        return found

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource:
        # Loaded on use, so that a daemon without such triggers stays small.
        from connectors.table.follow import FollowSource
        from connectors.table.source import TableSource

        parsed = parse_settings(settings)
        kind = TableSource if parsed.mode == "claim" else FollowSource
        return kind(parsed, context, inbox)
