"""One partition on its way into files: what is gathered, and the pieces that are closed. No I/O.

Records are encoded as they come, so that what is held in memory is what will be in the file, to the
byte. Pieces follow each other without a gap from where the lane began.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate
from typing import cast

from connectors.abc import JSON
from connectors.kafka.buffer_settings import Format
from connectors.kafka.filter import Filter
from connectors.kafka.letters import lines
from connectors.kafka.reader import Chunk
from connectors.kafka.settings import KafkaSettings
from connectors.times import SECOND

QUIET = 60.0
"""Seconds after which a stretch without any record goes into the ledger: lag tells the truth."""
LONG = 1_000_000
"""Offsets after which it does at once."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A piece whose file is durable."""

    values: dict[str, JSON]
    """The root ``batch``."""
    source: dict[str, JSON]
    """The input source with which a task finds it."""


@dataclass(kw_only=True)
class Piece:
    """A half-open range of offsets that is closed, and its file."""

    start: int
    end: int
    count: int
    blocks: list[bytes]
    """The content; empty once it is written."""
    size: int
    """Bytes of the content."""
    timestamp: int
    """Of its first record, milliseconds; -1: none."""
    writing: Future[Written] | None = None
    handed: bool = False
    """Whether a run may have it."""
    written: Written | None = None

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return 0 if self.written is not None else self.size


@dataclass(kw_only=True)
class _Open:
    """What is gathered for the next piece."""

    start: int
    end: int
    since: float
    """When its first record came, or it was opened."""
    count: int = 0
    size: int = 0
    timestamp: int = -1
    blocks: list[bytes] = field(default_factory=list[bytes])


class Lane:
    """A partition. Fed in order."""

    def __init__(self, start: int, settings: KafkaSettings, now: float) -> None:
        self._settings = settings
        self._open = _Open(start=start, end=start, since=now)
        self._average = 0.0
        self.pieces: list[Piece] = []
        """Closed and not taken yet, oldest first."""

    @property
    def begin(self) -> int:
        """Where the oldest piece that is not taken begins, or the next one will."""
        return self.pieces[0].start if self.pieces else self._open.start

    @property
    def end(self) -> int:
        """As far as the partition has been read."""
        return self._open.end

    @property
    def open_bytes(self) -> int:
        """Bytes that are gathered and not closed."""
        return self._open.size

    @property
    def record_bytes(self) -> float:
        """Of one record, as it is encoded, lately."""
        return self._average or 1.0

    def feed(self, chunk: Chunk, now: float) -> None:
        """Take in a chunk; closes pieces that are full."""
        settings = self._settings
        rest = [chunk]
        while rest:
            part = rest.pop()
            if not len(part):
                self._open.end = part.next
                continue
            if not self._open.count:
                self._open.since = now
                self._open.timestamp = part.first(1, part.next).timestamps()[0]
            room = settings.file_bytes - self._open.size
            count = min(settings.max_records - self._open.count, self._guess(room))
            if count < len(part):
                part, behind = part.split(count)
                rest.append(behind)
            block = encoded(part, settings.format)
            if len(block) > room:
                count = _fitting(part, block, room, settings.format)
                if count == 0 and self._open.count:
                    self.close()
                    rest.append(part)
                    continue
                if 0 < count < len(part) or len(part) > 1:
                    part, behind = part.split(max(count, 1))
                    rest.append(behind)
                    block = encoded(part, settings.format)
            self._add(block, part)
            if self._open.count >= settings.max_records or self._open.size >= settings.file_bytes:
                self.close()

    def _guess(self, room: int) -> int:
        """About how many records have room for so many bytes, and rather more: encoding them only
        to find that they do not fit costs time."""
        return room if self._average == 0 else int(room / self._average * 1.1) + 1

    def due(self, now: float) -> bool:
        """Whether what is gathered has waited long enough."""
        gathered = self._open
        if gathered.count:
            return now - gathered.since >= self._settings.max_age / SECOND
        span = gathered.end - gathered.start
        return span > 0 and (now - gathered.since >= QUIET or span >= LONG)

    def close(self) -> None:
        """Close what is gathered, if anything is."""
        done = self._open
        if done.end > done.start:
            self.pieces.append(
                Piece(
                    start=done.start,
                    end=done.end,
                    count=done.count,
                    blocks=done.blocks,
                    size=done.size,
                    timestamp=done.timestamp,
                )
            )
            self._open = _Open(start=done.end, end=done.end, since=done.since)

    def take_before(self, position: int) -> None:
        """Forget pieces that begin before a position: they were taken in."""
        while self.pieces and self.pieces[0].start < position:
            self.pieces.pop(0)

    def _add(self, block: bytes, part: Chunk) -> None:
        gathered = self._open
        gathered.blocks.append(block)
        gathered.count += len(part)
        gathered.size += len(block)
        gathered.end = part.next
        self._average = len(block) / len(part)


def encoded(chunk: Chunk, form: Format) -> bytes:
    """The records as they stand in a file, each ended by a newline."""
    if form == "ndjson":
        return lines(chunk)
    values = chunk.values()
    try:
        return b"\n".join(cast(list[bytes], values)) + b"\n"
    except TypeError:  # null among them
        return b"\n".join([value or b"" for value in values]) + b"\n"


def until(chunk: Chunk, limit: int) -> Chunk:
    """What of a chunk is before an offset."""
    if chunk.next <= limit:
        return chunk
    return chunk.first(bisect_left(chunk.offsets(), limit), limit)


def wanted(chunk: Chunk, wanted: Filter) -> Chunk:
    """The records of a chunk that a filter lets pass, covering the same offsets."""
    return chunk.only([wanted.matches(one.key, one.value, one.headers) for one in chunk.records()])


def _fitting(chunk: Chunk, block: bytes, room: int, form: Format) -> int:
    """How many records from the beginning have room for so many bytes."""
    if form == "ndjson":
        sizes = [len(line) + 1 for line in block.split(b"\n")[:-1]]
    else:
        sizes = [len(value or b"") + 1 for value in chunk.values()]
    return bisect_right(list(accumulate(sizes)), room)
