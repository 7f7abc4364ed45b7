"""A cluster by kafka-python's admin client: one thread, one connection to each broker."""

from __future__ import annotations

import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from connectors.kafka.cluster import (
    TIMEOUT,
    Cluster,
    Committed,
    Ends,
    TopicInfo,
    TopicPartition,
)
from connectors.kafka.connection import Connection, kafka_python_options
from connectors.kafka.faults import asking, fault, from_kafka_python
from connectors.kafka.sockets import close_everything
from connectors.streams import SourceError, SourceRefused, SourceUnavailable

T = TypeVar("T")
Received: TypeAlias = tuple[bytes, Exception | None]

# Untyped: the stubs that pyright brings describe an older version.
_admin: Any = import_module("kafka.admin")
_compat: Any = import_module("kafka.net.compat")
_errors: Any = import_module("kafka.errors")
_structs: Any = import_module("kafka.structs")

_COMMITTED, _UNCOMMITTED = "read_committed", "read_uncommitted"
# The first use of groups makes their topic, and a coordinator reads before it answers.
_NOT_YET = (
    _errors.CoordinatorNotAvailableError,
    _errors.CoordinatorLoadInProgressError,
    _errors.NotCoordinatorError,
)
_CONNECT = 5.0  # seconds until a first connection has failed
_PATIENCE = 5.0  # seconds without an answer after which everything is learnt anew
_AGAIN = 0.2  # seconds between two looks whether the coordinator of a group is there
_PAUSE = 1.0  # seconds after a failure to connect in which nobody tries again


