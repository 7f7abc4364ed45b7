"""The suite for connectors whose events are due times."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from connectors import zones
from connectors.abc import Schedule
from connectors.testing.harness import TimeHarness
from connectors.testing.settings import ConnectorConformance
from connectors.testing.watching import no_io

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_LAST = 221_845_392_000 * _SECOND  # 9000-01-01
_NOW = 1_772_323_200 * _SECOND  # 2026-03-01, before the clocks change
_PROBES = 60
_FOLLOWED = 50


def _instants() -> list[int]:
    """Before time began, after it ends, and in between; the same in every run."""
    chance = random.Random(7)  # noqa: S311 - examples, no secret
    near = [_NOW + chance.randrange(-400 * _DAY, 400 * _DAY) for _ in range(_PROBES)]
    far = [chance.randrange(0, _LAST) for _ in range(_PROBES // 4)]
    return sorted([-_DAY, -1, 0, _LAST - 1, _LAST, _LAST + _DAY, _NOW, *near, *far])


class TimeConformance(ConnectorConformance):
    """For connectors with a schedule."""

    def test_due_times_come_one_after_the_other(self, harness: TimeHarness) -> None:
        """Asked with its own answers, a schedule gives each due time once, and no other between."""
        for schedule in _schedules(harness):
            begin = schedule.next_after(_NOW)
            due: list[int] = []
            while begin is not None and len(due) < _FOLLOWED:
                due.append(begin)
                begin = schedule.next_after(begin)
            assert all(_NOW < first < second for first, second in pairwise([_NOW + 1, *due[1:]]))
            assert due == sorted(set(due))
            for first, second in pairwise(due):
                assert schedule.next_after(second - 1) == second
                assert schedule.next_after((first + second) // 2) == second

    def test_answers_are_later_and_monotone(self, harness: TimeHarness) -> None:
        """A later instant never gives an earlier answer; what is over stays over."""
        for schedule in _schedules(harness):
            previous = 0
            for instant in _instants():
                due = schedule.next_after(instant)
                found = _LAST if due is None else due
                assert due is None or instant < due < _LAST
                assert due is None or due >= 0
                assert found >= previous
                previous = found

    def test_the_same_settings_are_the_same_schedule(self, harness: TimeHarness) -> None:
        """In another process, too: nothing but the settings decides."""
        for settings in harness.examples():
            first = harness.connector.schedule(settings)
            second = type(harness.connector)().schedule(settings)
            assert [first.next_after(i) for i in _instants()] == [
                second.next_after(i) for i in _instants()
            ]
            assert first.jitter == second.jitter
            assert first.timezone == second.timezone

    def test_what_a_schedule_says_of_itself(self, harness: TimeHarness) -> None:
        """A zone that exists, a width of jitter, a phrase, and marks of clock changes."""
        for schedule in _schedules(harness):
            assert schedule.timezone in zones.names()
            assert schedule.jitter >= 0
            assert schedule.describe()
            assert schedule.describe().isprintable()
            due = schedule.next_after(_NOW)
            if due is not None:
                assert all(mark and mark.isprintable() for mark in schedule.marks(due))

    def test_a_schedule_is_pure(self, harness: TimeHarness) -> None:
        """It does no I/O, and threads share it."""
        for schedule in _schedules(harness):
            alone = [schedule.next_after(instant) for instant in _instants()]
            with no_io():
                assert [schedule.next_after(instant) for instant in _instants()] == alone

            def ask(_: int, schedule: Schedule = schedule) -> list[int | None]:
                return [schedule.next_after(instant) for instant in _instants()]

            with ThreadPoolExecutor(4) as pool:
                assert all(found == alone for found in pool.map(ask, range(4)))


def _schedules(harness: TimeHarness) -> list[Schedule]:
    return [harness.connector.schedule(settings) for settings in harness.examples()]
