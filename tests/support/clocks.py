"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading

from orchestrator.domain.clock import SECOND, from_rfc3339

START = from_rfc3339("2026-03-01T12:00:00Z")


class FakeClock:
    """Both clocks of `orchestrator.domain.clock.Clock`; thread-safe."""

    def __init__(self, now: int = START) -> None:
        self._lock = threading.Lock()
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> int:
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        with self._lock:
            return self._monotonic

    def advance(self, microseconds: int) -> int:
        """Let time pass; returns the new instant."""
        with self._lock:
            self._now += microseconds
            self._monotonic += microseconds / SECOND
            return self._now

    def step(self, microseconds: int) -> int:
        """Set the wall clock alone, as a person or NTP does."""
        with self._lock:
            self._now += microseconds
            return self._now
