"""What both sources of a table have in common: connections, settings, waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from connectors.payloads import Payloads
from connectors.queues import Described, Gathering, Inbox, Message, Polled, QueueSource
from connectors.streams import SourceContext
from connectors.table.access import Access
from connectors.table.claims import Row
from connectors.table.database import TableDatabase
from connectors.table.listening import Listener
from connectors.table.settings import TableSettings

_SLICE = 0.2  # seconds after which a wait looks whether it is to end


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class OpenTable(QueueSource):
    """A table that is open. Derive, and say what is there and how long to wait."""

    def __init__(
        self,
        settings: TableSettings,
        context: SourceContext,
        inbox: Inbox,
        clock: Callable[[], int] = now_us,
    ) -> None:
        """`clock` gives microseconds since 1970."""
        self.settings = settings
        self.context = context
        self.inbox = inbox
        self.clock = clock
        self.database = TableDatabase(
            settings.address, settings.table_name, settings.password, context.secrets
        )
        self.access = Access(settings, self.database)
        self._listener: Listener | None = None
        if settings.notify is not None:
            self._listener = Listener(self.database, settings.notify)
        self._payloads = Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep)
        self._closed = threading.Event()

    def look(self, room: int) -> Polled:
        """What may be handed over now."""
        raise NotImplementedError

    def pause(self) -> float:
        """Seconds until there is a reason to look again, if nobody tells of rows."""
        raise NotImplementedError

    @property
    def interval(self) -> float:
        """0 where the database tells of rows: `poll` waits for that."""
        return 0 if self._listener is not None else self.pause()

    def poll(self, room: int, wait: float) -> Polled:
        if room < 1 or self.ends():
            self._closed.wait(0 if self.ends() else min(wait, _SLICE))
            return Polled()
        if self._listener is not None:
            self._listener.begin()
        polled = self.look(room)
        if polled.messages or polled.cursor is not None or wait <= 0:
            return polled
        self._wait(min(wait, self.pause()))
        return Polled() if self.ends() else self.look(room)

    @property
    def gathering(self) -> Gathering:
        return self.settings.gathering

    def describe(self, messages: Sequence[Message]) -> Described:
        about = {"name": self.settings.table, "database": self.settings.address.place}
        return Described(values={"table": about})

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def remember_for(self) -> int:
        return self.settings.remember_for

    def close(self) -> None:
        self._closed.set()
        if self._listener is not None:
            self._listener.close()
        self.database.close()
        self._payloads.close()

    def ends(self) -> bool:
        """Whether nobody wants more."""
        return self._closed.is_set() or self.context.stop.is_set()

    def message(self, row: Row, *, receipt: str = "", expires: int | None = None) -> Message:
        """A row as an event."""
        id_, at, body = row
        now = self.clock()
        at = now if at is None else max(0, min(at, now))
        return Message(id=id_, body=body, receipt=receipt, at=at, expires=expires)

    def _wait(self, seconds: float) -> None:
        if self._listener is not None:
            self._listener.wait(seconds, self.ends)
            return
        deadline = time.monotonic() + seconds
        while not self.ends() and (left := deadline - time.monotonic()) > 0:
            self._closed.wait(min(left, _SLICE))
