"""Times and durations as people write them on the command line."""

from __future__ import annotations

import re
import time
from datetime import datetime

import specs
from orchestrator.cli.errors import usage
from orchestrator.domain.clock import SECOND, from_rfc3339, to_rfc3339

_LOCAL = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?")


def now() -> int:
    """This instant, in microseconds."""
    return time.time_ns() // 1000


def instant(option: str, text: str | None) -> str | None:
    """RFC 3339 in UTC from RFC 3339, a local time, a date, `now`, or how long ago (`2h`).

    Raises CliError with the option's name.
    """
    if text is None:
        return None
    given = text.strip()
    if given == "now":
        return to_rfc3339(now())
    try:
        if _LOCAL.fullmatch(given):
            return to_rfc3339(int(datetime.fromisoformat(given).timestamp()) * SECOND)
        if given[:1].isdigit() and "-" not in given:
            return to_rfc3339(now() - specs.duration(given))
        return to_rfc3339(from_rfc3339(given))
    except (ValueError, OverflowError):
        raise usage(
            f"{option} {text[:60]!r} is no time: write 2026-03-29T01:00:00Z, a local "
            "2026-03-29 or '2026-03-29 03:00', or how long ago: 2h, 7d"
        ) from None


def duration(option: str, text: str) -> int:
    """Microseconds. Raises CliError with the option's name."""
    try:
        return specs.duration(text)
    except ValueError as error:
        reason, _, remedy = str(error).partition(". ")
        raise usage(f"{option}: {specs.sentence(reason, remedy)}") from None


def in_zone(option: str, text: str, zone: str) -> int:
    """An instant from RFC 3339, `now`, or a date or local time in `zone`. Raises CliError."""
    from connectors.abc import SettingsError
    from connectors.moments import parse_moment

    if text.strip() == "now":
        return now()
    try:
        return parse_moment(text.strip(), zone, dates=True).instant
    except SettingsError as error:
        found = error.problems[0]
        raise usage(f"{option}: {specs.sentence(found.message, found.remedy)}") from error


def window_end(option: str, text: str, zone: str, start: int) -> int:
    """The end of a window: an instant, or how long it is (`7d`). Raises CliError."""
    try:
        end = start + specs.duration(text.strip())
    except ValueError:
        end = in_zone(option, text, zone)
    if end <= start:
        raise usage(f"{option} {text}: the window ends before it begins: choose a later end")
    return end
