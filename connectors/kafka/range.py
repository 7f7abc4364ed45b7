"""Mode ``range``: jobs read exact ranges of offsets themselves; no record passes through here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from connectors.abc import JSON
from connectors.kafka.cluster import Ends
from connectors.kafka.letters import DeadRange, keep
from connectors.kafka.naming import topic_partition
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.topic import TopicSource
from connectors.streams import Batch, RunRef, SourceContext, Want
from connectors.times import SECOND


def pieces(position: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Half-open ranges of ``size`` offsets each, without what is left over behind them."""
    for start in range(position, end - size + 1, size):
        yield start, start + size


class Noticed:
    """Since when an incomplete range has been waiting, by partition."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def since(self, partition: str, start: int, end: int, now: float) -> float:
        """When a record at ``start`` was first seen, given that the partition ends at ``end``."""
        seen = self._seen.get(partition)
        if seen is None or start >= seen[0]:
            seen = self._seen[partition] = (end, now)
        return seen[1]

    def nothing(self, partition: str) -> None:
        """Nothing is waiting."""
        self._seen.pop(partition, None)


class RangeSource(TopicSource):
    """Plans ranges from the ends of partitions alone."""

    def __init__(self, settings: KafkaSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._noticed = Noticed()

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        batches = [batch for want, held in self.look(wants) for batch in self._plan(want, held)]
        if batches:
            self.check_topic()
        return batches

    def given(self, partition: str, start: str, end: str) -> Mapping[str, JSON]:
        return self.batch(partition, int(start), int(end)).values

    def split(self, run: RunRef) -> Sequence[Batch]:
        start, end = int(run.start), int(run.end)
        middle = (start + end) // 2
        if middle == start:
            return ()
        return self.batch(run.partition, start, middle), self.batch(run.partition, middle, end)

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        held = self.ends([run.partition])[run.partition]
        start, end = max(int(run.start), held.start), min(int(run.end), held.end)
        if start >= end:
            return {}
        dead = DeadRange(
            place=topic_partition(self.settings.topic, run.partition),
            start=start,
            end=end,
            retention_ms=self.retention_ms,
        )
        return keep(self.settings, self.context, dead)

    def batch(self, partition: str, start: int, end: int, count: int | None = None) -> Batch:
        """The run of a range."""
        return Batch(
            partition=partition,
            start=str(start),
            end=str(end),
            count=count,
            values={"kafka": self.values(partition, start, end)},
        )

    def _plan(self, want: Want, held: Ends) -> list[Batch]:
        batches: list[Batch] = []
        lost = self.lost(want, held)
        if lost is not None and want.room > 0:
            batches.append(lost)
        position, size = max(int(want.position), held.start), self.settings.max_records
        if position >= held.end:
            self._noticed.nothing(want.partition)
            return batches
        left_over = held.end - (held.end - position) % size
        # Watched in any case, so that what waits for room does not wait for `max_wait` again.
        goes = self._goes(want.partition, left_over, held.end)
        for start, end in pieces(position, held.end, size):
            if len(batches) >= want.room:
                return batches
            batches.append(self.batch(want.partition, start, end))
        if goes and len(batches) < want.room:
            batches.append(self.batch(want.partition, left_over, held.end))
        return batches

    def _goes(self, partition: str, start: int, end: int) -> bool:
        """Whether an incomplete range, the last of a partition, goes now."""
        if start == end:
            self._noticed.nothing(partition)
            return False
        now = time.monotonic()
        since = self._noticed.since(partition, start, end, now)
        enough = self.settings.min_records
        if enough is not None and end - start >= enough:
            return True
        return now - since >= self.settings.max_wait / SECOND
