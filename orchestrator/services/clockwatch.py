"""Clock watch: notices when the machine's clock is set, and wakes everyone who waits for a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import structlog

from orchestrator.domain.clock import SECOND, Clock
from orchestrator.domain.signals import Signals, Topic
from orchestrator.services.loop import Service
from orchestrator.store.waits import Waits

_log = structlog.get_logger(__name__)
TICK = SECOND  # how late a step is noticed at most; a tick compares two clocks and asks nobody
_STEP = SECOND // 2
_READINGS = 5
_AT_ONCE = 0.001  # seconds between the readings of two clocks


class Steps:
    """By how much the clock was set that nobody has made up for yet. Shared between threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = self._measure()

    def _measure(self) -> int:
        """What the wall clock shows beyond the monotonic one, µs.

        A thread that is held up between the two readings would take that for a step.
        """
        readings: list[tuple[float, int]] = []
        while len(readings) < _READINGS:
            before = self._clock.monotonic()
            now = self._clock.now()
            took = self._clock.monotonic() - before
            readings.append((took, now - int(before * SECOND)))
            if took < _AT_ONCE:
                break
        return min(readings)[1]

    def pending(self) -> int:
        """The step that is not settled, µs; 0 for less than half a second."""
        return _step(self._measure() - self._offset)

    def look(self) -> int:
        """The same. What is no step is drift, and is not added up to one."""
        measured = self._measure()
        step = _step(measured - self._offset)
        if not step:
            self._offset = measured
        return step

    def settle(self, step: int) -> None:
        """A step is made up for."""
        self._offset += step


def _step(difference: int) -> int:
    return difference if abs(difference) >= _STEP else 0


class ClockWatch(Service):
    """Waits are measured on a clock that never steps; due times stand on the one that does."""

    name: ClassVar[str] = "clockwatch"
    topics: ClassVar[Sequence[Topic]] = ()

    def __init__(self, clock: Clock, signals: Signals, waits: Waits, steps: Steps) -> None:
        super().__init__(clock, signals)
        self._waits = waits
        self._steps = steps

    def run_once(self) -> int | None:
        """Compare the clocks once."""
        step, now = self._steps.look(), self._clock.now()
        if step:
            _log.warning("the clock was set", step_seconds=round(step / SECOND, 3))
            # What waits for a retry or a deadline was to wait for a while: neither an hour nor not
            # at all.
            self._waits.shift(step, now, noticed=2 * TICK)
            self._steps.settle(step)
            self._signals.raise_all()
        return now + TICK
