"""What is asked of a Kafka cluster beside its records: topics, offsets, groups.

One :class:`Cluster` serves all triggers whose connection is equal, from any thread. It answers a
question about many partitions with one request to each broker, not one for each partition.

All methods raise :class:`connectors.streams.SourceUnavailable` when nobody answers within
``TIMEOUT`` or the answer is "not now", and :class:`connectors.streams.SourceRefused` for what does
not mend itself: a topic that does not exist, a wrong password, a missing right.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from connectors.kafka.connection import Connection, Flavour

TIMEOUT = 10.0
"""Seconds after which a question that nobody answered has failed."""


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Ends(NamedTuple):
    """What a partition holds, as half-open offsets."""

    start: int
    """The first offset that retention has left."""
    end: int
    """One past the last offset that may be read."""


class Committed(NamedTuple):
    """What a group has committed for a partition."""

    offset: int
    """The next record to read."""
    metadata: str = ""
    """Whatever its writer had to say; the broker takes up to 4,096 bytes."""


@dataclass(frozen=True, kw_only=True)
class TopicInfo:
    """A topic as it is now."""

    id: str
    """Given by the cluster when the topic was made: another one is another topic of that name.
    22 characters, as Kafka's own tools show it; "" from a broker before 2.8, which gives none."""
    partitions: tuple[int, ...]
    """In order."""
    retention_ms: int | None
    """None: for ever, or we may not know."""
    cleanup_policy: str
    """``delete``, ``compact`` or ``compact,delete``; "" when we may not know."""
    leaderless: tuple[int, ...] = ()
    """Of the partitions those that no broker leads now: nobody can tell what they hold."""


class Cluster(ABC):
    """One Kafka cluster. Safe to use from several threads."""

    @abstractmethod
    def topic(self, name: str) -> TopicInfo:
        """A topic; asking never makes one."""

    @abstractmethod
    def ends(
        self, partitions: Collection[TopicPartition], *, committed_only: bool
    ) -> Mapping[TopicPartition, Ends]:
        """What all these partitions hold now.

        The end is the last stable offset with ``committed_only`` (every transaction before it has
        ended), else the high watermark. Never a part of the answer: one partition that fails, fails
        the question.
        """

    @abstractmethod
    def offsets_at(
        self,
        partitions: Collection[TopicPartition],
        timestamp_ms: int,
        *,
        committed_only: bool = False,
    ) -> Mapping[TopicPartition, int]:
        """The first offset of each whose record is as late as that; without one, the end."""

    @abstractmethod
    def committed(
        self, group: str, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """What the group has committed; partitions for which it has not are left out."""

    @abstractmethod
    def commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit for a group without joining it.

        Refused while the group has members, because they own its offsets.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of it. May be called twice; questions that are under way fail."""


_lock = threading.Lock()
_open: dict[tuple[Connection, Flavour], _Shared] = {}


def shared(connection: Connection, flavour: Flavour = "kafka-python") -> Cluster:
    """The cluster behind a connection, shared with all who named an equal one.

    ``close`` gives back what this call took; the last one closes the client. No I/O: it connects
    when first asked. Raises SourceRefused when the library of the flavour is not installed.
    """
    with _lock:
        key = (connection, flavour)
        entry = _open.get(key)
        if entry is None:
            entry = _open[key] = _Shared(cluster=_make(connection, flavour))
        entry.users += 1
    return _Lease(key, entry.cluster)


def _make(connection: Connection, flavour: Flavour) -> Cluster:
    # Heavy libraries: a daemon without such a trigger never loads them.
    if flavour == "confluent":
        from connectors.kafka.cluster_confluent import ConfluentCluster

        return ConfluentCluster(connection)
    from connectors.kafka.cluster_python import PythonCluster

    return PythonCluster(connection)


@dataclass(kw_only=True)
class _Shared:
    cluster: Cluster
    users: int = 0


class _Lease(Cluster):
    """One user's hold on a shared cluster."""

    def __init__(self, key: tuple[Connection, Flavour], cluster: Cluster) -> None:
        self._key = key
        self._cluster = cluster
        self._held = True

    def topic(self, name: str) -> TopicInfo:
        return self._cluster.topic(name)

    def ends(
        self, partitions: Collection[TopicPartition], *, committed_only: bool
    ) -> Mapping[TopicPartition, Ends]:
        return self._cluster.ends(partitions, committed_only=committed_only)

    def offsets_at(
        self,
        partitions: Collection[TopicPartition],
        timestamp_ms: int,
        *,
        committed_only: bool = False,
    ) -> Mapping[TopicPartition, int]:
        return self._cluster.offsets_at(partitions, timestamp_ms, committed_only=committed_only)

    def committed(
        self, group: str, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        return self._cluster.committed(group, partitions)

    def commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        self._cluster.commit(group, offsets)

    def close(self) -> None:
        with _lock:
            if not self._held:
                return
            self._held = False
            entry = _open[self._key]
            entry.users -= 1
            if entry.users:
                return
            del _open[self._key]
        entry.cluster.close()