class PythonCluster(Cluster):
    """The admin client is made when first needed, and made anew when nobody answers: by itself it
    never returns to the addresses that it was given."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._client: Any = None
        self._answered = 0.0
        self._failed: tuple[float, SourceError] | None = None
        self._closed = threading.Event()

    def topic(self, name: str) -> TopicInfo:
        doing = f"topic {name}"
        found, settings = self._ask(doing, lambda admin: self._describe(admin, name))
        code = found["error_code"] or 0
        if code:
            raise fault(doing, self._connection, code, _errors.for_code(code).__name__)
        given = found.get("topic_id")
        retention = settings.get("retention.ms", {}).get("value")
        return TopicInfo(
            id=urlsafe_b64encode(UUID(given).bytes).decode().rstrip("=") if given else "",
            partitions=tuple(sorted(p["partition_index"] for p in found["partitions"])),
            retention_ms=int(retention) if retention and int(retention) >= 0 else None,
            cleanup_policy=settings.get("cleanup.policy", {}).get("value") or "",
            leaderless=tuple(
                sorted(p["partition_index"] for p in found["partitions"] if p["leader_id"] < 0)
            ),
        )

    def _describe(self, admin: Any, name: str) -> tuple[Any, Any]:
        (found,) = admin.describe_topics([name])
        if found["error_code"]:
            return found, {}
        keys = dict.fromkeys(("retention.ms", "cleanup.policy"))
        resource = _admin.ConfigResource(_admin.ConfigResourceType.TOPIC, name, keys)
        # Where we may not know them, the answer is empty.
        answer = admin.describe_configs([resource], config_filter="all")
        return found, answer.get("topic", {}).get(name, {})

    def ends(
        self, partitions: Collection[TopicPartition], *, committed_only: bool
    ) -> Mapping[TopicPartition, Ends]:
        # The start first: it may move between the two answers, and never beyond the end.
        starts = self._offsets(partitions, _admin.OffsetSpec.EARLIEST, committed_only)
        ends = self._offsets(partitions, _admin.OffsetSpec.LATEST, committed_only)
        return {p: Ends(starts[p], max(starts[p], ends[p])) for p in partitions}

    def offsets_at(
        self,
        partitions: Collection[TopicPartition],
        timestamp_ms: int,
        *,
        committed_only: bool = False,
    ) -> Mapping[TopicPartition, int]:
        found = self._offsets(partitions, timestamp_ms, committed_only)
        late = [p for p in partitions if found[p] < 0]
        return {**found, **self._offsets(late, _admin.OffsetSpec.LATEST, committed_only)}

    def _offsets(
        self, partitions: Collection[TopicPartition], which: Any, committed_only: bool
    ) -> dict[TopicPartition, int]:
        if not partitions:
            return {}
        specs = {_structs.TopicPartition(*p): which for p in partitions}
        isolation = _COMMITTED if committed_only else _UNCOMMITTED
        try:
            answer = self._ask(
                asking(partitions),
                lambda admin: admin.list_partition_offsets(specs, isolation_level=isolation),
            )
        except SourceRefused:
            # The library says of all it may not see that it does not exist.
            for name in sorted({partition.topic for partition in partitions}):
                self.topic(name)
            raise
        return {TopicPartition(p.topic, p.partition): at.offset for p, at in answer.items()}

    def committed(
        self, group: str, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        if not partitions:
            return {}
        wanted = [_structs.TopicPartition(*p) for p in partitions]
        answer = self._ask(
            f"offsets of the group {group}",
            lambda admin: admin.list_group_offsets({group: wanted})[group],
            of_group=True,
        )
        return {
            TopicPartition(p.topic, p.partition): Committed(at.offset, at.metadata or "")
            for p, at in answer.items()
            if at.offset >= 0
        }

    def commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> None:
        if not offsets:
            return
        doing = f"offsets for the group {group}"
        given = {
            _structs.TopicPartition(*p): _structs.OffsetAndMetadata(at.offset, at.metadata, -1)
            for p, at in offsets.items()
        }

        def commit(admin: Any) -> None:
            for error in admin.alter_group_offsets(group, given).values():
                if error.errno:
                    raise error(error.description)

        self._ask(doing, commit, of_group=True)

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(self, doing: str, question: Callable[[Any], T], *, of_group: bool = False) -> T:
        deadline = time.monotonic() + TIMEOUT
        while True:
            client = self._connected(doing)
            try:
                answer = question(client)
            except _NOT_YET as error:
                _forget_coordinators(client)
                if time.monotonic() > deadline or self._closed.wait(_AGAIN):
                    raise from_kafka_python(doing, self._connection, error) from error
            except (_errors.KafkaError, OSError, RuntimeError) as error:
                # RuntimeError: somebody else has closed this client meanwhile.
                mapped = from_kafka_python(doing, self._connection, error)
                if isinstance(mapped, SourceUnavailable):
                    if of_group:  # its coordinator may be gone, and another one be it now
                        _forget_coordinators(client)
                    # By itself it learns only every half minute that a broker is back.
                    client._manager.cluster.request_update()
                    self._doubt(client)
                raise mapped from error
            else:
                self._answered = time.monotonic()
                return answer

    def _connected(self, doing: str) -> Any:
        with self._lock:
            if self._closed.is_set():
                raise SourceUnavailable(f"{doing}: the connection was closed")
            if self._client is not None:
                return self._client
            if self._failed and time.monotonic() - self._failed[0] < _PAUSE:
                raise self._failed[1]
            try:
                self._client = _connect(self._connection)
            except SourceError as error:
                self._failed = (time.monotonic(), error)
                raise
            self._answered = time.monotonic()
            return self._client

    def _doubt(self, client: Any) -> None:
        """A question to this client has failed: when none was answered for a while, it goes."""
        with self._lock:
            if self._client is not client or time.monotonic() - self._answered < _PATIENCE:
                return
            self._client = None
        client.close()


def _forget_coordinators(client: Any) -> None:
    # By itself the library asks only once which broker coordinates a group.
    client._manager.cluster._coordinators.clear()


def _connect(connection: Connection) -> Any:
    network = Network()
    try:
        return _admin.KafkaAdminClient(
            **kafka_python_options(connection),
            bootstrap_timeout_ms=_CONNECT * 1000,
            request_timeout_ms=TIMEOUT * 1000,
            reconnect_backoff_max_ms=1000,
            metadata_max_age_ms=30_000,
            # Many threads ask at once, and a connection with too many questions refuses more.
            max_in_flight_requests_per_connection=10_000,
            kafka_client=network.make,
        )
    except (_errors.KafkaError, OSError, ValueError) as error:
        network.close()
        raise from_kafka_python("connecting", connection, network.failure or error) from error


class Network:
    """Knows why no connection came about: the library only logs it, and tries until its time is
    over. It also leaves its thread behind then, so that is ended here."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._client: Any = None
        self._manager: Any = None

    def make(self, **options: Any) -> Any:
        """Called by a client for what it sends its questions with."""
        self._client = _compat.KafkaNetClient(**options)
        # The consumer does not pass its option on, and makes a topic again that was deleted.
        self._client.cluster.config["allow_auto_create_topics"] = False
        close_everything(self._client)
        self._manager = self._client._manager
        connect = self._manager.get_connection

        def get_connection(*arguments: Any, **more: Any) -> Any:
            connection = connect(*arguments, **more)
            if not connection.init_future.is_done:
                connection.init_future.add_errback(self._failed)
                made = connection.connection_made

                def connection_made(transport: Any) -> None:
                    transport._sock_recv = to_the_end(transport._sock_recv)
                    made(transport)

                connection.connection_made = connection_made
            return connection

        self._manager.get_connection = get_connection
        return self._client

    def _failed(self, error: Exception) -> None:
        if self._manager.bootstrapped or self._manager.closed:
            return
        self.failure = error
        mapped = from_kafka_python("", Connection(brokers=()), error)
        if isinstance(mapped, SourceRefused):  # trying again would change nothing
            self._manager.close()

    def close(self) -> None:
        """End what a client that was never made has begun."""
        if self._client is not None:
            self._client.close()


def to_the_end(receive: Callable[[], Received]) -> Callable[[], Received]:
    """What a transport receives with: what came in is given out before how it ended.

    The library throws away what it reads together with the end of a connection, and a broker that
    refuses a password hangs up right behind its answer.
    """
    ends: list[Exception] = []

    def received() -> Received:
        if ends:
            return b"", ends.pop()
        content, end = receive()
        if content and end is not None:
            ends.append(end)
            return content, None
        return content, end

    return received
