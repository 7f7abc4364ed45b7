"""Five-field cron expressions: what is written, checked strictly.

Debian's crontab(5) is the measure. What other crons take beyond it (seconds, ``L``, ``W``,
``#``, ``?``, ``5/10``, ``@reboot``) is refused with what to write instead: such an expression
means different things in different places.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache

from connectors.abc import Problem, SettingsError
from connectors.validation import shown

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MAX_LENGTH = 1024
_TERM = re.compile(r"(?:(\*)|([a-zA-Z0-9]+)(?:-([a-zA-Z0-9]+))?)(?:/([0-9]{1,4}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0
    """The number of the first name."""

    def number(self, text: str) -> int:
        name = text.lower()
        if name in self.names:
            return self.names.index(name) + self.first
        if text.isdecimal() and len(text) <= 4 and self.low <= int(text) <= self.high:
            return int(text)
        also = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.4)
        did_you_mean = f", perhaps {near[0]}" if near and text.isalpha() else ""
        raise self.wrong(
            f"{shown(text)} is not valid", f"write {self.low} to {self.high}{also}{did_you_mean}"
        )

    def wrong(self, message: str, remedy: str) -> SettingsError:
        return _error(f"{message}, in the {self.name} field", remedy)

    def show(self, number: int) -> str:
        return self.names[(number - self.first) % len(self.names)] if self.names else str(number)


_FIELDS = (
    _Field(name="minute", low=0, high=59),
    _Field(name="hour", low=0, high=23),
    _Field(name="day of the month", low=1, high=31),
    _Field(name="month", low=1, high=12, names=_MONTHS, first=1),
    _Field(name="day of the week", low=0, high=7, names=_WEEKDAYS),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Expression:
    """A checked expression."""

    text: str
    """Five fields, lower case, single spaces; nicknames written out."""
    fixed: bool
    """Neither minute nor hour begins with a star: what a clock change skips is made up for,
    what it repeats is done once (cron(8), "particular time")."""


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Raises :class:`SettingsError` with one problem, without a path."""
    if len(text) > _MAX_LENGTH:
        raise _error(
            f"the expression has {len(text)} characters", f"write at most {_MAX_LENGTH} of them"
        )
    if not text.isascii():
        raise _error(f"{shown(text)} has a character that is not ASCII", "retype it")
    fields = _spelled_out(text.strip()).split()
    if len(fields) != len(_FIELDS):
        raise _error(f"{shown(text)} has {len(fields)} fields", _count_remedy(len(fields)))
    plain: list[str] = []
    values: list[set[int]] = []
    for field, written in zip(_FIELDS, fields, strict=True):
        terms = [_term(field, term) for term in written.split(",")]
        plain.append(",".join(term.lower() for term, _ in terms))
        values.append({number for _, numbers in terms for number in numbers})
    _, _, days, months, _ = values
    both_days_restricted = fields[2][0] != "*" and fields[4][0] != "*"
    longest = max(_DAYS_IN_MONTH[month - 1] for month in months)
    if min(days) > longest and not both_days_restricted:
        names = ", ".join(_MONTHS[month - 1] for month in sorted(months))
        raise _error(
            f"{shown(text)} never comes: no {names} has a day {min(days)}",
            f"write a day up to {longest}, or another month",
        )
    return Expression(text=" ".join(plain), fixed=fields[0][0] != "*" and fields[1][0] != "*")


def _spelled_out(text: str) -> str:
    if not text.startswith("@"):
        return text
    name = text.lower()
    if name == "@reboot":
        raise _error(
            f"{shown(text)} has no time",
            "write when it shall run; for once, now: `orch triggers fire NAME`",
        )
    if name in _NICKNAMES:
        return _NICKNAMES[name]
    near = difflib.get_close_matches(name, _NICKNAMES, n=1)
    raise _error(
        f"{shown(text)} is not a name that cron knows",
        f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_NICKNAMES)}",
    )


def _count_remedy(count: int) -> str:
    five = "write five: minute, hour, day of the month, month, day of the week"
    if count > len(_FIELDS):
        return f"{five}; no seconds (use `every: 10s`), no year, no command"
    return five


def _term(field: _Field, term: str) -> tuple[str, range]:
    """A term as cronsim reads it rightly, and its numbers."""
    if term == "":
        raise field.wrong("an empty place in the list", "remove the comma that is too many")
    _refuse_foreign(field, term)
    match = _TERM.fullmatch(term)
    if match is None:
        raise field.wrong(
            f"{shown(term)} is not cron", "write *, 5, 1-5, */10, 8-18/2 or a list of such"
        )
    star, first, last, step = match.groups()
    low, high = field.low, field.high
    if not star:
        low = field.number(first)
        high = low if last is None else field.number(last)
        if step is not None and last is None:
            raise field.wrong(
                f"{shown(term)} is a step without a range", f"write {low}-{field.high}/{step}"
            )
        if high < low:
            raise field.wrong(f"the range {shown(term)} runs backwards", _split(field, low, high))
    stride = 1 if step is None else int(step)
    if stride == 0:
        raise field.wrong(f"{shown(term)} has a step of 0", "write 1 or more")
    if stride > field.high - field.low + 1:
        hint = f"; for an even interval write `every: {stride}m`" if field.name == "minute" else ""
        raise field.wrong(
            f"the step of {shown(term)} is longer than the field", f"write {low} alone{hint}"
        )
    one = not star and low == high
    return str(low) if one else term, range(low, high + 1, stride)  # 12-12/1 would be 12-23


def _refuse_foreign(field: _Field, term: str) -> None:
    plain = term.lower()
    if "?" in term:
        raise field.wrong(f"{shown(term)} is Quartz's, not cron's", "write * for any")
    if "#" in term or (field.names == _WEEKDAYS and re.fullmatch(r"[0-7a-z]{1,3}l|l", plain)):
        raise field.wrong(
            f"{shown(term)} is Quartz's, not cron's",
            "list the days with `at:`, or check in the task",
        )
    if field.name == "day of the month" and re.fullmatch(r"l|l-\d+|lw|\d+w", plain):
        raise field.wrong(
            f"{shown(term)} is Quartz's, not cron's",
            "list the days with `at:`, or run on 28-31 and check in the task",
        )
    if "~" in term or re.match(r"h\b", plain):
        raise field.wrong(
            f"{shown(term)} asks for a random time", "write a number, and `jitter: 5m` to spread"
        )


def _split(field: _Field, low: int, high: int) -> str:
    """A range that wraps, as cron takes it."""
    top = field.high if field.names != _WEEKDAYS else 6
    parts = [(low, top), (field.low, high)]
    return "write " + ",".join(
        field.show(a) if a == b else f"{field.show(a)}-{field.show(b)}" for a, b in parts
    )


def _error(message: str, remedy: str) -> SettingsError:
    return SettingsError([Problem("", message, remedy)])
