"""A cluster by confluent-kafka's admin client.

Three threads of librdkafka, one more and a connection for each broker; for groups also what
:mod:`connectors.kafka.cluster_python` needs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from connectors.kafka.cluster import (
    TIMEOUT,
    Cluster,
    Committed,
    Ends,
    TopicInfo,
    TopicPartition,
)
from connectors.kafka.cluster_python import PythonCluster
from connectors.kafka.connection import Connection, librdkafka_options
from connectors.kafka.faults import UNKNOWN_TOPIC_OR_PARTITION, asking, fault, from_librdkafka
from connectors.streams import SourceRefused, SourceUnavailable

try:
    import confluent_kafka
    import confluent_kafka.admin
except ImportError as _missing:
    raise SourceRefused(
        "`client: confluent` needs the library confluent-kafka: install orch-bacalhau[kafka-fast]"
    ) from _missing

T = TypeVar("T")

_kafka: Any = confluent_kafka
_admin: Any = confluent_kafka.admin
_Error: Any = confluent_kafka.KafkaError
_MOVED = frozenset(
    {
        _Error._NOENT,
        _Error._TIMED_OUT,
        _Error.LEADER_NOT_AVAILABLE,
        _Error.NOT_LEADER_FOR_PARTITION,
        _Error.FENCED_LEADER_EPOCH,
        _Error.UNKNOWN_LEADER_EPOCH,
    }
)
_GRACE = 2.0  # seconds in which a broker that cannot be reached may come up
_AGAIN = 0.2  # seconds between two tries
_TRY = 3.0  # seconds for one of them: a dead broker is waited for to the end
_LOOK = 0.05  # seconds between two looks whether the brokers can be reached at all
_OPTIONS: Mapping[str, Any] = {
    "log_level": 0,
    "reconnect.backoff.max.ms": 1000,
    "socket.connection.setup.timeout.ms": 5000,
    "topic.metadata.refresh.interval.ms": 30_000,
}


class ConfluentCluster(Cluster):
    """The library itself answers only after the whole timeout when no broker can be reached, and
    says why only to a callback: so both are looked at while a question waits.

    Groups are asked about by kafka-python here, too: librdkafka (up to 2.16 at least) ends the
    process by a segmentation fault when the coordinator of a group moves
    (https://github.com/confluentinc/librdkafka/issues/5040).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._client: Any = None
        self._groups = PythonCluster(connection)
        self._closed = threading.Event()
        self._trouble: tuple[float, Any] = (0.0, None)
        self._down = False

    def topic(self, name: str) -> TopicInfo:
        doing = f"topic {name}"
        found = self._patiently(doing, lambda: self._describe(doing, name))
        resource = _admin.ConfigResource(_admin.ConfigResource.Type.TOPIC, name)
        try:
            (settings,) = self._patiently(
                doing, lambda: self._ask(doing, "describe_configs", [resource])
            ).values()
        except SourceRefused:  # they may be known to fewer people than the topic
            settings: Mapping[str, Any] = {}
        values: dict[str, Any] = {key: entry.value for key, entry in settings.items()}
        retention = int(values.get("retention.ms") or -1)
        return TopicInfo(
            id=str(found.topic_id).replace("+", "-").replace("/", "_"),
            partitions=tuple(sorted(partition.id for partition in found.partitions)),
            retention_ms=retention if retention >= 0 else None,
            cleanup_policy=values.get("cleanup.policy") or "",
            leaderless=tuple(
                sorted(p.id for p in found.partitions if p.leader is None or p.leader.id < 0)
            ),
        )

    def _describe(self, doing: str, name: str) -> Any:
        names = _kafka.TopicCollection([name])
        (found,) = self._ask(doing, "describe_topics", names).values()
        return found

    def ends(
        self, partitions: Collection[TopicPartition], *, committed_only: bool
    ) -> Mapping[TopicPartition, Ends]:
        # The start first: it may move between the two answers, and never beyond the end.
        starts = self._offsets(partitions, _admin.OffsetSpec.earliest(), committed_only)
        ends = self._offsets(partitions, _admin.OffsetSpec.latest(), committed_only)
        return {p: Ends(starts[p], max(starts[p], ends[p])) for p in partitions}

    def offsets_at(
        self,
        partitions: Collection[TopicPartition],
        timestamp_ms: int,
        *,
        committed_only: bool = False,
    ) -> Mapping[TopicPartition, int]:
        spec = _admin.OffsetSpec.for_timestamp(timestamp_ms)
        found = self._offsets(partitions, spec, committed_only)
        late = [p for p in partitions if found[p] < 0]
        return {**found, **self._offsets(late, _admin.OffsetSpec.latest(), committed_only)}

    def _offsets(
        self, partitions: Collection[TopicPartition], which: Any, committed_only: bool
    ) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        levels = _kafka.IsolationLevel
        isolation = levels.READ_COMMITTED if committed_only else levels.READ_UNCOMMITTED
        specs = {_kafka.TopicPartition(*p): which for p in partitions}
        doing = asking(partitions)

        def look() -> dict[TopicPartition, int]:
            answer = self._ask(doing, "list_offsets", specs, isolation_level=isolation)
            found = {TopicPartition(p.topic, p.partition): at.offset for p, at in answer.items()}
            if _kafka.OFFSET_INVALID in found.values():
                raise _Moved("a leader did not answer")  # which is no error here
            return found

        return self._patiently(doing, look, lambda: self._find_leaders(doing, partitions))

    def _find_leaders(self, doing: str, partitions: Collection[TopicPartition]) -> None:
        """Let the library look again, where the partitions exist: by itself it keeps to the
        leaders that it knows, and looking may make a topic."""
        for name in sorted({partition.topic for partition in partitions}):
            there = {partition.id for partition in self._describe(doing, name).partitions}
            if not {p.partition for p in partitions if p.topic == name} <= there:
                raise fault(doing, self._connection, UNKNOWN_TOPIC_OR_PARTITION, "")
            try:
                self._connected(doing).list_topics(name, timeout=_TRY)
            except _kafka.KafkaException as error:
                raise _Moved(error.args[0].str()) from error

    def _patiently(
        self, doing: str, question: Callable[[], T], prepare: Callable[[], None] | None = None
    ) -> T:
        """Ask again until somebody answers who knows, `prepare` before each further time."""
        deadline = time.monotonic() + TIMEOUT
        again = False
        while True:
            try:
                if again and prepare is not None:
                    prepare()
                return question()
            except _Moved as error:
                if time.monotonic() > deadline or self._closed.wait(_AGAIN):
                    raise fault(doing, self._connection, None, str(error)) from error
                again = True

    def committed(
        self, group: str, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        return self._groups.committed(group, partitions)

    def commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        self._groups.commit(group, offsets)

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            self._client = None
        self._groups.close()

    def _ask(self, doing: str, method: str, subject: Any, **options: Any) -> dict[Any, Any]:
        """The answers of a method of the admin client to all parts of a question."""
        client: Any = None
        futures: Mapping[Any, Future[Any]] = {}
        try:
            client = self._connected(doing)
            client.poll(0)  # what was said before this question is not about it
            begun = time.monotonic()
            futures = getattr(client, method)(subject, request_timeout=_TRY, **options)
            while wait(futures.values(), _LOOK).not_done:
                client.poll(0)
                self._raise_trouble(doing, begun)
            answer = {key: future.result() for key, future in futures.items()}
            self._down = False
            return answer
        except _kafka.KafkaException as error:
            if error.args[0].code() in _MOVED:
                raise _Moved(error.args[0].str()) from error
            raise from_librdkafka(doing, self._connection, error.args[0]) from error
        finally:  # an error leads back to here, and would keep the client's threads going
            del client, futures

    def _connected(self, doing: str) -> Any:
        with self._lock:
            if self._closed.is_set():
                raise SourceUnavailable(f"{doing}: the connection was closed")
            if self._client is None:
                options = {**librdkafka_options(self._connection), **_OPTIONS}
                self._client = _admin.AdminClient({**options, "error_cb": self._hear})
            return self._client

    def _hear(self, error: Any) -> None:
        """Called back by `poll` for what concerns no single question."""
        if error.code() == _Error._ALL_BROKERS_DOWN:
            self._down = True  # said once, not each time that none can be reached
        else:
            self._trouble = (time.monotonic(), error)

    def _raise_trouble(self, doing: str, begun: float) -> None:
        at, error = self._trouble
        if at < begun or error is None:
            return
        mapped = from_librdkafka(doing, self._connection, error)
        # A name may have several addresses of which the first does not answer.
        down = self._down and at > begun + _GRACE
        if down or isinstance(mapped, SourceRefused):
            raise mapped


class _Moved(Exception):
    """Nobody answered, or one who is not the one to ask: who that is may be known soon."""
