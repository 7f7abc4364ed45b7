"""Mode ``range`` with a filter: records are looked at, so that only wanted ones make runs.

What was looked at is remembered until the position has moved past it; when the position is not
where it was expected, the partition is looked at again from there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from connectors.kafka.cluster import Ends, TopicPartition
from connectors.kafka.filter import Filter
from connectors.kafka.matching import Matching
from connectors.kafka.naming import topic_partition
from connectors.kafka.range import RangeSource
from connectors.kafka.reader import Chunk, Reader, open_reader
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.start import MAX_OFFSET
from connectors.streams import Batch, SourceContext, SourceError, Want
from connectors.times import SECOND

READ_AT_ONCE = 5_000
LOOK = 1.0
"""Seconds that one `poll` spends on looking, unless it has something to hand over before."""
AHEAD = 50
"""Cuts of a partition after which looking waits for runs."""
QUIET = 60.0
"""Seconds after which a stretch without a match goes into the ledger: lag tells the truth."""
LONG = 1_000_000
"""Offsets after which it does at once."""


class _Scanned:
    """One partition: what was looked at, and since when something is waiting to be closed."""

    def __init__(self, start: int, size: int, now: float) -> None:
        self.matching = Matching(start, size)
        self.match_since: float | None = None
        self.quiet_since = now

    def feed(self, chunk: Chunk, wanted: Filter, now: float) -> None:
        cuts = len(self.matching.cuts)
        offsets = [
            record.offset
            for record in chunk.records()
            if wanted.matches(record.key, record.value, record.headers)
        ]
        self.matching.feed(offsets, chunk.next)
        if len(self.matching.cuts) > cuts:
            self.match_since, self.quiet_since = None, now
        if self.matching.open_matches and self.match_since is None:
            self.match_since = now

    def close_if(self, settings: KafkaSettings, now: float) -> None:
        """Close what has waited long enough or is large enough."""
        matching = self.matching
        if self.match_since is not None:
            enough = settings.min_records
            waited = now - self.match_since >= settings.max_wait / SECOND
            goes = waited or (enough is not None and matching.open_matches >= enough)
        else:
            goes = now - self.quiet_since >= QUIET or matching.open_offsets >= LONG
        if goes:
            matching.close()
            self.match_since, self.quiet_since = None, now


class FilteredSource(RangeSource):
    """Ranges around the records that a filter wants."""

    def __init__(self, settings: KafkaSettings, context: SourceContext, wanted: Filter) -> None:
        super().__init__(settings, context)
        self._wanted = wanted
        self._reader: Reader | None = None
        self._scanned: dict[TopicPartition, _Scanned] = {}
        self._paused: set[TopicPartition] = set()

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        looked = self.look(wants)
        if not looked:
            return []
        batches: list[Batch] = []
        self._follow(looked)
        deadline = time.monotonic() + min(wait, LOOK)
        while True:
            self._read()
            now = time.monotonic()
            batches = [batch for want, held in looked for batch in self._ready(want, held, now)]
            caught_up = all(self._caught_up(want, held) for want, held in looked)
            if batches or caught_up or now >= deadline or self.context.stop.is_set():
                break
        if batches:
            self.check_topic()
        return batches

    def close(self) -> None:
        self._let_go()
        super().close()

    def _follow(self, looked: Sequence[tuple[Want, Ends]]) -> None:
        """Have each partition looked at from its want's position on."""
        reader = self._open()
        now = time.monotonic()
        lost = set(reader.out_of_range)
        anew: dict[TopicPartition, int] = {}
        for want, held in looked:
            place = topic_partition(self.settings.topic, want.partition)
            position = max(int(want.position), held.start)
            scanned = self._scanned.get(place)
            if scanned is not None:
                scanned.matching.take_before(position)
            if scanned is None or scanned.matching.begin != position or place in lost:
                self._scanned[place] = _Scanned(position, self.settings.max_records, now)
                anew[place] = position
        try:
            wanted = {topic_partition(self.settings.topic, want.partition) for want, _ in looked}
            if gone := self._scanned.keys() - wanted:
                reader.drop(gone)
                self._paused -= gone
                for place in gone:
                    del self._scanned[place]
            if anew:
                reader.assign(anew)
                self._paused -= anew.keys()
            self._throttle(reader)
        except SourceError:
            self._let_go()
            raise

    def _throttle(self, reader: Reader) -> None:
        """Partitions that are far ahead of their runs stand still."""
        full = {place for place, one in self._scanned.items() if len(one.matching.cuts) >= AHEAD}
        if stop := full - self._paused:
            reader.pause(stop)
        if go := self._paused - full:
            reader.resume(go)
        self._paused = full

    def _read(self) -> None:
        reader = self._open()
        now = time.monotonic()
        try:
            for chunk in reader.read(READ_AT_ONCE, 0.1):
                if chunk.partition in self._scanned:
                    self._scanned[chunk.partition].feed(chunk, self._wanted, now)
            self._throttle(reader)
        except SourceError:
            self._let_go()
            raise

    def _ready(self, want: Want, held: Ends, now: float) -> list[Batch]:
        scanned = self._scanned[topic_partition(self.settings.topic, want.partition)]
        scanned.close_if(self.settings, now)
        batches: list[Batch] = []
        lost = self.lost(want, held)
        if lost is not None and want.room > 0:
            batches.append(lost)
        limit = MAX_OFFSET if want.until is None else int(want.until)
        for start, end, matches in scanned.matching.cuts:
            if len(batches) >= want.room or start >= limit:
                break
            batches.append(self._batch(want.partition, start, min(end, limit), matches))
        return batches

    def _batch(self, partition: str, start: int, end: int, matches: int) -> Batch:
        if matches:
            return self.batch(partition, start, end, matches)
        return Batch(
            partition=partition,
            start=str(start),
            end=str(end),
            values={"kafka": self.values(partition, start, end)},
            outcome="skipped",
            reason="filtered",
        )

    def _caught_up(self, want: Want, held: Ends) -> bool:
        place = topic_partition(self.settings.topic, want.partition)
        return place in self._paused or self._scanned[place].matching.position >= held.end

    def _open(self) -> Reader:
        if self._reader is None:
            settings = self.settings
            connection = settings.connection(self.context.secrets)
            self._reader = open_reader(
                connection, settings.client, isolation=settings.isolation, group=self.group
            )
        return self._reader

    def _let_go(self) -> None:
        """After an error everything is looked at anew."""
        reader, self._reader = self._reader, None
        self._scanned.clear()
        self._paused.clear()
        if reader is not None:
            reader.close()
