"""A Kafka cluster in memory for tests of what asks it: its topics are set, its answers counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectors.kafka.cluster import Cluster, Committed, Ends, TopicInfo, TopicPartition
from connectors.streams import SourceContext, SourceRefused, SourceUnavailable, Want


class ScriptedCluster(Cluster):
    """Topics by name, ends by partition, commits by group and partition."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicInfo] = {}
        self.held: dict[TopicPartition, Ends] = {}
        self.commits: dict[tuple[str, TopicPartition], Committed] = {}
        self.times: dict[TopicPartition, int] = {}
        self.fault: dict[str, Exception] = {}
        """What the next question of a kind raises, and all after it until it is taken out."""
        self.asked: Counter[str] = Counter()
        self.isolated: list[bool] = []
        self.closed = 0

    def make(self, topic: str, *ends: tuple[int, int], id: str = "a" * 32, **info: Any) -> None:
        """Make a topic, or make it anew; each partition holds offsets ``[start, end)``."""
        found = TopicInfo(
            id=id, partitions=tuple(range(len(ends))), retention_ms=None, cleanup_policy="delete"
        )
        self.topics[topic] = replace(found, **info)
        self.held |= {TopicPartition(topic, n): Ends(*pair) for n, pair in enumerate(ends)}

    def topic(self, name: str) -> TopicInfo:
        self._ask("topic")
        if name not in self.topics:
            raise SourceRefused(f"there is no topic {name}")
        return self.topics[name]

    def ends(
        self, partitions: Collection[TopicPartition], *, committed_only: bool
    ) -> Mapping[TopicPartition, Ends]:
        self._ask("ends")
        self.isolated.append(committed_only)
        if any(place.partition in self.topics[place.topic].leaderless for place in partitions):
            raise SourceUnavailable("a partition has no leader")
        return {place: self.held[place] for place in partitions}

    def offsets_at(
        self,
        partitions: Collection[TopicPartition],
        timestamp_ms: int,
        *,
        committed_only: bool = False,
    ) -> Mapping[TopicPartition, int]:
        self._ask("offsets_at")
        self.asked_time = timestamp_ms
        return {place: self.times.get(place, self.held[place].end) for place in partitions}

    def committed(
        self, group: str, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        self._ask("committed")
        found = {place: self.commits.get((group, place)) for place in partitions}
        return {place: commit for place, commit in found.items() if commit is not None}

    def commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        self._ask("commit")
        self.commits |= {(group, place): commit for place, commit in offsets.items()}

    def close(self) -> None:
        self.closed += 1

    def _ask(self, what: str) -> None:
        self.asked[what] += 1
        if what in self.fault:
            raise self.fault[what]


def stream_context(data_dir: Path, **changes: Any) -> SourceContext:
    """What a source is opened with: trigger ``logs`` with uid ``u1`` of instance ``i1``."""
    plain = SourceContext(
        instance="i1",
        trigger="logs",
        trigger_uid="u1",
        secrets={},
        data_dir=data_dir,
        stop=threading.Event(),
    )
    return replace(plain, **changes)


def want(partition: str, position: int, room: int = 1, **more: Any) -> Want:
    """A partition from which batches may be planned."""
    return Want(partition=partition, position=str(position), room=room, **more)
