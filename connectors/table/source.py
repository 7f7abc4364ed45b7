"""The rows of a table that are work, while a trigger claims them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence

from connectors.queues import Delivery, Inbox, Polled
from connectors.streams import SourceContext, SourceError, SourceRefused
from connectors.table.claims import Claims, Row
from connectors.table.opened import OpenTable, now_us
from connectors.table.outcomes import Outcomes
from connectors.table.settings import TableSettings
from connectors.times import SECOND

_log = logging.getLogger(__name__)

_EXTEND = 10 * SECOND
"""How often rows in runs are looked at: so late may a table say that a task has started."""
_TAKE_OVER = 300.0  # seconds between two looks for what earlier lives have claimed
_COUNT = 30.0  # seconds between two counts of what waits


class TableSource(OpenTable):
    """Claims rows, and writes back what becomes of them."""

    def __init__(
        self,
        settings: TableSettings,
        context: SourceContext,
        inbox: Inbox,
        clock: Callable[[], int] = now_us,
    ) -> None:
        super().__init__(settings, context, inbox, clock)
        self._claims = Claims(self.access, context.instance, context.trigger_uid)
        self._outcomes = Outcomes(self.access)
        self._take_over_at = 0.0  # monotonic
        self._claim_at = 0  # by the clock; 0: no rate holds rows back
        self._count_at = 0.0  # monotonic
        self._waiting: int | None = None
        self._claimed_some = False
        self._took_over = False

    def look(self, room: int) -> Polled:
        try:
            rows = self._taken_over(room) or self._claimed(room)
        except SourceRefused:
            raise
        except Exception:
            # It may have been done, and nobody has heard of it.
            self._claims.begin()
            self._take_over_at = 0.0
            raise
        self._claimed_some |= bool(rows)
        return Polled(messages=[self.message(row, receipt=self._claims.claim) for row in rows])

    def pause(self) -> float:
        if not self._claim_at:
            return self.settings.every / SECOND
        return max(0.001, (self._claim_at - self.clock()) / SECOND)

    @property
    def extend_every(self) -> int:
        return _EXTEND

    def forget_before(self, cursor: str | None) -> int | None:
        # What an earlier life has claimed may have had its run long ago.
        return None if self._took_over else 0

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._outcomes.ended(deliveries, self.clock())

    def give_back(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return self._outcomes.given_back(deliveries, self.clock())

    def extend(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        self._outcomes.underway(deliveries)
        return ()

    def lag(self) -> int | None:
        return self._waiting

    def close(self) -> None:
        if self._claimed_some and not self.database.closed:
            try:
                self._claims.release(self.inbox.known)
            except SourceError as error:  # the next life takes them over
                _log.warning("rows stay claimed: %s", error)
        super().close()

    def _taken_over(self, room: int) -> Sequence[Row]:
        """What an earlier life has claimed: it goes first."""
        ticks = time.monotonic()
        if ticks < self._take_over_at:
            return ()
        rows = self._claims.take_over(room, self.clock())
        if not rows:
            self._take_over_at = ticks + _TAKE_OVER
            self._took_over = True
        return rows

    def _claimed(self, room: int) -> Sequence[Row]:
        now, ticks = self.clock(), time.monotonic()
        if now < self._claim_at:
            return ()
        if ticks >= self._count_at:
            self._waiting = self._claims.waiting()
            self._count_at = ticks + _COUNT
        claimed = self._claims.take(room, now)
        self._claim_at = claimed.due or 0
        return claimed.rows
