"""Remembers when a shard was last seen to have nothing behind a position.

Kept in a file, because only that tells a quiet shard from one whose records expired while nobody
looked. Without the file (another machine, a lost disk) the stretch counts as lost: a false alarm,
never a silent gap.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any, cast

_EVERY = 60_000  # milliseconds of the service's clock between two writes of the file


class Tips:
    """By shard: a position, and when nothing was behind it, milliseconds since 1970."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = 0
        self._dirty = False

    @cached_property
    def _tips(self) -> dict[str, tuple[str, int]]:
        """Read on first use: opening a source does no I/O."""
        return _read(self._path)

    def note(self, shard: str, position: str, now: int) -> None:
        """Nothing is behind this position."""
        if self._tips.get(shard) == (position, now):
            return
        moved = self._tips.get(shard, ("", 0))[0] != position
        self._tips[shard] = (position, now)
        self._dirty = True
        if moved or now >= self._saved + _EVERY:
            self._saved = now
            self.save()

    def seen(self, shard: str, position: str) -> int:
        """When nothing was behind this position; 0 where nobody knows."""
        noted, at = self._tips.get(shard, ("", 0))
        return at if noted == position else 0

    def forget(self, shards: Collection[str]) -> None:
        """These are over."""
        for shard in shards:
            self._dirty |= self._tips.pop(shard, None) is not None

    def save(self) -> None:
        """Write the file. A disk that is full or away costs a false alarm at most."""
        if not self._dirty:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".new")
            temporary.write_text(json.dumps(self._tips), encoding="utf-8")
            os.replace(temporary, self._path)
            self._dirty = False


def _read(path: Path) -> dict[str, tuple[str, int]]:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    found: dict[str, tuple[str, int]] = {}
    if isinstance(data, dict):
        for shard, tip in cast(dict[str, Any], data).items():
            match tip:
                case [str(position), int(at)]:
                    found[shard] = (position, at)
                case _:
                    pass
    return found
