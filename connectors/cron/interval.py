"""Even intervals. Pure arithmetic: clock changes and restarts do not move them."""

from __future__ import annotations


def next_after(instant: int, *, every: int, anchor: int) -> int:
    """The first of ``anchor + k * every`` (k >= 0) strictly later than ``instant``, in µs."""
    if instant < anchor:
        return anchor
    return anchor + ((instant - anchor) // every + 1) * every
