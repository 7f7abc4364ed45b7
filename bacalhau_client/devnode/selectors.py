"""Label selectors: a job's `Constraints` against a node, `?labels=` against a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import invalid
from .states import Json, sequence

_WORD = re.compile(r"\s*(==|!=|=|>|<|!|,|\(|\)|[^\s=!,()<>]+)")
_IDENTIFIER = re.compile(r"[^\s=!,()<>]+\Z")
_SETS = ("in", "notin")


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet the condition; an absent label meets `!=` and `notin`."""
        value = labels.get(self.key)
        match self.operator:
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "gt" | "lt":
                return self._compares(value)
            case _:
                return False

    def _compares(self, value: str | None) -> bool:
        try:
            given, bound = int(value or ""), int(self.values[0])
        except (ValueError, IndexError):
            return False
        return given > bound if self.operator == "gt" else given < bound

    def __str__(self) -> str:
        """The condition as a node's messages print it: `zone = nowhere`."""
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case _:
                return f"{self.key} {self.operator} {','.join(self.values)}"


def constraints(items: list[Json]) -> list[Requirement]:
    """The requirements of a job's `Constraints`."""
    return [
        Requirement(
            key=str(item.get("Key", "")),
            operator=str(item.get("Operator", "=")),
            values=tuple(str(value) for value in sequence(item, "Values")),
        )
        for item in items
    ]


def parse(text: str) -> list[Requirement]:
    """Parses `a=b,c!=d,e in (f,g),h,!i`; an empty text selects everything.

    Raises ApiError 400 with the words of the real parser where they were recorded.
    """
    words = _WORD.findall(text)
    if not words:
        return []
    return _Parser(words).requirements()


class _Parser:
    def __init__(self, words: list[str]) -> None:
        self._words = words
        self._at = 0

    def requirements(self) -> list[Requirement]:
        found = [self._requirement()]
        while (word := self._next()) != "":
            if word != ",":
                raise invalid(f"found '{word}', expected: ',' or 'end of string'")
            following = self._peek()
            if not (_IDENTIFIER.match(following) or following == "!"):
                raise invalid(f"found '{following}', expected: identifier after ','")
            found.append(self._requirement())
        return found

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _next(self) -> str:
        word = self._peek()
        self._at += 1
        return word

    def _identifier(self) -> str:
        word = self._next()
        if not _IDENTIFIER.match(word):
            raise invalid(f"found '{word}', expected: identifier")
        return word

    def _requirement(self) -> Requirement:
        if self._peek() == "!":
            self._next()
            return Requirement(key=self._identifier(), operator="!")
        key = self._identifier()
        operator = self._peek()
        if operator in ("", ","):
            return Requirement(key=key, operator="exists")
        self._next()
        if operator in _SETS:
            return Requirement(key=key, operator=operator, values=self._values())
        if operator in (">", "<"):
            bound = self._identifier()
            return Requirement(key=key, operator="gt" if operator == ">" else "lt", values=(bound,))
        if operator not in ("=", "==", "!="):
            raise invalid(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        value = "" if self._peek() in ("", ",") else self._identifier()
        return Requirement(key=key, operator=operator, values=(value,))

    def _values(self) -> tuple[str, ...]:
        if (word := self._next()) != "(":
            raise invalid(f"found '{word}', expected: '('")
        values = [self._identifier()]
        while (word := self._next()) == ",":
            values.append(self._identifier())
        if word != ")":
            raise invalid(f"found '{word}', expected: ',' or ')'")
        return tuple(values)
