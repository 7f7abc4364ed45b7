"""What has been read of one shard and is in no batch yet, and how it is cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from connectors.kinesis import positions
from connectors.kinesis.client import Record
from connectors.kinesis.reader import Read, ShardReader
from connectors.streams import END, Batch, Outcome, SourceError, SourceRefused


@dataclass(frozen=True, kw_only=True)
class Cut:
    """When a batch is closed."""

    records: int
    size: int
    """Bytes of values and keys."""
    age: float
    """Seconds since its first record was read."""


Make: TypeAlias = Callable[[str, str, str, Sequence[Record]], Batch]
"""Makes the batch of (shard, start, end, records). What it writes is durable afterwards. Raises
:class:`TooLarge`."""


class TooLarge(SourceRefused):
    """So many records do not fit into one batch; said of a single one, it fits into none."""


def weight(record: Record) -> int:
    """Bytes that a record takes."""
    return len(record.data) + len(record.key)


_BACK_OFF = 0.5
_LONGEST = 30.0


class Lane:
    """One shard that is being read.

    `position` is where its next batch begins; `until`, where it is set, is a position at which
    records begin that are in a run already: the last batch before it ends exactly there.
    """

    def __init__(self, reader: ShardReader) -> None:
        self.reader = reader
        self.position = ""
        self.until: str | None = None
        self.size = 0
        self.due = 0.0
        self.caught_up = False
        self.trouble: SourceError | None = None
        """What the last read, or the last batch, has failed with."""
        self.told = False
        self.failures = 0
        self._entries: list[Record] = []
        self._noticed: list[float] = []  # when each entry was read
        self._hidden: list[Record] = []  # behind a stretch that is lost
        self._lost: str | None = None
        self._ended = False
        self._reached = False  # `until`

    @property
    def shard(self) -> str:
        return self.reader.shard

    @property
    def count(self) -> int:
        """Records that are in no batch yet."""
        return len(self._entries) + len(self._hidden)

    @property
    def at_tip(self) -> bool:
        """Whether nothing is known to be, or can have been, behind `position`."""
        return self.caught_up and not self.count and not self._lost and self.reader.proven

    def seek(self, position: str, *, seen: int, until: str | None = None) -> None:
        """Forget what was read and go on from here. Raises ``ValueError`` for no position."""
        self.reader.seek(positions.parse(position), seen=seen)
        self.position, self.until = position, until
        self._reached = False
        self.size = 0
        self.due = 0.0
        self.caught_up = False
        self._entries, self._noticed, self._hidden, self._lost = [], [], [], None
        self._ended = False

    def wants(self, cut: Cut) -> int:
        """How many more records may be read now."""
        if self._ended or self._reached or self._lost or self.size >= cut.size:
            return 0
        return max(0, cut.records - len(self._entries))

    def add(self, read: Read, records: Sequence[Record], now: float, *, due: float) -> None:
        """Take in what a read has brought, with as much of its `records` as is needed."""
        self.trouble, self.failures = None, 0
        self.due = due
        self.caught_up = read.behind == 0
        self._ended = read.ended
        if self.until is not None:
            records = self._up_to(self.until, records)
        self.size += sum(map(weight, records))
        if read.lost:
            self._lost, self._hidden = read.lost, list(records)
        else:
            self._entries += records
            self._noticed += [now] * len(records)

    def fail(self, error: SourceError, now: float) -> None:
        """Leave the shard alone for a while, longer each time; after a no for longest."""
        self.failures += 1
        self.trouble, self.told = error, False
        doubled = _BACK_OFF * 2 ** min(self.failures - 1, 10)
        self.due = now + (_LONGEST if isinstance(error, SourceRefused) else min(_LONGEST, doubled))

    def next_close(self, cut: Cut) -> float | None:
        """When a batch that is not full will be closed; None where there is none."""
        return self._noticed[0] + cut.age if self._entries else None

    def take(self, room: int, cut: Cut, now: float, make: Make, *, pressed: bool) -> list[Batch]:
        """At most `room` batches that may run now. `pressed`: whether to close early.

        Where `make` raises, the batches before it are returned and the error is kept as `trouble`.
        """
        batches: list[Batch] = []
        while len(batches) < room and (self.trouble is None or self.due <= now):
            try:
                batch = self._next(cut, now, make, pressed=pressed)
            except SourceError as error:
                self.fail(error, now)
                break
            if batch is None:
                break
            batches.append(batch)
            self.position = batch.end
        return batches

    def _next(self, cut: Cut, now: float, make: Make, *, pressed: bool) -> Batch | None:
        if self._entries:
            length, full = self._piece(cut)
            closing = self._ended or self._reached or self._lost is not None or pressed
            if full or closing or self._noticed[0] + cut.age <= now:
                return self._cut_off(length, make)
            return None
        if self._lost is not None:
            return self._gap(self._lost)
        if self._reached and self.until is not None and self.position != self.until:
            return self._mark("skipped", self.until, "empty: no record before the next run")
        if self._ended and self.position != END:
            return self._mark("skipped", END, "closed: the shard has no further records")
        return None

    def _piece(self, cut: Cut) -> tuple[int, bool]:
        """How many entries fit into a batch, and whether it is full with them."""
        size = 0
        for index, entry in enumerate(self._entries):
            if index == cut.records or (index and size + weight(entry) > cut.size):
                return index, True
            size += weight(entry)
        count = len(self._entries)
        return count, count == cut.records or size >= cut.size

    def _cut_off(self, length: int, make: Make) -> Batch:
        while True:
            entries = self._entries[:length]
            last = length == len(self._entries) and self._lost is None
            end = (self._end() if last else None) or str(positions.after(entries[-1].sequence))
            try:
                batch = make(self.shard, self.position, end, entries)
            except TooLarge:
                if length == 1:
                    raise
                length //= 2
                continue
            del self._entries[:length], self._noticed[:length]
            self.size -= sum(map(weight, entries))
            return batch

    def _gap(self, reason: str) -> Batch:
        first = str(positions.at(self._hidden[0].sequence)) if self._hidden else None
        batch = self._mark("lost", first or self._end() or END, reason)
        self._entries, self._hidden, self._lost = self._hidden, [], None
        self._noticed = [0.0] * len(self._entries)
        return batch

    def _end(self) -> str | None:
        """Where the last batch ends, once nothing more is to be read."""
        if self._reached:
            return self.until
        return END if self._ended else None

    def _up_to(self, until: str, records: Sequence[Record]) -> Sequence[Record]:
        """Those that are in no run yet. Notes when there cannot be more of them."""
        limit = positions.parse(until)
        if limit.kind not in ("at", "after"):
            return records
        # The end of the shard, too, is behind a run that is there already.
        last = limit.number - (limit.kind == "at")
        within = [record for record in records if record.sequence <= last]
        reached = bool(within) and within[-1].sequence == limit.number
        self._reached = self._ended or reached or len(within) < len(records)
        self._ended = False
        return within

    def _mark(self, outcome: Outcome, end: str, reason: str) -> Batch:
        return Batch(
            partition=self.shard,
            start=self.position,
            end=end,
            count=0 if outcome == "skipped" else None,
            outcome=outcome,
            reason=reason,
        )
