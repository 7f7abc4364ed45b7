"""The content of a file, also of one that has been compressed since."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from typing import Protocol

PACKED = (".gz", ".zst")
"""Endings of compressed files in which a content is found again."""
UNREAD = (*PACKED, ".bz2", ".xz", ".zip", ".lz4", ".Z")
"""Endings of compressed files, which are never followed for their own sake."""
_STEP = 1024 * 1024


class Damaged(ValueError):
    """A compressed file that cannot be read."""


class Content(Protocol):
    """Bytes at offsets, open for reading."""

    packed: bool
    whole: bool
    """False where the last reading has met an end that should not be there."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to so many bytes; fewer at the end. Raises OSError, :class:`Damaged`."""
        ...

    def stat(self) -> os.stat_result:
        """Of the file in which it lies."""
        ...

    def close(self) -> None:
        """May be called twice."""
        ...


class Plain:
    """A file as it is."""

    packed = False
    whole = True

    def __init__(self, file: int) -> None:
        """`file` is a descriptor, which belongs to this object from now on."""
        self._file = file

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file, size, offset)

    def stat(self) -> os.stat_result:
        return os.fstat(self._file)

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


class _Stream(Protocol):
    def read1(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Packed:
    """What is in a compressed file. Read in order it costs what it is worth; going back begins
    from the beginning again. An end that is missing (it is being written) is an end for now."""

    packed = True

    def __init__(self, file: int, name: str) -> None:
        self._file = file
        self._zstd = name.endswith(".zst")
        self._stream: _Stream | None = None
        self._at = 0
        self._seen: tuple[int, int] = (-1, -1)
        self._damage: str | None = None
        self.whole = True

    def read(self, offset: int, size: int) -> bytes:
        info = self.stat()
        now = info.st_size, info.st_mtime_ns
        if self._stream is None or offset < self._at or now != self._seen:
            self._open()
            self._seen = now
        while self._at < offset:
            if not self._next(min(_STEP, offset - self._at)):
                return b""
        blocks: list[bytes] = []
        while size > 0 and (block := self._next(min(_STEP, size))):
            blocks.append(block)
            size -= len(block)
        if self._damage is not None and not blocks:
            raise Damaged(self._damage)
        return b"".join(blocks)

    def stat(self) -> os.stat_result:
        return os.fstat(self._file)

    def close(self) -> None:
        file, self._file = self._file, -1
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if file >= 0:
            os.close(file)

    def _open(self) -> None:
        if self._stream is not None:
            self._stream.close()
        os.lseek(self._file, 0, os.SEEK_SET)
        below = io.FileIO(self._file, "rb", closefd=False)
        self._at = 0
        self.whole, self._damage = True, None
        if self._zstd:
            import zstandard

            self._stream = zstandard.ZstdDecompressor().stream_reader(
                below, read_across_frames=True
            )
        else:
            self._stream = gzip.GzipFile(fileobj=below, mode="rb")

    def _next(self, size: int) -> bytes:
        assert self._stream is not None
        if self._damage is not None:
            return b""
        try:
            # What comes before the damage comes, too.
            block = self._stream.read1(size)
        except EOFError:
            block, self.whole = b"", False
        except (zlib.error, gzip.BadGzipFile, ValueError) as error:
            block = self._damaged(error)
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            block = self._damaged(error)
        self._at += len(block)
        return block

    def _damaged(self, error: Exception) -> bytes:
        self.whole, self._damage = False, f"the compressed file is damaged: {error}"
        return b""


def content(file: int, name: str) -> Content:
    """The content of an open file; its name tells how it is packed."""
    return Packed(file, name) if name.endswith(PACKED) else Plain(file)
