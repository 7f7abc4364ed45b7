"""A stream of Kinesis in memory that does what the service may do, when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from connectors.abc import JSON
from connectors.kinesis.buffer import BufferSource
from connectors.kinesis.client import (
    Client,
    IteratorExpired,
    Page,
    Record,
    Shard,
    ShardGone,
    Stream,
)
from connectors.kinesis.clock import Clock
from connectors.kinesis.positions import Position
from connectors.kinesis.range import RangeSource
from connectors.kinesis.settings import parse_settings
from connectors.kinesis.source import ShardSource
from connectors.streams import (
    END,
    Batch,
    Place,
    RunRef,
    SourceContext,
    SourceUnavailable,
    StreamSource,
    Want,
)

DAY = 86_400_000  # milliseconds
BEGUN = 1_750_000_000_000


class StandingClock(Clock):
    """Stands still but for waits."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def wait(self, stop: threading.Event, seconds: float) -> None:
        self.at += seconds


@dataclass
class ScriptedShard:
    parents: tuple[str, ...] = ()
    records: list[Record] = field(default_factory=list[Record])
    closed: bool = False
    last: int = 0


class ScriptedKinesis(Client):
    """One stream. `faults` are raised by the next reads, `page` bounds what one read gives."""

    def __init__(self, shards: int = 1) -> None:
        self.now = BEGUN
        self.created = BEGUN - 1000
        self.retention = DAY
        self.page = 10_000
        self.blank = 0
        """So many reads give nothing although there is more."""
        self.ends = True
        """Whether the iterator of a closed shard comes to an end."""
        self.faults: list[Exception] = []
        self.shard: dict[str, ScriptedShard] = {}
        self.asked: list[str] = []
        self.closed = False
        self._iterators: dict[str, tuple[str, int]] = {}
        self._number = 10**20
        self._lock = threading.Lock()
        for _ in range(shards):
            self.open()

    def open(self, *parents: str) -> str:
        """A new shard, which closes its parents."""
        name = f"shardId-{len(self.shard):012d}"
        for parent in parents:
            self._number += 1
            records = self.shard[parent].records
            last = self._number if self.ends or not records else records[-1].sequence
            self.shard[parent].closed, self.shard[parent].last = True, last
        self.shard[name] = ScriptedShard(parents)
        return name

    def put(self, shard: str, count: int = 1, data: bytes = b"") -> list[Record]:
        """New records; their numbers have gaps, and pass those of every other shard."""
        assert not self.shard[shard].closed
        records: list[Record] = []
        for _ in range(count):
            self._number += 3
            number = self._number
            content = data or f"value {number}".encode()
            records.append(Record(number, self.now, f"key {number % 7}", content))
        self.shard[shard].records += records
        return records

    def expire_records(self, shard: str, before: int) -> None:
        """Retention removes what has a lower number."""
        kept = [record for record in self.shard[shard].records if record.sequence >= before]
        self.shard[shard].records = kept

    def expire_iterators(self) -> None:
        """Nobody has used them for five minutes."""
        self._iterators.clear()

    def open_shards(self) -> list[str]:
        return [name for name, shard in self.shard.items() if not shard.closed]

    def stream(self) -> Stream:
        arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"
        return Stream(
            name="clicks",
            arn=arn,
            endpoint="https://kinesis.eu-central-1.amazonaws.com",
            created=self.created,
            retention=self.retention,
            now=self.now,
        )

    def shards(self, open_at: int | None = None) -> Sequence[Shard]:
        return [
            Shard(name=name, parents=shard.parents, last=shard.last if shard.closed else None)
            for name, shard in self.shard.items()
        ]

    def iterator(self, shard: str, position: Position) -> str:
        if shard not in self.shard:
            raise ShardGone(shard)
        match position.kind:
            case "TRIM_HORIZON":
                lowest = 0
            case "at":
                lowest = position.number
            case "after":
                lowest = position.number + 1
            case "time":
                second = position.number // 1000 * 1000
                later = [r.sequence for r in self.shard[shard].records if r.arrived >= second]
                lowest = later[0] if later else self._number + 1
        self.asked.append(f"{shard} {position}")
        return self._token(shard, lowest)

    def read(self, iterator: str, limit: int) -> Page:
        assert 1 <= limit <= 10_000
        with self._lock:
            if self.faults:
                raise self.faults.pop(0)
            if iterator not in self._iterators:
                raise IteratorExpired(iterator)
            name, lowest = self._iterators[iterator]
            shard = self.shard[name]
            ahead = [record for record in shard.records if record.sequence >= lowest]
            given = [] if self.blank else ahead[: min(limit, self.page)]
            self.blank = max(0, self.blank - 1)
            rest = len(ahead) - len(given)
            over = shard.closed and not rest and self.ends
            after = given[-1].sequence + 1 if given else lowest
            return Page(
                records=given,
                next=None if over else self._token(name, after),
                behind=1000 * rest,
            )

    def close(self) -> None:
        self.closed = True

    def _token(self, shard: str, lowest: int) -> str:
        token = f"iterator-{len(self._iterators)}-{shard}-{lowest}"
        self._iterators[token] = (shard, lowest)
        return token


