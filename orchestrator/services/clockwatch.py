"""Clock watch: notices when the machine's clock is set, and wakes everyone who waits for a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import structlog

from orchestrator.domain.clock import SECOND, Clock
from orchestrator.domain.signals import Signals, Topic
from orchestrator.services.loop import Service
from orchestrator.store.flights import Flights

_log = structlog.get_logger(__name__)
TICK = SECOND  # how late a step is noticed at most; a tick compares two clocks and asks nobody
_STEP = SECOND // 2


class Steps:
    """By how much the clock was set that nobody has made up for yet. Shared between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._measure()

    def _measure(self) -> int:
        return self._clock.now() - int(self._clock.monotonic() * SECOND)

    def pending(self) -> int:
        """The step since the last `settle`, µs; 0 for less than half a second."""
        step = self._measure() - self._offset
        return step if abs(step) >= _STEP else 0

    def settle(self, step: int) -> None:
        """A step is made up for. With 0, what the clock has drifted by is no step any more."""
        self._offset = self._offset + step if step else self._measure()


class ClockWatch(Service):
    """Waits are measured on a clock that never steps; due times stand on the one that does."""

    name: ClassVar[str] = "clockwatch"
    topics: ClassVar[Sequence[Topic]] = ()

    def __init__(self, clock: Clock, signals: Signals, flights: Flights, steps: Steps) -> None:
        super().__init__(clock, signals)
        self._flights = flights
        self._steps = steps

    def run_once(self) -> int | None:
        """Compare the clocks once."""
        step, now = self._steps.pending(), self._clock.now()
        if step:
            _log.warning("the clock was set", step_seconds=round(step / SECOND, 3))
            # What waits for a retry or a deadline was to wait for a while: neither an hour nor not
            # at all.
            self._flights.shift_waits(step, now, noticed=2 * TICK)
            self._steps.settle(step)
            self._signals.raise_all()
        else:
            self._steps.settle(0)
        return now + TICK
