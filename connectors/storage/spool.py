"""A temporary file that reads as a sequence of its pieces.

It has no name, so that nothing is left of it when the process is killed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import overload

PIECE = 1024 * 1024
"""Bytes of a piece; the last one may be shorter."""


class Spool(Sequence[bytes]):
    """A file that is written once, and then read as often as one likes."""

    def __init__(self, directory: Path | None) -> None:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - see close
        self._size = 0

    def write(self, block: bytes) -> None:
        """Append a block."""
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._size += len(block)

    def __len__(self) -> int:
        return (self._size + PIECE - 1) // PIECE

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        start = range(len(self))[index] * PIECE
        return os.pread(self._file.fileno(), PIECE, start)

    def close(self) -> None:
        """Give the file up. May be called twice."""
        self._file.close()
