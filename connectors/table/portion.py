"""How many rows are asked for at once: so many that a look stays within memory, as long as the next
rows are about as large as the last ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

MOST = 1000
"""Rows of one look, and of one statement."""
_FIRST = 100
_BYTES = 32 * 2**20


class Portion:
    """Of one table. One thread at a time."""

    def __init__(self) -> None:
        self.most = _FIRST
        """So many rows."""

    def came(self, rows: Sequence[Iterable[Any]]) -> None:
        """A look has brought these, as the driver gives them."""
        if rows:
            held = sum(len(v) for row in rows for v in row if isinstance(v, (str, bytes)))
            self.most = max(1, min(MOST, _BYTES * len(rows) // max(1, held)))
