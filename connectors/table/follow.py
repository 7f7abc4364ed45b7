"""The rows of a table that only grows, and is only read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from connectors.queues import Inbox, Polled
from connectors.streams import SourceChanged, SourceContext, SourceRefused
from connectors.table.claims import Row
from connectors.table.cursor import MARKS, Cursor, parse
from connectors.table.looks import PAGE, Looks
from connectors.table.opened import OpenTable, now_us
from connectors.table.settings import TableSettings
from connectors.times import SECOND


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """A pass under way, over the keys behind `place` up to `end`."""

    began: int
    place: str | None
    end: str


class FollowSource(OpenTable):
    """Hands over rows in the order of their keys; late ones when they are there.

    Every tenth of `look_back` all rows since the cursor's floor are looked for once more, a page at
    a time, and those that the inbox does not know are handed over.
    """

    def __init__(
        self,
        settings: TableSettings,
        context: SourceContext,
        inbox: Inbox,
        clock: Callable[[], int] = now_us,
    ) -> None:
        super().__init__(settings, context, inbox, clock)
        self._looks = Looks(self.access)
        self._cursor: Cursor | None = None
        self._told: str | None = inbox.cursor
        self._pass_at = 0  # by the clock
        self._pass: _Pass | None = None
        self._more = False

    def look(self, room: int) -> Polled:
        cursor, now = self._began(), self.clock()
        before = cursor.top  # rows beyond it are not known yet, because they are handed over now
        rows = self._looks.behind(cursor.top, room)
        if rows:
            top = rows[-1][0]
            cursor = cursor.seen(top, now, self.settings.look_back)
            self._more = True
            rows = self._unknown(rows)
        else:
            self._more = False
            cursor = cursor.seen(cursor.top, now, self.settings.look_back)
        if len(rows) < room:
            late, cursor = self._late(cursor, before, room - len(rows), now)
            rows = [*rows, *late]
        self._cursor = cursor
        told = str(cursor)
        changed, self._told = told != self._told, told
        expires = now + 2 * self.settings.look_back + self.settings.remember_for
        messages = [self.message(row, expires=expires) for row in rows]
        return Polled(messages=messages, cursor=told if changed else None)

    def pause(self) -> float:
        if self._more or self._pass is not None:
            return 0.001
        return self.settings.every / SECOND

    def _began(self) -> Cursor:
        if self._cursor is not None:
            return self._cursor
        if self.inbox.cursor is not None:
            try:
                return parse(self.inbox.cursor)
            except ValueError as error:
                raise SourceRefused(f"{error}: begin anew with --reset") from error
        newest = self._looks.newest() if self.settings.start == "latest" else None
        return Cursor(floor=newest, top=newest)

    def _unknown(self, rows: Sequence[Row]) -> Sequence[Row]:
        known = self.inbox.known([row[0] for row in rows])
        return [row for row in rows if row[0] not in known]

    def _late(
        self, cursor: Cursor, before: str | None, room: int, now: int
    ) -> tuple[Sequence[Row], Cursor]:
        """One page of the pass under way: rows that were not there before."""
        if self._pass is None:
            if now < self._pass_at or before is None or before == cursor.floor:
                return (), cursor
            self._pass = _Pass(began=now, place=cursor.floor, end=before)
        begun = self._pass
        keys = self._looks.keys(begun.place, begun.end)
        known = self.inbox.known(keys) if keys else set[str]()
        room = min(room, self.access.portion.most)
        unknown = [key for key in keys if key not in known]
        rows = self._looks.rows(unknown[:room])
        if len(unknown) > room or len(keys) >= PAGE:
            # What there is no room for is found from here on.
            place = unknown[room - 1] if len(unknown) > room else keys[-1]
            self._pass = replace(begun, place=place)
            return rows, cursor
        if not keys and begun.place == cursor.floor:
            self._check(cursor)
        self._pass = None
        self._pass_at = now + self.settings.look_back // MARKS
        return rows, cursor.passed(begun.began, self.settings.look_back)

    def _check(self, cursor: Cursor) -> None:
        """Raises SourceChanged where all that was read is gone, and rows are there all the same."""
        newest = self._looks.newest()
        floor = cursor.floor
        if floor is None or newest is None or self._looks.reaches(floor):
            return
        raise SourceChanged(
            f"{self.database.place}: its keys were beyond {floor}, and end at {newest} now: it was"
            " made anew, or emptied"
        )
