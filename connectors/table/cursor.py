"""How far a table that only grows was read: what is kept between two looks.

Keys grow, but rows need not become visible in their order: a transaction that began earlier may be
committed later. So a *mark* notes which key was the highest at some moment, and rows below it are
looked for until `look_back` has passed since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_VERSION = 1
MARKS = 10
"""Into so many parts the time is divided within which rows may come late."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """At some moment rows up to some key had been seen."""

    at: int
    """Microseconds since 1970."""
    top: str
    """The id of the highest key."""


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """What is known of a table's keys, by their ids; None is before the first one."""

    floor: str | None = None
    """No row is looked for up to here."""
    top: str | None = None
    """The highest that was handed over."""
    marks: Sequence[Mark] = ()
    """Oldest first."""

    def seen(self, top: str | None, now: int, look_back: int) -> Cursor:
        """Rows up to `top` have been handed over, of which late ones may come for `look_back`."""
        # A clock that was set back makes no mark younger than it is.
        marks = [Mark(at=min(mark.at, now), top=mark.top) for mark in self.marks]
        last = marks[-1] if marks else None
        # Few marks: one stands for what was seen until the next one.
        is_due = last is None or now - last.at >= look_back // MARKS
        if is_due and top is not None and top not in (self.floor, last and last.top):
            marks.append(Mark(at=now, top=top))
        return Cursor(floor=self.floor, top=top, marks=marks)

    def passed(self, began: int, look_back: int) -> Cursor:
        """All rows were looked for since `began`: the floor rises to what was seen `look_back`
        before."""
        old = [mark for mark in self.marks if mark.at + look_back <= began]
        floor = old[-1].top if old else self.floor
        return Cursor(floor=floor, top=self.top, marks=self.marks[len(old) :])

    def __str__(self) -> str:
        marks = [[mark.at, mark.top] for mark in self.marks]
        written = {"v": _VERSION, "floor": self.floor, "top": self.top, "marks": marks}
        return json.dumps(written, separators=(",", ":"))


def parse(text: str) -> Cursor:
    """The inverse of ``str``. Raises ValueError."""
    data: Any = json.loads(text)
    match data:
        case {
            "v": int(version),
            "floor": str() | None as floor,
            "top": str() | None as top,
            "marks": [*marks],
        } if version == _VERSION:
            found = [_mark(one) for one in marks]
            return Cursor(floor=floor, top=top, marks=found)
        case _:
            raise ValueError(f"{text[:80]!r} is not how far a table was read")


def _mark(one: Any) -> Mark:
    match one:
        case [int(at), str(top)]:
            return Mark(at=at, top=top)
        case _:
            raise ValueError("a mark is a moment and a key")
