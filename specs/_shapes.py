"""Type guards for plain data, whose keys are text since it was read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

_NOTHING: Mapping[str, Any] = {}


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether the value is a mapping."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether the value is a list."""
    return isinstance(value, list)


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one (what is wrong was reported elsewhere)."""
    return value if is_mapping(value) else _NOTHING


def items(value: object) -> list[Any]:
    """The value if it is a list, else an empty one (what is wrong was reported elsewhere)."""
    return value if is_list(value) else []


def describe(value: object) -> str:
    """Say what a value is, for a message: `the number 3`, `a list`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    return "a list" if isinstance(value, list) else "a mapping"
