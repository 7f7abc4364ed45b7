"""Cuts a partition into ranges that hold wanted records and stretches that do not. Pure.

A range begins and ends with a match and spans at most ``size`` offsets; what lies between two
ranges is a stretch. What is behind the last match is not given out before it is closed, so that
it can become part of a longer stretch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Cut(NamedTuple):
    """A half-open range of offsets."""

    start: int
    end: int
    matches: int
    """How many wanted records are known to be in it; 0: a stretch that makes no run."""


class Matching:
    """One partition, fed in order. ``cuts`` follow each other without a gap from the start."""

    def __init__(self, start: int, size: int) -> None:
        self._size = size
        self._begin = start
        """Where the next cut begins."""
        self._first: int | None = None
        self._last = start
        self._matches = 0
        self.position = start
        """As far as the partition has been read."""
        self.cuts: list[Cut] = []
        """Not taken yet, oldest first."""

    @property
    def begin(self) -> int:
        """Where the oldest cut that is not taken begins, or the next one will."""
        return self.cuts[0].start if self.cuts else self._begin

    @property
    def open_matches(self) -> int:
        """Wanted records in the range that is not closed yet."""
        return self._matches

    @property
    def open_offsets(self) -> int:
        """Offsets that have been read and are in no cut yet."""
        return self.position - self._begin

    def feed(self, matches: Iterable[int], position: int) -> None:
        """Offsets of wanted records, ascending, and the offset up to which all were looked at."""
        for offset in matches:
            if self._first is None:
                self._first = offset
            elif offset >= self._first + self._size:
                self.close()
                self._first = offset
            self._last = offset
            self._matches += 1
        self.position = position
        if self._first is not None and position >= self._first + self._size:
            self.close()

    def close(self) -> None:
        """Close the range that is open, with the stretch before it; without one, the stretch."""
        first = self._first
        if first is None:
            self._cut(self.position, 0)
            return
        self._cut(first, 0)
        self._cut(self._last + 1, self._matches)
        self._first, self._matches = None, 0

    def take_before(self, position: int) -> None:
        """Forget cuts that begin before a position: they were taken in."""
        while self.cuts and self.cuts[0].start < position:
            self.cuts.pop(0)

    def _cut(self, end: int, matches: int) -> None:
        if end > self._begin:
            self.cuts.append(Cut(self._begin, end, matches))
            self._begin = end
