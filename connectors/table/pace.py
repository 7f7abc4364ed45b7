"""An even rate: the generic cell rate algorithm, with what a late look may make up for.

Pure. What is kept is one number, `free_at`: the instant from which the next row may go.
"""

from __future__ import annotations

from connectors.times import SECOND

SLICE = SECOND // 20
"""µs between two looks while rows wait: rows go in portions of what is due within it."""
SLACK = 3 * SECOND // 20
"""µs: how late a look may be without a loss. Of a table that was idle so much goes at once."""


AHEAD = 10 * SECOND
"""µs: how far clocks may differ. Nobody lets rows go earlier than that: a moment beyond it is of a
clock that was set back since, or of a slower rate."""


def begun(free_at: int, now: int, per_second: float) -> int:
    """`free_at` as far as it can be believed."""
    return free_at if free_at <= now + AHEAD + round(SECOND / per_second) else now


def allowance(free_at: int, now: int, per_second: float) -> int:
    """How many rows may go now. Over any time t at most ``per_second * (t + SLACK) + 1`` go,
    whoever asks."""
    since = now - max(free_at, now - SLACK)
    return 0 if since < 0 else int(since * per_second / SECOND) + 1


def after(free_at: int, now: int, per_second: float, gone: int) -> int:
    """`free_at` once so many rows have gone."""
    return max(free_at, now - SLACK) + round(gone * SECOND / per_second)


def due(free_at: int, now: int) -> int:
    """When to look again."""
    return max(free_at, now + SLICE)
