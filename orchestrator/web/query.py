"""Query parameters: few, typed by hand so that every refusal names place and remedy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from starlette.requests import Request

import specs
from orchestrator.domain.clock import from_rfc3339
from orchestrator.domain.states import RunState
from orchestrator.store.errors import Conflict
from orchestrator.store.reads import decode_cursor
from orchestrator.web.problems import Trouble, invalid

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
_INSTANTS = (-(2**62), 2**62)


async def known_only(request: Request) -> None:
    """Refuse parameters that the endpoint does not have: a misspelt filter filters nothing."""
    route: Any = request.scope["route"]
    known = [field.alias for field in route.dependant.query_params]
    for name in request.query_params:
        if name not in known:
            near = specs.nearest(name, known)
            remedy = (
                f"Did you mean {near!r}?" if near else f"Known are {', '.join(known) or 'none'}"
            )
            raise invalid(name[:100], "unknown query parameter", remedy)


def flag(name: str, value: str | None) -> bool:
    """Read true or false; absent is false."""
    if value in (None, "false", "0"):
        return False
    if value in ("true", "1", ""):
        return True
    raise invalid(name, f"{value[:60]!r} is not a boolean", "Write true or false")


def instant(name: str, value: str | None) -> int | None:
    """Read an RFC 3339 time."""
    if value is None:
        return None
    try:
        return from_rfc3339(value)
    except ValueError as failure:
        remedy = "Write it as 2026-03-29T01:00:00Z"
        if " " in value:
            remedy += ", and + in a URL as %2B"
        raise invalid(name, f"{value[:60]!r} is not an RFC 3339 time", remedy) from failure


def wait(name: str, value: str | None, longest: int) -> float:
    """Read how long an answer may wait; seconds."""
    if value is None:
        return 0.0
    try:
        span = specs.duration(value)
    except ValueError as failure:
        raise invalid(name, f"{value[:60]!r} is not a duration", "Write it as 10s") from failure
    if span > longest * 1_000_000:
        raise invalid(name, f"{value[:60]} is too long", f"Write at most {longest}s, and ask again")
    return span / 1_000_000


def limit(value: str | None) -> int:
    """Read how many items a page is to have."""
    if value is None:
        return DEFAULT_LIMIT
    if not (value.isascii() and value.isdecimal() and len(value) < 6):
        raise invalid("limit", f"{value[:60]!r} is not a number", f"Write 1 to {MAX_LIMIT}")
    if not 1 <= int(value) <= MAX_LIMIT:
        raise invalid("limit", f"{value} is outside 1 to {MAX_LIMIT}", f"Write 1 to {MAX_LIMIT}")
    return int(value)


def choice(name: str, value: str | None, choices: Sequence[str]) -> str:
    """Read one of a few words; the first is the default."""
    if value is None:
        return choices[0]
    if value not in choices:
        raise invalid(name, f"{value[:60]!r} is unknown", f"Write one of {', '.join(choices)}")
    return value


def states(values: Collection[str]) -> list[RunState]:
    """Read run states, given repeatedly or with commas."""
    found: list[RunState] = []
    for word in (word for value in values for word in value.split(",") if word):
        if word not in set(RunState):
            near = specs.nearest(word, [state.value for state in RunState])
            known = ", ".join(RunState)
            remedy = f"Did you mean {near!r}?" if near else f"Known are {known}"
            raise invalid("state", f"there is no state {word[:60]!r}", remedy)
        found.append(RunState(word))
    return found


def cursor(value: str | None, *shape: type[int] | type[str]) -> str | None:
    """Check that a cursor has the parts that this list's cursors have."""
    if value is None:
        return None
    strange: Trouble = invalid(
        "cursor", "this cursor is not of this list", "Send the `next` of the page before, or none"
    )
    if len(value) > 1000:
        raise strange
    try:
        parts = decode_cursor(value, *shape)
    except (Conflict, RecursionError) as failure:
        raise strange from failure
    for part, kind in zip(parts, shape, strict=True):
        if type(part) is not kind or (isinstance(part, int) and not _in_range(part)):
            raise strange
    return value


def _in_range(value: int) -> bool:
    return _INSTANTS[0] < value < _INSTANTS[1]
