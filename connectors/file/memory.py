"""When somebody looked last: what only this machine needs to know, and can do without."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICK = 20 * 10**6  # nanoseconds by which a file system's clock may be behind
_NOTHING = b"nothing"


class Memory:
    """A file whose time is that of the last look, and whose content says whether the trigger has
    begun where there was nothing: what comes up later, also while nobody looks, is new then."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def at(self) -> int | None:
        """When the last look began, nanoseconds since the epoch; None: never, as far as is
        known."""
        try:
            return self._file.stat().st_mtime_ns
        except OSError:
            return None

    @property
    def nothing_yet(self) -> bool:
        """Whether there has been nothing so far."""
        try:
            return self._file.read_bytes() == _NOTHING
        except OSError:
            return False

    def looked(self, at: int, *, nothing_yet: bool) -> None:
        """Remember a look. That this fails matters only to those who are away the next moment."""
        with suppress(OSError):
            if self.at is None or self.nothing_yet != nothing_yet:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.write_bytes(_NOTHING if nothing_yet else b"")
            os.utime(self._file, ns=(at - _TICK, at - _TICK))