def open_source(
    client: Client, directory: Path, clock: Clock | None = None, **settings: JSON
) -> ShardSource:
    """A source of a stream that is not asked for by boto3."""
    parsed = parse_settings({"stream": "clicks", **settings})
    kind: Callable[..., ShardSource] = RangeSource if parsed.mode == "range" else BufferSource
    context = SourceContext(
        instance="i",
        trigger="clicks",
        trigger_uid="u-1",
        secrets={},
        data_dir=directory / "data",
        stop=threading.Event(),
    )
    return kind(parsed, context, client, clock or StandingClock())


class Core:
    """Keeps positions as whoever runs a source does, and checks that batches follow each other."""

    def __init__(self, opened: Callable[[], StreamSource]) -> None:
        self._opened = opened
        self.source = opened()
        self.planned: dict[str, str] = {}
        self.done: dict[str, str] = {}
        self.taken: list[Batch] = []

    def restart(self) -> None:
        """The source is lost and opened again."""
        self.source.close()
        self.source = self._opened()

    def discover(self) -> Sequence[str]:
        """Returns the shards that came up."""
        known = {
            name: Place(planned=planned, done=self.done[name])
            for name, planned in self.planned.items()
        }
        found = self.source.discover(known)
        new = [name for name in found.partitions if name not in known]
        for name in new:
            self.planned[name] = self.done[name] = found.partitions[name]
        return new

    def poll(
        self, *, wait: float = 0, room: int = 5, take: int | None = None, until: str | None = None
    ) -> list[Batch]:
        """Ask once; of what comes, the first `take` batches are taken in."""
        wants = [
            Want(partition=name, position=position, room=room, until=until)
            for name, position in self.planned.items()
            if position != END
        ]
        batches = list(self.source.poll(wants, wait))
        position = dict(self.planned)
        for number, batch in enumerate(batches):
            assert batch.start == position[batch.partition], "a gap, or an overlap"
            assert batch.start != batch.end
            position[batch.partition] = batch.end
            if take is None or number < take:
                self.planned[batch.partition] = batch.end
                self.taken.append(batch)
        assert all(len([b for b in batches if b.partition == name]) <= room for name in position)
        return batches

    def complete(self) -> None:
        """All runs have ended."""
        self.done = dict(self.planned)

    def drain(self, *, wait: float = 30, rounds: int = 200) -> list[Batch]:
        """Poll, complete and discover until nothing comes any more; the batches of this time."""
        before, quiet = len(self.taken), 0
        for _ in range(rounds):
            try:
                came = self.poll(wait=wait)
            except SourceUnavailable:  # what happened before is told once
                continue
            self.complete()
            quiet = 0 if self.discover() or came else quiet + 1
            if quiet == 2:  # the list that was made in between may have shown an end
                return self.taken[before:]
        raise AssertionError("no end in sight")


def run_of(batch: Batch) -> RunRef:
    """The run that a batch has become."""
    return RunRef(
        run_id="r1",
        partition=batch.partition,
        start=batch.start,
        end=batch.end,
        values=batch.values,
        inputs=batch.inputs,
    )


def core(kinesis: ScriptedKinesis, directory: Path, **settings: JSON) -> Core:
    """Who reads a scripted stream, by a clock that stands still; its shards are discovered."""
    clock = StandingClock()
    made = Core(lambda: open_source(kinesis, directory, clock, **settings))
    made.discover()
    return made
