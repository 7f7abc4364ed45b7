"""How many messages a broker gives before it hears of them: nobody tells, so it is watched.

A broker holds messages back once a number of them is on its way and not acknowledged (Mosquitto:
20, unless it is told otherwise). A batch that waits for more than that waits for its window, again
and again. Where it was seen twice that a full stop at some number ended as soon as messages were
acknowledged, that number is taken for the broker's limit: a batch goes when it is reached.
"""

from __future__ import annotations

_FEW = 8  # a limit below this is not looked for: so many may come together by chance
_STILL = 0.05  # seconds without a message that are a stop
_AT_ONCE = 0.1  # seconds within which what was held back comes


class Pace:
    """Of one connection. Not thread-safe; ticks are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._ceiling: int | None = None
        self._stopped_at = 0
        self._told_at = 0.0
        self._seen: int | None = None
        self._came_at = 0.0

    @property
    def ceiling(self) -> int | None:
        """So many messages on their way are all that come; None: not known."""
        return self._ceiling

    def came(self, ticks: float, open_: int) -> None:
        """A message has come; `open_` are on their way now."""
        if self._stopped_at and ticks - self._told_at <= _AT_ONCE:
            self._ceiling = self._stopped_at if self._seen == self._stopped_at else None
            self._seen = self._stopped_at
        if self._told_at:
            self._stopped_at = 0
        if self._ceiling is not None and open_ > self._ceiling:
            self._ceiling = self._seen = None
        self._came_at = ticks

    def went(self, ticks: float, open_: int) -> None:
        """A batch was handed over because its time was up, or the limit reached."""
        still = ticks - self._came_at >= _STILL or open_ == self._ceiling
        self._stopped_at = open_ if open_ >= _FEW and still else 0
        self._told_at = 0.0

    def told(self, ticks: float) -> None:
        """The broker was told of messages."""
        if not self._told_at:
            self._told_at = ticks
