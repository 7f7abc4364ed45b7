"""Sources of a publisher's table, opened without an orchestrator, by a clock of the test."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

from connectors.abc import JSON
from connectors.queues import Delivery, Inbox, Message
from connectors.streams import SourceContext
from connectors.table.follow import FollowSource
from connectors.table.settings import parse_settings
from connectors.table.source import TableSource
from tests.support.jobtable import SECRETS, JobTable

NOW = 1_900_000_000_000_000


class Clock:
    """Microseconds since 1970, moved by the test."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class Desk:
    """Opens sources of one trigger, and is their inbox."""

    def __init__(self, table: JobTable, place: Path) -> None:
        self.table = table
        self.clock = Clock()
        self.known: set[str] = set()
        self._place = place
        self._opened: list[TableSource | FollowSource] = []

    def claims(self, uid: str = "u1", **more: JSON) -> TableSource:
        """A source that claims."""
        settings = parse_settings(self.table.settings(**more))
        source = TableSource(settings, self._context(uid), self._inbox(None), self.clock)
        self._opened.append(source)
        return source

    def follows(self, cursor: str | None = None, **more: JSON) -> FollowSource:
        """A source that follows."""
        settings = parse_settings(self.table.settings(mode="follow", **more))
        source = FollowSource(settings, self._context("u1"), self._inbox(cursor), self.clock)
        self._opened.append(source)
        return source

    def close(self) -> None:
        """All that was opened."""
        for source in self._opened:
            source.close()

    def _context(self, uid: str) -> SourceContext:
        return SourceContext(
            instance="i1",
            trigger="jobs",
            trigger_uid=uid,
            secrets=SECRETS,
            data_dir=self._place,
            stop=threading.Event(),
        )

    def _inbox(self, cursor: str | None) -> Inbox:
        def known(ids: Collection[str]) -> set[str]:
            return self.known & set(ids)

        return Inbox(cursor=cursor, known=known)


def told(message: Message, **more: object) -> Delivery:
    """What a source is told of a message: `more` are fields of the delivery."""
    return Delivery(id=message.id, receipt=message.receipt, **more)  # pyright: ignore[reportArgumentType]


def ids(messages: Collection[Message]) -> list[str]:
    """Their ids, in their order."""
    return [message.id for message in messages]
