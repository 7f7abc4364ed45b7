"""What both modes do with a stream: find shards, read them side by side, cut batches.

A lane per shard holds what was read and is in no batch yet. Kinesis has no call that tells where a
shard ends, so mode ``range`` reads records, too, and keeps nothing of them but their numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from connectors.abc import JSON
from connectors.kinesis.beginnings import beginnings, opened
from connectors.kinesis.client import (
    MAX_LIMIT,
    Client,
    IteratorExpired,
    Record,
    Shard,
    ShardGone,
    Stream,
    Throttled,
)
from connectors.kinesis.clock import Clock
from connectors.kinesis.lane import Cut, Lane
from connectors.kinesis.letters import described
from connectors.kinesis.lineage import expired
from connectors.kinesis.positions import after, at
from connectors.kinesis.reader import Horizon, Read, ShardReader
from connectors.kinesis.settings import KinesisSettings
from connectors.kinesis.tips import Tips
from connectors.streams import (
    Batch,
    Discovery,
    Place,
    RunRef,
    SourceContext,
    SourceError,
    SourceRefused,
    StreamSource,
    Want,
)
from connectors.times import SECOND, instant, key

THREADS = 8
"""Shards that one source reads at the same moment."""
MEMORY = 256 * 1024 * 1024
"""Bytes of records above which batches are closed early and reading pauses."""
PACE = 0.2
"""Seconds between two reads of a shard that has more: AWS allows five a second."""
_PATIENCE = 6  # throttled reads of a shard in a row, over half a minute


class ShardSource(StreamSource):
    """A stream. Subclasses say what is kept of records, and what a batch of them is."""

    def __init__(
        self,
        settings: KinesisSettings,
        context: SourceContext,
        client: Client,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.context = context
        self.client = client
        self._clock = clock or Clock()
        self._cut = Cut(records=settings.max_records, size=settings.size, age=settings.age / SECOND)
        self._tips = Tips(context.data_dir / "tips.json")
        self._stream: Stream | None = None
        self._listed: dict[str, Shard] = {}
        self._lanes: dict[str, Lane] = {}
        self._pool: ThreadPoolExecutor | None = None
        self.generations: dict[str, int] = {}

    @abstractmethod
    def kept(self, record: Record) -> Record:
        """What stays of a record until its batch is made."""

    @abstractmethod
    def batch(self, shard: str, start: str, end: str, records: Sequence[Record]) -> Batch:
        """The run for these records. Raises :class:`connectors.kinesis.lane.TooLarge`."""

    @abstractmethod
    def records_of(self, run: RunRef) -> Sequence[Record]:
        """The records of a run, once more; empty where they are gone."""

    @property
    def interval(self) -> float:
        return 0

    def discover(self, known: Mapping[str, Place]) -> Discovery:
        stream, shards = self.client.stream(), self.client.shards()
        self._stream = stream
        self._listed = {shard.name: shard for shard in shards}
        if known:
            new = opened(shards, known)
        else:
            new = beginnings(self.client, self.settings, stream, shards)
        over = expired(shards, known)
        self._tips.forget(over)
        return Discovery(
            identity=f"{stream.arn} {stream.created}",
            partitions={shard: str(position) for shard, position in new.items()},
            over=over,
        )

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        if self._stream is None:
            self.discover({want.partition: _open(want) for want in wants})
        self.generations = {want.partition: want.generation for want in wants}
        lanes = self._seek(wants)
        rooms = {want.partition: want.room for want in wants}
        active = [lane for lane in lanes if rooms[lane.shard] > 0]
        deadline = self._clock.now() + wait
        while True:
            self._read(active)
            pressed = self._size() > MEMORY
            now = self._clock.now()
            batches = [
                batch
                for lane in active
                for batch in lane.take(
                    rooms[lane.shard], self._cut, now, self.batch, pressed=pressed
                )
            ]
            if batches:
                return batches
            self._complain(active)
            if now >= deadline or self.context.stop.is_set():
                return []
            self._clock.wait(self.context.stop, max(0.005, self._next(active, deadline) - now))

    def lag(self) -> Mapping[str, int]:
        # Behind a shard that is not caught up, Kinesis tells milliseconds and no number.
        return {name: lane.count for name, lane in self._lanes.items() if lane.caught_up}

    def troubles(self) -> Mapping[str, str]:
        return {name: str(lane.trouble) for name, lane in self._lanes.items() if _lasts(lane)}

    def gone(self, partition: str, start: str) -> bool:
        return self._stream is not None and partition not in self._listed

    def split(self, run: RunRef) -> Sequence[Batch]:
        records = self.records_of(run)
        if len(records) < 2:
            return ()
        middle = len(records) // 2
        border = str(after(records[middle - 1].sequence))
        return (
            self.batch(run.partition, run.start, border, records[:middle]),
            self.batch(run.partition, border, run.end, records[middle:]),
        )

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        values = numbers(run)
        if values is None:
            return {}
        first, last, arrived = values
        kept: dict[str, JSON] = {}
        if self._stream is not None:
            kept["expires_at"] = key((arrived + self._stream.retention) * 1000)
        if first == last:
            with suppress(SourceError):
                for record in self.between(run.partition, first, last):
                    kept["record"] = described(record)
        return kept

    def close(self) -> None:
        self._tips.save()
        self._lanes = {}
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        self.client.close()

    def values(self, shard: str, records: Sequence[Record]) -> dict[str, JSON]:
        """What ``${{ kinesis.… }}`` names: `start` and `end` both are records of the batch."""
        stream = self._stream or self.client.stream()
        return {
            "stream": stream.name,
            "arn": stream.arn,
            "region": stream.arn.split(":")[3],
            "endpoint": stream.endpoint,
            "shard": shard,
            "start": str(records[0].sequence),
            "end": str(records[-1].sequence),
            "arrived": key(records[0].arrived * 1000),
        }

    def between(
        self, shard: str, first: int, last: int, kept: Callable[[Record], Record] | None = None
    ) -> list[Record]:
        """The records with these numbers and all between; empty if the first has expired. `kept`
        says what stays of each."""
        found: list[Record] = []
        try:
            iterator: str | None = self.client.iterator(shard, at(first))
            while iterator is not None and not self.context.stop.is_set():
                page = self.client.read(iterator, MAX_LIMIT)
                for record in page.records:
                    if not found and record.sequence != first:
                        return []
                    if record.sequence <= last:
                        found.append(kept(record) if kept else record)
                    if record.sequence >= last:
                        return found
                if not page.records and not page.behind:
                    return found
                iterator = page.next
                self._clock.wait(self.context.stop, PACE)
        except (ShardGone, IteratorExpired):
            return []
        return found

    def _seek(self, wants: Sequence[Want]) -> list[Lane]:
        lanes: dict[str, Lane] = {}
        for want in wants:
            lane = self._lanes.get(want.partition)
            if lane is None:
                lane = Lane(ShardReader(self.client, want.partition))
            if (lane.position, lane.until) != (want.position, want.until):
                seen = self._tips.seen(want.partition, want.position)
                try:
                    lane.seek(want.position, seen=seen, until=want.until)
                except ValueError as error:
                    raise SourceRefused(f"checkpoint of {want.partition}: {error}") from error
            lanes[want.partition] = lane
        self._lanes = lanes
        return list(lanes.values())

    def _read(self, active: Sequence[Lane]) -> None:
        """Read once what is due, and may be read at all."""
        now = self._clock.now()
        if self._size() > MEMORY:
            return
        due = [lane for lane in active if lane.due <= now and lane.wants(self._cut)]
        for lane, answer in zip(due, self._answers(due), strict=True):
            now = self._clock.now()
            if isinstance(answer, SourceError):
                lane.fail(answer, now)
                continue
            pause = PACE if answer.behind else self.settings.poll / SECOND
            lane.add(answer, list(map(self.kept, answer.records)), now, due=now + pause)
            if lane.at_tip and self._stream is not None:
                self._tips.note(lane.shard, lane.position, self._stream.now)

    def _answers(self, due: Sequence[Lane]) -> Sequence[Read | SourceError]:
        if len(due) < 2:
            return [self._ask(lane) for lane in due]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kinesis")
        return list(self._pool.map(self._ask, due))

    def _ask(self, lane: Lane) -> Read | SourceError:
        limit = min(MAX_LIMIT, lane.wants(self._cut))
        seen = self._tips.seen(lane.shard, lane.position)
        listed = self._listed.get(lane.shard)
        try:
            return lane.reader.read(limit, self._horizon(), listed, seen=seen)
        except SourceError as error:
            return error

    def _horizon(self) -> Horizon:
        stream = self._stream or self.client.stream()
        return Horizon(oldest=stream.now - stream.retention, created=stream.created)

    def _size(self) -> int:
        return sum(lane.size for lane in self._lanes.values())

    def _complain(self, active: Sequence[Lane]) -> None:
        """Raise what keeps every shard from being read, once each time. What keeps some of them is
        among `troubles`."""
        lasting = [lane for lane in active if _lasts(lane)]
        news = [lane.trouble for lane in lasting if not lane.told]
        if news and len(lasting) == len(active):
            for lane in lasting:
                lane.told = True
            raise next(trouble for trouble in news if trouble is not None)

    def _next(self, active: Sequence[Lane], deadline: float) -> float:
        """When there is something to do."""
        moments = [deadline]
        for lane in active:
            closes = lane.next_close(self._cut)
            if lane.trouble is not None or lane.wants(self._cut):
                moments.append(lane.due)
            if closes is not None and lane.trouble is None:
                moments.append(closes)
        return min(moments)


def numbers(run: RunRef) -> tuple[int, int, int] | None:
    """First and last sequence number of a run, and when the first record arrived (milliseconds)."""
    match run.values.get("kinesis"):
        case {"start": str(first), "end": str(last), "arrived": str(arrived)}:
            return int(first), int(last), instant(arrived) // 1000
        case _:
            return None


def _lasts(lane: Lane) -> bool:
    """Whether a shard cannot be read, and not only for a moment because too many read it."""
    if lane.trouble is None:
        return False
    return lane.failures >= _PATIENCE or not isinstance(lane.trouble, Throttled)


def _open(want: Want) -> Place:
    return Place(planned=want.position, done=want.position)
