"""What every mode does with its topic: find partitions, see their ends, tell a group.

The offsets of a topic mean nothing once it was deleted and made again under its name, so its id
is compared before anything is handed over. It is compared *after* the ends were asked for: when it
is the same then, the ends were those of the same topic.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager

from connectors.abc import JSON
from connectors.kafka.awaited import Awaited, now_ms
from connectors.kafka.cluster import Cluster, Committed, Ends, TopicInfo, TopicPartition, shared
from connectors.kafka.naming import group_of, partition_name, topic_partition
from connectors.kafka.settings import KafkaSettings
from connectors.kafka.start import check_start, first_positions
from connectors.streams import (
    END,
    Batch,
    Discovery,
    Place,
    SourceChanged,
    SourceContext,
    SourceError,
    SourceRefused,
    SourceUnavailable,
    StreamSource,
    Want,
)
from connectors.times import SECOND

COMMIT_EVERY = 1.0
"""Seconds between two commits to the trigger's group, which are only for people to see."""
COMMIT_AGAIN = 10.0
"""Seconds after a commit that failed."""
SETTLES = 5.0
"""Seconds for which a partition may end before the position: a new leader learns late how far its
followers are, a truncated log stays short."""
LOOK_AGAIN = 1.0
"""Seconds between two looks whether partitions without a leader have one again."""


