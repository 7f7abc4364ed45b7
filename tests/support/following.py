"""Waits for what a follower of files takes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from connectors.streams import END
from tests.support.followed import Follower
from tests.support.waiting import until


def write(path: Path, text: str | bytes, mode: str = "ab") -> None:
    """Append to a file, or with another mode write it anew."""
    with path.open(mode) as file:
        file.write(text.encode() if isinstance(text, str) else text)


def expect(follower: Follower, lines: list[str]) -> None:
    """Wait for lines, and see that they are all that was taken in."""

    def there() -> bool:
        follower.turn()
        return [line.decode() for line in follower.lines()] >= lines or len(
            follower.lines()
        ) >= len(lines)

    until(there, f"{len(lines)} lines", show=lambda: (follower.lines(), follower.positions))
    assert [line.decode() for line in follower.lines()] == lines


def until_so(follower: Follower, condition: Callable[[], Any], what: str) -> None:
    """Take batches in until a condition holds."""
    until(
        lambda: (follower.turn(), condition())[1],
        what,
        show=lambda: (follower.lines()[-5:], follower.positions),
    )


def until_over(follower: Follower, count: int = 1) -> None:
    """Wait until so many partitions are at their end."""

    def ended() -> bool:
        follower.turn()
        return sum(at == END for at in follower.positions.values()) >= count

    until(ended, "the end of a partition", show=lambda: follower.positions)
