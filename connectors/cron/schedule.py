"""The due times of a cron trigger."""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from connectors import durations
from connectors.abc import Problem, Schedule, SettingsError
from connectors.cron import clock, expression, interval
from connectors.cron.settings import CronSettings
from connectors.moments import Moment, show
from connectors.times import HORIZON, SECOND


class _Rule(Protocol):
    """Due times without bounds. Instants in microseconds, never negative."""

    def next_after(self, instant: int) -> int | None: ...
    def describe(self) -> str: ...
    def marks(self, due: int) -> tuple[str, ...]: ...


class _ByExpression:
    __slots__ = ("_expression", "_zone")

    def __init__(self, text: str, zone: str) -> None:
        self._expression = expression.parse(text)
        self._zone = zone

    def next_after(self, instant: int) -> int | None:
        due = clock.next_after(self._expression, self._zone, instant // SECOND)
        return None if due is None else due * SECOND

    def describe(self) -> str:
        return clock.describe(self._expression, self._zone)

    def marks(self, due: int) -> tuple[str, ...]:
        return clock.marks(self._expression, self._zone, due // SECOND)


class _ByInterval:
    __slots__ = ("_anchor", "_every")

    def __init__(self, every: int, anchor: int) -> None:
        self._every = every
        self._anchor = anchor

    def next_after(self, instant: int) -> int | None:
        return interval.next_after(instant, every=self._every, anchor=self._anchor)

    def describe(self) -> str:
        return f"every {durations.show(self._every)}"

    def marks(self, due: int) -> tuple[str, ...]:
        return ()


class _ByList:
    __slots__ = ("_marks", "_times", "_zone")

    def __init__(self, moments: list[Moment], zone: str) -> None:
        self._times = tuple(sorted(moment.instant for moment in moments))
        self._marks = {m.instant: (m.mark,) for m in moments if m.mark is not None}
        self._zone = zone

    def next_after(self, instant: int) -> int | None:
        index = bisect_right(self._times, instant)
        return self._times[index] if index < len(self._times) else None

    def describe(self) -> str:
        first = f"{show(self._times[0], self._zone)} in {self._zone}"
        if len(self._times) == 1:
            return f"once, at {first}"
        return f"{len(self._times)} times, the first at {first}"

    def marks(self, due: int) -> tuple[str, ...]:
        return self._marks.get(due, ())


class CronSchedule(Schedule):
    """Due times from checked settings.

    Raises :class:`SettingsError` when the bounds leave no due time at all.
    """

    __slots__ = ("_end", "_jitter", "_rule", "_start", "_zone")

    def __init__(self, settings: CronSettings) -> None:
        self._zone = settings.timezone
        self._jitter = settings.jitter
        self._start = settings.bound(settings.start)
        self._end = settings.bound(settings.end)
        self._rule = _rule(settings, anchor=self._start or 0)
        bounded = self._start is not None or self._end is not None
        if bounded and self.next_after(-1) is None:
            problem = Problem(
                "start" if self._end is None else "end",
                "nothing is due within `start` and `end`",
                "widen them, or change when it is due",
            )
            raise SettingsError([problem])

    @property
    def timezone(self) -> str:
        return self._zone

    @property
    def jitter(self) -> int:
        return self._jitter

    def next_after(self, instant: int) -> int | None:
        if instant >= HORIZON:
            return None
        due = self._rule.next_after(max(instant, (self._start or 0) - 1))
        return None if due is None or due >= (self._end or HORIZON) else due

    def describe(self) -> str:
        parts = [self._rule.describe()]
        if self._start is not None:
            parts.append(f"from {show(self._start, self._zone)}")
        if self._end is not None:
            parts.append(f"until before {show(self._end, self._zone)}")
        if self._jitter:
            parts.append(f"spread over {durations.show(self._jitter)}")
        return ", ".join(parts)

    def marks(self, due: int) -> tuple[str, ...]:
        return self._rule.marks(due)


def _rule(settings: CronSettings, anchor: int) -> _Rule:
    if settings.schedule is not None:
        return _ByExpression(settings.schedule, settings.timezone)
    if settings.every is not None:
        return _ByInterval(settings.every, anchor)
    return _ByList(settings.moments(), settings.timezone)