class TopicSource(StreamSource):
    """A topic and how far it is read. Subclasses say how it is handed to jobs."""

    def __init__(self, settings: KafkaSettings, context: SourceContext) -> None:
        self.settings = settings
        self.context = context
        self.group = group_of(context)
        self._cluster: Cluster | None = None
        self._topic: TopicInfo | None = None
        self._lag: dict[str, int] = {}
        self._starts: dict[str, int] = {}
        self._short_since: dict[str, float] = {}
        self._told: dict[str, str] = {}
        self._to_tell: dict[str, str] = {}
        self._tell_at = 0.0
        self._leaderless: frozenset[str] = frozenset()
        self._waiting: frozenset[str] = frozenset()  # for a leader, to be discovered
        self._awaited = Awaited(context.data_dir / "awaited.json")
        self._look_again_at = 0.0

    @property
    def interval(self) -> float:
        return self.settings.poll / SECOND

    def discover(self, known: Mapping[str, Place]) -> Discovery:
        topic, start = self.settings.topic, self.settings.start
        committed_only, begun = self.settings.committed_only, now_ms()
        with self.asking() as cluster:
            info = cluster.topic(topic)
            new = [n for n in info.partitions if partition_name(topic, n) not in known]
            # One without a leader waits, and keeps nobody waiting.
            waiting = [n for n in new if n in info.leaderless]
            led = [TopicPartition(topic, n) for n in new if n not in info.leaderless]
            if known:
                first = self._awaited.first_positions(
                    cluster, led, start, committed_only=committed_only
                )
            elif led:
                check_start(start, topic, info.partitions)
                first = first_positions(cluster, led, start, committed_only=committed_only)
                self._awaited.note(waiting, begun)
            else:
                raise SourceUnavailable(f"no broker leads a partition of {topic} now")
        self._waiting = frozenset(partition_name(topic, n) for n in waiting)
        self._see(info)
        positions = {partition_name(topic, p.partition): str(at) for p, at in first.items()}
        return Discovery(identity=info.id, partitions=positions)

    @property
    def stale(self) -> bool:
        return not self._waiting <= self._leaderless

    def lag(self) -> Mapping[str, int]:
        return dict(self._lag)

    def troubles(self) -> Mapping[str, str]:
        return dict.fromkeys(sorted(self._leaderless), "no broker leads it now")

    def starts(self) -> Mapping[str, str]:
        return {name: str(start) for name, start in self._starts.items()}

    def gone(self, partition: str, start: str) -> bool:
        return start != END and int(start) < self._starts.get(partition, 0)

    def commit(self, done: Mapping[str, str]) -> None:
        self._to_tell |= {
            name: at for name, at in done.items() if at != END and self._told.get(name) != at
        }
        self._tell()

    def close(self) -> None:
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    @contextmanager
    def asking(self) -> Generator[Cluster]:
        """The cluster. Once it has refused us, it is opened anew with the secrets of then."""
        if self._cluster is None:
            self._cluster = shared(
                self.settings.connection(self.context.secrets), self.settings.client
            )
        try:
            yield self._cluster
        except SourceRefused:
            self.close()
            raise

    @property
    def retention_ms(self) -> int | None:
        """How long the topic keeps a record; None: for ever, or not known."""
        topic = self._topic
        return None if topic is None or topic.cleanup_policy == "compact" else topic.retention_ms

    def look(self, wants: Sequence[Want]) -> Sequence[tuple[Want, Ends]]:
        """The wants with what their partitions hold, asked for with one question.

        The end is never behind the want's ``until``. Partitions without a leader are left out, and
        for a while those that end before the position; then, SourceChanged is raised.
        """
        self._tell_quietly()
        wants = [want for want in wants if want.position != END]
        ends = self.ends([want.partition for want in wants])
        wants = [want for want in wants if want.partition in ends]
        for want in wants:
            held = ends[want.partition]
            self._lag[want.partition] = max(0, held.end - max(int(want.position), held.start))
        short = {w.partition: w for w in wants if int(w.position) > ends[w.partition].end}
        if short:
            self.check_topic()
        now = time.monotonic()
        self._short_since = {name: self._short_since.get(name, now) for name in short}
        for name, since in self._short_since.items():
            if now - since >= SETTLES:
                raise _truncated(short[name], ends[name].end)
        return [(w, _until(w, ends[w.partition])) for w in wants if w.partition not in short]

    def ends(self, partitions: Collection[str]) -> Mapping[str, Ends]:
        """What these partitions hold now; the oldest offset of each is remembered.

        Those that no broker leads are left out, unless none is left.
        """
        if not partitions:
            return {}
        if self._leaderless and time.monotonic() >= self._look_again_at:
            self._look_for_leaders()
        led = [name for name in partitions if name not in self._leaderless]
        try:
            places, found = self._ask_ends(led)
        except SourceUnavailable:
            self._look_for_leaders()
            if self._leaderless.isdisjoint(led):
                raise
            led = [name for name in led if name not in self._leaderless]
            places, found = self._ask_ends(led)
        ends = {
            name: Ends(found[place].start, max(found[place]))  # an end below the start: the start
            for name, place in places.items()
        }
        self._starts |= {name: held.start for name, held in ends.items()}
        return ends

    def _ask_ends(
        self, partitions: Sequence[str]
    ) -> tuple[Mapping[str, TopicPartition], Mapping[TopicPartition, Ends]]:
        if not partitions:
            names = ", ".join(sorted(self._leaderless))
            raise SourceUnavailable(f"no broker leads {names} now")
        places = {name: topic_partition(self.settings.topic, name) for name in partitions}
        with self.asking() as cluster:
            found = cluster.ends(list(places.values()), committed_only=self.settings.committed_only)
        return places, found

    def _look_for_leaders(self) -> None:
        with self.asking() as cluster:
            self._see(cluster.topic(self.settings.topic), keep=True)

    def _see(self, info: TopicInfo, *, keep: bool = False) -> None:
        self._look_again_at = time.monotonic() + LOOK_AGAIN
        self._leaderless = frozenset(
            partition_name(self.settings.topic, number) for number in info.leaderless
        )
        if not keep:  # whether it is another topic by now is for `check_topic` to say
            self._topic = info

    def check_topic(self) -> None:
        """Raises SourceChanged when the topic is not the one that was found by `discover`."""
        with self.asking() as cluster:
            now = cluster.topic(self.settings.topic)
        before = self._topic
        if before is not None and before.id != now.id:
            raise SourceChanged(
                f"the topic {self.settings.topic} was deleted and made again (its id was"
                f" {before.id} and is {now.id}): offsets mean nothing in the new one. Pause the"
                " trigger and say `orch checkpoints restart` to read the new topic by `start`"
            )
        self._see(now)

    def lost(self, want: Want, held: Ends) -> Batch | None:
        """The offsets that are gone from before the log's start, if the want begins with some."""
        position = int(want.position)
        end = min(held.start, held.end)
        if position >= end:
            return None
        return Batch(
            partition=want.partition,
            start=want.position,
            end=str(end),
            values={"kafka": self.values(want.partition, position, end)},
            outcome="lost",
            reason=f"the log of {want.partition} begins at {held.start} now: the offsets from"
            f" {position} on were removed before they were read",
        )

    def values(self, partition: str, start: int, end: int | None = None) -> dict[str, JSON]:
        """What ``${{ kafka.… }}`` names in a job; no ``end`` where it is not known yet."""
        place = topic_partition(self.settings.topic, partition)
        named: dict[str, JSON] = {
            "topic": place.topic,
            "partition": place.partition,
            "start": start,
            "brokers": ",".join(self.settings.brokers),
            "group": self.group,
            "isolation": self.settings.isolation,
        }
        return named if end is None else named | {"end": end}

    def _tell(self) -> None:
        if not self._to_tell or time.monotonic() < self._tell_at:
            return
        topic = self.settings.topic
        telling = dict(self._to_tell)
        self._tell_at = time.monotonic() + COMMIT_AGAIN
        with self.asking() as cluster:
            cluster.commit(
                self.group,
                {topic_partition(topic, name): Committed(int(at)) for name, at in telling.items()},
            )
        self._tell_at = time.monotonic() + COMMIT_EVERY
        self._told |= telling
        self._to_tell.clear()

    def _tell_quietly(self) -> None:
        try:
            self._tell()
        except SourceError:
            return  # what a group says of us is for people to see; it is told again


def _truncated(want: Want, end: int) -> SourceChanged:
    return SourceChanged(
        f"{want.partition} ends at {end}, but was planned up to {want.position}: its log was"
        " truncated, and other records may get the offsets that are gone. Pause the trigger and"
        f" set the partition's checkpoint to {end} or before (`orch checkpoints set`)"
    )


def _until(want: Want, held: Ends) -> Ends:
    return held if want.until is None else Ends(held.start, min(held.end, int(want.until)))
