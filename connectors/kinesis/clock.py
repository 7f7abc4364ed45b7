"""The time that a source waits by: one that never steps."""

from __future__ import annotations

import threading
import time


class Clock:
    """Seconds; tests have one that stands still."""

    def now(self) -> float:
        """A number that only grows."""
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Wait so long, or until it is to stop."""
        stop.wait(seconds)
