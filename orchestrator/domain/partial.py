"""Partial failure: a task that succeeded names the events of its batch that did not.

The first line of its output is a JSON object with the key ``orch.failed``: half-open ranges of
places in the batch, ``{"orch.failed": [[0, 3], [7, 8]]}``. The node keeps the first 2,048 bytes of
the output; a list that does not end within them is no list. The same object may be a file in the
result that the task publishes, where it may be longer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

KEY = "orch.failed"
_LARGEST = 2**31


class BadList(ValueError):
    """The list is there, but says nothing that can be relied on; the text says why."""


def failed_places(stdout: str) -> Sequence[tuple[int, int]]:
    """The ranges that the first line of an output names; none if it is no such line. Raises
    BadList."""
    line, newline, _ = stdout.lstrip("\ufeff").partition("\n")
    if not line.lstrip().startswith("{") or f'"{KEY}"' not in line:
        return ()
    if not newline and not line.rstrip().endswith("}"):
        raise BadList("the list of failed events was cut off: print it as ranges, and first of all")
    said = _object(line)
    # The words may stand elsewhere in it.
    return _ranges(said[KEY]) if KEY in said else ()


def failed_in_file(text: str) -> Sequence[tuple[int, int]]:
    """The ranges that a published file names. Raises BadList, also where it has no list."""
    said = _object(text.lstrip("\ufeff"))
    if KEY not in said:
        raise BadList(f"the list of failed events is no object with the key {KEY}")
    return _ranges(said[KEY])


def _object(text: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadList(f"the list of failed events is no JSON: {error}") from error
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _ranges(ranges: Any) -> Sequence[tuple[int, int]]:
    if not isinstance(ranges, list):
        raise BadList('the list of failed events is no list: print {"orch.failed": [[0, 3]]}')
    return [_range(item) for item in cast("list[Any]", ranges)]


def _range(item: Any) -> tuple[int, int]:
    pair: list[Any] = cast("list[Any]", item) if isinstance(item, list) else []
    if len(pair) == 2 and all(type(number) is int for number in pair):
        first, end = pair
        if 0 <= first < end < _LARGEST:
            return first, end
    raise BadList(
        f"{json.dumps(item)[:60]} among the failed events is no range: [first, end], from 0, end "
        "exclusive"
    )
