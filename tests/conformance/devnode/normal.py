"""Brings answers of two nodes into a form in which they can be compared."""

from __future__ import annotations

import re
from typing import Any

_ID = re.compile(r"\b[jen]-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_SHORT_NODE = re.compile(r"\bn-[0-9a-f]{8}\b")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
_NANOSECONDS = ("CreateTime", "ModifyTime")
_QUERY = re.compile(r"\?X-Amz-.*")


def normal(value: Any, key: str = "") -> Any:
    """The value without ids, times, signatures and the order in which things happened at once."""
    if isinstance(value, dict):
        return {name: normal(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return _list(value, key)
    if key in _NANOSECONDS and isinstance(value, int):
        return "<ns>" if value > 1_600_000_000_000_000_000 else value
    if key == "bacalhau.org/server.instance.id":
        return "<instance>"
    if isinstance(value, str):
        return _text(value)
    return value


def _text(value: str) -> str:
    for pattern, mark in (
        (_ID, "<id>"),
        (_UUID, "<uuid>"),
        (_SHORT_NODE, "<node>"),
        (_TIME, "<time>"),
        (_QUERY, "?<signature>"),
    ):
        value = pattern.sub(mark, value)
    return value


def _list(values: list[Any], key: str) -> list[Any]:
    if values and isinstance(values[0], dict) and "SeqNum" in values[0]:
        # Executions on two nodes report in any order; the numbers themselves must be whole.
        numbers = [value["SeqNum"] for value in values]
        entries = [normal({**value, "SeqNum": "<n>"}) for value in values]
        return [f"in order: {numbers == sorted(numbers)}", *sorted(entries, key=repr)]
    if values and isinstance(values[0], dict) and "PartitionIndex" in values[-1]:
        values = sorted(values, key=lambda value: value.get("PartitionIndex", 0))
    if key in ("ExecutionEngines", "Publishers", "StorageSources") and values:
        return sorted(values)
    return [normal(value) for value in values]


def differences(expected: Any, actual: Any, path: str = "") -> dict[str, str]:
    """Where two normal values differ: path to what is there instead of what."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found: dict[str, str] = {}
        for key in expected.keys() | actual.keys():
            here = f"{path}.{key}" if path else key
            if key not in expected:
                found[here] = f"unexpected: {actual[key]!r}"
            elif key not in actual:
                found[here] = f"missing: {expected[key]!r}"
            else:
                found |= differences(expected[key], actual[key], here)
        return found
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        found = {}
        for number, (left, right) in enumerate(zip(expected, actual, strict=True)):
            found |= differences(left, right, f"{path}[{number}]")
        return found
    return {} if expected == actual else {path: f"expected {expected!r}, got {actual!r}"}
