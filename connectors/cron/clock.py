"""When an expression is due in a time zone: clock changes as Debian's cron handles them.

cron(8): a job at a particular time that a change of less than three hours skips runs right
after the change, and one in a repeated time runs once. A job with a star at the beginning of
its minute or hour field follows the wall clock as it is. Changes of three hours and more are
corrections: what they skip is gone.

cronsim finds the next wall time that matches, without a zone. With a zone it would answer with
an instant in the past inside a repeated hour, leave out wildcard runs where clocks change by
half an hour, and add one where they skip midnight.
"""

from __future__ import annotations

from functools import lru_cache

from cronsim import CronSim

from connectors import zones
from connectors.cron.expression import Expression
from connectors.times import HORIZON, SECOND

_CORRECTION = 3 * 3600
_END = HORIZON // SECOND
_NAMED = 3  # so many skipped times are named in a mark


def next_after(expression: Expression, zone: str, at: int) -> int | None:
    """The first due time strictly later than ``at``; both in seconds since the epoch."""
    due = _next_after_minute(expression, zone, at // 60)
    while due is not None and due <= at:  # an offset with seconds (Monrovia until 1972)
        due = _search(expression, zone, due)
    return due


@lru_cache(maxsize=16_384)
def _next_after_minute(expression: Expression, zone: str, minute: int) -> int | None:
    """Shared by all triggers with one expression that are due in the same minute."""
    return _search(expression, zone, minute * 60)


def _search(expression: Expression, zone: str, at: int) -> int | None:
    due = (_fixed if expression.fixed else _wild)(expression.text, zone, at)
    return due if due is not None and due < _END else None


def _fixed(text: str, zone: str, at: int) -> int | None:
    cursor = zones.to_wall(zone, at)
    second_pass = zones.repeating(zone, at)
    if second_pass:
        cursor = second_pass.at + second_pass.before - 1
    while (wall := _match(text, cursor)) is not None:
        found = zones.place(zone, wall)
        if found.how == "skipped" and found.change and found.change.skipped >= _CORRECTION:
            cursor = found.change.at + found.change.after - 1
        else:
            return found.instant
    return None


def _wild(text: str, zone: str, at: int) -> int | None:
    """Goes from one change of the offset to the next: between two, wall time is plain."""
    offset = zones.offset_at(zone, at)
    cursor = at + offset
    wall = _match(text, cursor)
    while wall is not None:
        due = wall - offset
        change = zones.next_change(zone, at, due)
        if change is None:
            return due
        # No wall time between cursor and wall matches, so a rare date need not be approached
        # change by change. Close to a change set back, the wall may show less than cursor.
        near = due - 2 * zones.DAY
        if near > change.at >= at + 2 * zones.DAY:
            at = near
            offset = zones.offset_at(zone, at)
            cursor = at + offset
        else:
            at, offset = change.at, change.after
            previous, cursor = cursor, at + offset - 1
            if not previous <= cursor < wall:
                wall = _match(text, cursor)
    return None


def _match(text: str, wall: int) -> int | None:
    """The first matching wall time strictly later than ``wall``; ``None``: not in 50 years."""
    found = next(CronSim(text, zones.naive(wall)), None)
    return None if found is None else zones.wall_of(found)


def marks(expression: Expression, zone: str, due: int) -> tuple[str, ...]:
    """What a clock change did to a due time of this expression, in words."""
    wall = zones.to_wall(zone, due)
    second_pass = zones.repeating(zone, due)
    if second_pass:
        return () if expression.fixed else (f"the second {zones.show_clock(wall)}",)
    if zones.place(zone, wall).how == "repeated":
        if expression.fixed:
            return (f"the second {zones.show_clock(wall)} is left out",)
        return (f"the first {zones.show_clock(wall)}",)
    change = zones.next_change(zone, due - 1, due)
    if not expression.fixed or change is None or not 0 < change.skipped < _CORRECTION:
        return ()
    skipped: list[int] = []
    cursor = due + change.before - 1
    while (found := _match(expression.text, cursor)) is not None and found < due + change.after:
        skipped.append(found)
        cursor = found
    if not skipped:
        return ()
    named = ", ".join(zones.show_clock(time) for time in skipped[:_NAMED])
    if len(skipped) > _NAMED:
        named += f" and {len(skipped) - _NAMED} more"
    if _match(expression.text, wall - 1) == wall:
        return (f"stands for {named} as well: the clocks skip it",)
    return (f"moved from {named}: the clocks skip it",)


def describe(expression: Expression, zone: str) -> str:
    """A phrase such as "at 02:00 on Monday in Europe/Berlin"."""
    phrase = CronSim(expression.text, zones.naive(0)).explain()
    return f"{phrase[:1].lower()}{phrase[1:]} in {zone}"
