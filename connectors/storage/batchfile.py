"""Files of records: gathered, compressed, closed; read again and halved.

A file holds one record a line. The bytes depend on the records alone, not on how they came
together, so that writing a batch again after a crash makes the same object.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TypeAlias

from connectors.storage import ndjson
from connectors.storage.spool import PIECE, Spool

Format: TypeAlias = Literal["ndjson", "values"]
"""``ndjson``: a JSON object a record (see :mod:`connectors.storage.ndjson`). ``values``: the bare
values, each followed by a newline, whatever is in them."""

Compression: TypeAlias = Literal["none", "gzip", "zstd"]

SPOOL_ABOVE = 16 * 1024 * 1024
_LEVEL = 1
_SUFFIXES: dict[Compression, str] = {"none": "", "gzip": ".gz", "zstd": ".zst"}


class _Compressor(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class DamagedFile(ValueError):
    """A file that is not compressed as it should be, or ends too soon."""


@dataclass(frozen=True, kw_only=True)
class FinishedFile:
    """A closed file of records."""

    body: Sequence[bytes]
    """For `ObjectStore.put`. What lies in a temporary file is gone after `discard`."""
    size: int
    """Bytes of the body."""
    raw_size: int
    """Bytes before compression."""
    count: int
    """Records."""
    lines: int
    """Lines. More than `count` where values hold newlines: then lines are not records."""

    def sha256(self) -> str:
        """The hash of the body, in hexadecimal. Reads all of it."""
        digest = hashlib.sha256()
        for chunk in self.body:
            digest.update(chunk)
        return digest.hexdigest()

    def content(self) -> bytes:
        """The whole body in memory: for small files."""
        return b"".join(self.body)

    def discard(self) -> None:
        """Let go of the temporary file, if there is one. May be called twice."""
        if isinstance(self.body, Spool):
            self.body.close()


class BatchFile:
    """A file that is being filled. For one thread."""

    def __init__(
        self,
        *,
        compression: Compression = "none",
        spool_dir: Path | None = None,
        spool_above: int = SPOOL_ABOVE,
    ) -> None:
        """Up to ``spool_above`` bytes of the finished form stay in memory; what is larger goes to
        a temporary file in ``spool_dir`` (None: the system's), which is made on use. The file
        has no name, so that nothing is left when the process is killed."""
        self._compressor = _compressor(compression)
        self._spool_dir = spool_dir
        self._spool_above = spool_above
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._chunks: list[bytes] = []
        self._spool: Spool | None = None
        self._written = 0
        self.count = 0
        """Records so far."""
        self.raw_size = 0
        """Bytes so far, before compression."""
        self.lines = 0

    @property
    def memory(self) -> int:
        """Bytes of content that it holds in memory."""
        return self._pending_size + (0 if self._spool else self._written)

    def add_values(self, values: Sequence[bytes]) -> None:
        """Records in the format ``values``."""
        if values:
            block = b"\n".join(values)
            self._add(block, len(values), block.count(b"\n") + 1)
            self._add(b"\n", 0, 0)

    def add_lines(self, block: bytes, count: int) -> None:
        """``count`` records as whole lines, each with its newline: what `ndjson.join` makes."""
        self._add(block, count, count)

    def finish(self) -> FinishedFile:
        """Close the file. Nothing can be added afterwards."""
        self._feed(all_of_it=True)
        if self._compressor is not None:
            self._write(self._compressor.flush())
        return FinishedFile(
            body=self._chunks if self._spool is None else self._spool,
            size=self._written,
            raw_size=self.raw_size,
            count=self.count,
            lines=self.lines,
        )

    def discard(self) -> None:
        """Let go of everything. May be called twice, and instead of `finish`."""
        self._pending, self._chunks, self._pending_size, self._written = [], [], 0, 0
        if self._spool is not None:
            self._spool.close()

    def _add(self, block: bytes, count: int, lines: int) -> None:
        self.count += count
        self.lines += lines
        self.raw_size += len(block)
        self._pending.append(block)
        self._pending_size += len(block)
        if self._pending_size >= PIECE:
            self._feed(all_of_it=False)

    def _feed(self, *, all_of_it: bool) -> None:
        if self._compressor is None:
            for block in self._pending:
                self._write(block)
            self._pending, self._pending_size = [], 0
            return
        joined = b"".join(self._pending)
        # Pieces of one size, so that what a compressor makes of them does not depend on the blocks.
        end = len(joined) if all_of_it else len(joined) - len(joined) % PIECE
        view = memoryview(joined)
        for start in range(0, end, PIECE):
            self._write(self._compressor.compress(view[start : min(start + PIECE, end)]))
        rest = joined[end:]
        self._pending, self._pending_size = [rest] if rest else [], len(rest)

    def _write(self, block: bytes) -> None:
        if not block:
            return
        self._written += len(block)
        if self._spool is None and self._written > self._spool_above:
            self._spool = Spool(self._spool_dir)
            for chunk in self._chunks:
                self._spool.write(chunk)
            self._chunks = []
        if self._spool is None:
            self._chunks.append(block)
        else:
            self._spool.write(block)


@dataclass(frozen=True, kw_only=True)
class Halves:
    """A file of records in two."""

    first: FinishedFile
    second: FinishedFile
    boundary: bytes
    """The first line of the second half."""


def split(
    stream: BinaryIO,
    *,
    count: int,
    compression: Compression = "none",
    spool_dir: Path | None = None,
    max_line: int = ndjson.MAX_LINE,
) -> Halves:
    """Halve a file of ``count`` records, at least two, that is compressed in that way.

    Raises ValueError where it does not have ``count`` lines (values that hold newlines, an end
    that is missing): also :class:`ndjson.LineTooLong` and :class:`DamagedFile`.
    """
    if count < 2:
        raise ValueError(f"a file of {count} records has no halves")
    files = [BatchFile(compression=compression, spool_dir=spool_dir) for _ in range(2)]
    boundary = b""
    try:
        number = 0
        with reader(stream, compression) as content:
            for number, line in enumerate(ndjson.lines(content, max_line), 1):
                if number == count // 2 + 1:
                    boundary = line
                files[number > count // 2].add_lines(line + b"\n", 1)
        if number != count:
            raise ValueError(f"the file has {number} lines, not {count}: lines are not records")
        first, second = (file.finish() for file in files)
    except BaseException:
        for file in files:
            file.discard()
        raise
    return Halves(first=first, second=second, boundary=boundary)


def reader(stream: BinaryIO, compression: Compression) -> BinaryIO:
    """What was written, from the bytes of the file. Closing it closes the stream.

    Reading raises :class:`DamagedFile` for what is not compressed in that way.
    """
    match compression:
        case "none":
            return stream
        case "gzip":
            inflated = gzip.GzipFile(fileobj=stream, mode="rb")
            damaged = (zlib.error, gzip.BadGzipFile, EOFError)
            return io.BufferedReader(_Content(inflated, stream, damaged))
        case "zstd":
            import zstandard

            inner = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
            return io.BufferedReader(_Content(inner, stream, (zstandard.ZstdError,)))


def file_name(compression: Compression) -> str:
    """The last part of an object's name: ``batch.ndjson``, ``batch.ndjson.gz``, …"""
    return f"batch.ndjson{_SUFFIXES[compression]}"


def _compressor(compression: Compression) -> _Compressor | None:
    match compression:
        case "none":
            return None
        case "gzip":
            # 31: with gzip's header, which zlib writes without a time.
            return zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
        case "zstd":
            import zstandard

            return zstandard.ZstdCompressor(level=_LEVEL).compressobj()


class _Content(io.RawIOBase):
    """Decompresses, and closes the stream below it, too."""

    def __init__(
        self, inner: _Readable, below: BinaryIO, damaged: tuple[type[Exception], ...]
    ) -> None:
        super().__init__()
        self._inner = inner
        self._below = below
        self._damaged = damaged

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            block = self._inner.read(len(buffer))
        except self._damaged as error:
            raise DamagedFile(f"the file is damaged: {error}") from error
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            self._below.close()
        super().close()
