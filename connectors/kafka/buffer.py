"""Mode ``buffer``: the orchestrator reads, and each run gets a file of records.

A partition is read ahead of its runs by a file or two. What was read is remembered until the
position has moved past it; when the position is not where it was expected, it is read again from
there. Memory is bounded: files are closed early, reading pauses, and both clients read ahead only
so far.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from connectors.abc import JSON
from connectors.kafka.buffer_files import Files
from connectors.kafka.buffer_halves import halves, shown
from connectors.kafka.buffer_lane import Lane, Piece, Written, until, wanted
from connectors.kafka.cluster import Ends, TopicPartition
from connectors.kafka.naming import topic_partition
from connectors.kafka.reader import Chunk, Reader, open_reader
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.start import MAX_OFFSET
from connectors.kafka.topic import TopicSource
from connectors.streams import Batch, RunRef, SourceContext, SourceError, Want

READ_BYTES = 4 * 2**20
"""About so much is read at once."""
READ_RECORDS = 10_000
LINGER = 0.1
"""Seconds in which more files may join the first one, as long as records come."""
LOOK = 0.25
"""Seconds between two looks at the ends of partitions."""
_FILTERED = "filtered"
_NOTHING = "no record: compacted, aborted, or markers of transactions"
_SHORT, _LONG = 0.005, 0.1  # seconds that one read waits: with files being written, or without


class BufferSource(TopicSource):
    """Files of records. `poll` waits by itself."""

    def __init__(self, settings: KafkaSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._files = Files(settings, context)
        self._reader: Reader | None = None
        self._lanes: dict[TopicPartition, Lane] = {}
        self._paused: set[TopicPartition] = set()
        self._limits: dict[TopicPartition, int] = {}
        self._swept: set[TopicPartition] = set()
        self._seen: dict[str, Ends] = {}
        self._asked: set[str] = set()
        self._look_at = 0.0
        self._record_bytes = 1.0
        self._failure: SourceError | None = None

    @property
    def interval(self) -> float:
        return 0.0

    @property
    def keep_for(self) -> int:
        return self.settings.keep

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        deadline = time.monotonic() + wait
        looked = self._looked(wants)
        if not looked:
            self.context.stop.wait(wait)
            return []
        lost = self._follow(looked)
        if lost:
            self.check_topic()
            return lost
        self._gather(looked, deadline)
        batches = [self._batch(want, piece) for want, _ in looked for piece in self._ready(want)]
        failure, self._failure = self._failure, None
        if batches:
            self.check_topic()
        elif failure is not None:
            raise failure
        return batches

    def starts(self) -> Mapping[str, str]:
        return {}  # what is in files does not go with the log

    def gone(self, partition: str, start: str) -> bool:
        return False

    def split(self, run: RunRef) -> Sequence[Batch]:
        place = topic_partition(self.settings.topic, run.partition)
        return [
            self._of(run.partition, start, end, written)
            for start, end, written in halves(self._files, self.settings, self.context, place, run)
        ]

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        return shown(self._files, run)

    def forget(self, inputs: Sequence[Mapping[str, JSON]]) -> None:
        self._files.forget(inputs)

    def close(self) -> None:
        self._let_go()
        self._lanes.clear()
        self._files.close()
        super().close()

    def _looked(self, wants: Sequence[Want]) -> Sequence[tuple[Want, Ends]]:
        """The wants with what their partitions hold, or held a moment ago."""
        now = time.monotonic()
        again = now >= self._look_at or (self._reader is not None and self._reader.out_of_range)
        names = {want.partition for want in wants}
        if not again and names <= self._asked:
            return [(w, self._seen[w.partition]) for w in wants if w.partition in self._seen]
        looked = self.look(wants)
        self._seen, self._asked = {want.partition: held for want, held in looked}, names
        self._look_at = now + LOOK
        return looked

    def _follow(self, looked: Sequence[tuple[Want, Ends]]) -> list[Batch]:
        """Have each partition read from its want's position on; returns what is lost."""
        lost: list[Batch] = []
        anew: dict[TopicPartition, int] = {}
        reader = self._open()
        for want, held in looked:
            place, position = self._place(want), int(want.position)
            if self._files.generations.get(place, 0) != want.generation:
                # What was read for the place before the jump has the names of before.
                self._files.discard(self._lanes.pop(place).pieces if place in self._lanes else ())
                self._files.generations[place] = want.generation
            lane = self._lanes.get(place)
            if lane is not None:
                lane.take_before(position)
                if place in reader.out_of_range:
                    lane.close()  # what it holds goes first
            if lane is not None and lane.begin == position and lane.end > position:
                if place not in reader.positions:
                    anew[place] = lane.end
                continue
            gone = self.lost(want, held)
            if gone is not None and want.room > 0:
                lost.append(gone)
            start = position if gone is None else int(gone.end)
            if lane is None or lane.begin != start:
                self._begin(place, want, start)
                anew[place] = start
            elif place not in reader.positions or place in reader.out_of_range:
                anew[place] = lane.end
        try:
            self._assign(reader, anew, {self._place(want) for want, _ in looked})
        except SourceError:
            self._let_go()
            raise
        self._limits = {
            self._place(want): int(want.until) for want, _ in looked if want.until is not None
        }
        return lost

    def _begin(self, place: TopicPartition, want: Want, start: int) -> None:
        if place not in self._swept:
            end = None if want.until is None else int(want.until)
            self._files.sweep(place, int(want.position), end)
            self._swept.add(place)
        before = self._lanes.get(place)
        if before is not None:
            self._files.discard(before.pieces)
        self._lanes[place] = Lane(start, self.settings, time.monotonic())

    def _assign(
        self, reader: Reader, anew: Mapping[TopicPartition, int], wanted: set[TopicPartition]
    ) -> None:
        if gone := self._lanes.keys() - wanted:
            reader.drop(gone)
            self._paused -= gone
            for place in gone:
                self._files.discard(self._lanes.pop(place).pieces)
        if anew:
            reader.assign(anew)
            self._paused -= anew.keys()

    def _gather(self, looked: Sequence[tuple[Want, Ends]], deadline: float) -> None:
        """Read until something is ready and, for a moment, as long as more comes."""
        came = True
        since = None
        while True:
            self._close_due()
            self._throttle(looked)
            ready = any(True for want, _ in looked for _ in self._ready(want))
            now = time.monotonic()
            if ready and since is None:
                since = now
            if self._failure is not None or (
                since is not None and (not came or now - since >= LINGER)
            ):
                return
            came = self._read(0 if ready else max(0, deadline - now))
            if now >= deadline or self.context.stop.is_set():
                return

    def _throttle(self, looked: Sequence[tuple[Want, Ends]]) -> None:
        """Let those stand still that are ahead of their runs, or where they must not go on."""
        full = {
            place
            for want, _ in looked
            if len(self._lanes[place := self._place(want)].pieces) > max(want.room, 1)
            or self._lanes[place].end >= self._limits.get(place, MAX_OFFSET)
        }
        reader = self._open()
        try:
            if stop := full - self._paused:
                reader.pause(stop)
            if go := self._paused - full:
                reader.resume(go)
        except SourceError:
            self._let_go()
            raise
        self._paused = full

    def _read(self, wait: float) -> bool:
        """Read what there is, up to some megabytes; whether anything came."""
        if self._held() >= self.settings.memory:
            # All that is gathered is closed by now: writing it makes room.
            self.context.stop.wait(_SHORT)
            return False
        pending = any(piece.writing for piece in self._pieces())
        reader = self._open()
        room = max(1, min(READ_RECORDS, int(READ_BYTES / self._record_bytes)))
        wait, came = min(wait, _SHORT if pending else _LONG), 0
        while came < room:
            count = min(room - came, reader.stride)
            try:
                chunks = reader.read(count, wait)
            except SourceError:
                self._let_go()
                raise
            now = time.monotonic()
            for chunk in chunks:
                if chunk.partition in self._lanes:
                    self._take(chunk, now)
            got = sum(map(len, chunks))
            came += got
            if got < count:
                break
            wait = 0
        return came > 0

    def _take(self, chunk: Chunk, now: float) -> None:
        lane = self._lanes[chunk.partition]
        chunk = until(chunk, self._limits.get(chunk.partition, MAX_OFFSET))
        if chunk.next <= lane.end:
            return
        if self.settings.filter is not None:
            chunk = wanted(chunk, self.settings.filter)
        lane.feed(chunk, now)
        self._record_bytes = lane.record_bytes

    def _close_due(self) -> None:
        now = time.monotonic()
        for lane in self._lanes.values():
            if lane.due(now):
                lane.close()
        if self._held() >= self.settings.memory // 2:
            # Half of it is for what is gathered, half for what is being written.
            largest = sorted(self._lanes.values(), key=lambda lane: -lane.open_bytes)
            for lane in largest[: 1 + len(largest) // 4]:
                lane.close()
        for place, lane in self._lanes.items():
            for piece in lane.pieces:
                if piece.count and piece.written is None and piece.writing is None:
                    self._files.write(place, piece)

    def _held(self) -> int:
        gathered = sum(lane.open_bytes for lane in self._lanes.values())
        return gathered + sum(piece.held for piece in self._pieces())

    def _pieces(self) -> Iterable[Piece]:
        return (piece for lane in self._lanes.values() for piece in lane.pieces)

    def _ready(self, want: Want) -> Iterator[Piece]:
        """The pieces that can be handed over now. What fails is told once there are none."""
        for piece in self._lanes[self._place(want)].pieces[: want.room]:
            try:
                if piece.count and not self._files.finish(piece):
                    return
            except SourceError as error:
                self._failure = error
                return
            yield piece

    def _batch(self, want: Want, piece: Piece) -> Batch:
        piece.handed = True
        if piece.written is not None:
            at = piece.timestamp * 1000 if piece.timestamp >= 0 else None
            return self._of(want.partition, piece.start, piece.end, piece.written, at)
        reason = _FILTERED if self.settings.filter is not None else _NOTHING
        return Batch(
            partition=want.partition,
            start=str(piece.start),
            end=str(piece.end),
            values={"kafka": self.values(want.partition, piece.start, piece.end)},
            outcome="skipped",
            reason=reason,
        )

    def _of(
        self, partition: str, start: int, end: int, written: Written, at: int | None = None
    ) -> Batch:
        count = written.values["count"]
        return Batch(
            partition=partition,
            start=str(start),
            end=str(end),
            count=count if isinstance(count, int) else None,
            values={"kafka": self.values(partition, start, end), "batch": written.values},
            inputs=[written.source],
            at=at,
        )

    def _place(self, want: Want) -> TopicPartition:
        return topic_partition(self.settings.topic, want.partition)

    def _open(self) -> Reader:
        if self._reader is None:
            settings = self.settings
            connection = settings.connection(self.context.secrets)
            self._reader = open_reader(
                connection, settings.client, isolation=settings.isolation, group=self.group
            )
        return self._reader

    def _let_go(self) -> None:
        """After an error the reader is opened anew, and goes on where the lanes are."""
        reader, self._reader = self._reader, None
        self._paused.clear()
        if reader is not None:
            reader.close()
