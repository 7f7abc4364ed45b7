"""The `${{ path }}` language of a job's strings.

`$${{` stands for a literal `${{`. A path is names with dots: `event.user.id`; a part that is no
plain name stands in brackets: `event.headers["x-id"]`, `event.items[0]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from specs._shapes import is_list, is_mapping

_TOKEN = re.compile(r"\$\$\{\{|\$\{\{([^{}]*)\}\}|\$\{\{")
_PART = re.compile(
    r"""(?:(?:^|(?<!^)\.)(?P<name>[A-Za-z_][A-Za-z0-9_-]{0,127})
        |\[(?P<index>[0-9]{1,6})\]
        |\[(?P<quote>["'])(?P<text>[^"'\\]{1,256})(?P=quote)\])""",
    re.VERBOSE,
)


class ExpressionError(ValueError):
    """A `${{ }}` that cannot be read; the text says why and what to write."""


class MissingValueError(LookupError):
    """A run has no usable value for a path; the text says why."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One `${{ path }}`."""

    path: tuple[str, ...]

    @property
    def text(self) -> str:
        """The path as people write it: `event.user.id`."""
        return ".".join(self.path)


Parts = tuple[str | Expression, ...]
"""A string cut into its fixed pieces (escapes resolved) and its expressions, in order."""


def split(text: str) -> Parts:
    """Cut a string into fixed text and expressions. Raises ExpressionError."""
    if "${{" not in text:
        return (text,)
    parts: list[str | Expression] = []
    fixed = ""
    at = 0
    for match in _TOKEN.finditer(text):
        fixed += text[at : match.start()]
        at = match.end()
        if match[0] == "$${{":
            fixed += "${{"
        elif match[1] is None:
            raise ExpressionError(
                "'${{' without its '}}'. Close it, or write '$${{' for the characters themselves"
            )
        else:
            if fixed:
                parts.append(fixed)
                fixed = ""
            parts.append(Expression(parse_path(match[1].strip())))
    fixed += text[at:]
    if fixed or not parts:
        parts.append(fixed)
    return tuple(parts)


def parse_path(text: str) -> tuple[str, ...]:
    """Read a path such as `event.headers["x-id"]`. Raises ExpressionError."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or (at == 0 and match["name"] is None):
            break
        parts.append(match["name"] or match["index"] or match["text"])
        at = match.end()
    if at < len(text) or not parts or len(parts) > 32:
        raise ExpressionError(
            f"{text[:60]!r} is not a path. Write names with dots, such as ${{{{ firing.time }}}}"
        )
    return tuple(parts)


def escape(text: str) -> str:
    """Write a text so that `split` gives it back unchanged, as fixed text."""
    return text.replace("${{", "$${{")


def look_up(values: Mapping[str, Any], expression: Expression) -> Any:
    """Return the value at a path. Raises MissingValueError for none, and for null."""
    value: Any = values
    for depth, part in enumerate(expression.path):
        if is_mapping(value) and part in value:
            value = value[part]
        elif is_list(value) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            below = ".".join(expression.path[:depth])
            raise MissingValueError(f"{below or 'this run'} has no {part!r}")
    if value is None:
        raise MissingValueError(f"{expression.text} is null")
    return value


def as_text(value: Any) -> str:
    """Write a value as text: text as it is, everything else as compact JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
