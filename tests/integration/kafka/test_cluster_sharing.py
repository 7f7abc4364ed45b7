"""Many triggers on one cluster: few threads, few connections, few requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.cluster import TopicPartition, shared
from connectors.kafka.connection import Connection, Flavour
from connectors.streams import SourceUnavailable
from tests.support.kafka import Kafka
from tests.support.waiting import until

FLAVOURS: tuple[Flavour, ...] = ("kafka-python", "confluent")
THREADS = {"kafka-python": 1, "confluent": 5}  # with one broker
SOCKETS = {"kafka-python": 1, "confluent": 2}


def threads() -> list[str]:
    """All of this process by name, those of C libraries too."""
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it has just ended
            found.append((task / "comm").read_text().strip())
    return sorted(found)


def connections(kafka: Kafka) -> int:
    """Established TCP connections to the broker, from anywhere."""
    port = f":{int(kafka.bootstrap.partition(':')[2]):04X}"
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[2].endswith(port) and line.split()[3] == "01" for line in lines)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_twenty_triggers(kafka: Kafka, flavour: Flavour) -> None:
    """500 partitions in 20 topics, asked about by 20 threads, cost what one trigger costs."""
    topics = [kafka.topic(25) for _ in range(20)]
    connection = Connection(brokers=(kafka.bootstrap,), client_id=f"many-{flavour}")
    before, open_before = threads(), connections(kafka)
    clusters = [shared(connection, flavour) for _ in topics]
    with ThreadPoolExecutor(len(topics)) as pool:

        def ends(number: int) -> int:
            wanted = [TopicPartition(topics[number], n) for n in range(25)]
            counts: set[int] = set()
            for _ in range(3):
                clusters[number].topic(topics[number])
                counts.add(len(clusters[number].ends(wanted, committed_only=True)))
            return counts.pop()

        assert list(pool.map(ends, range(len(topics)))) == [25] * len(topics)
    until(  # those of the pool end a little after they were waited for
        lambda: len(threads()) - len(before) <= THREADS[flavour], "few threads", show=threads
    )
    assert connections(kafka) - open_before <= SOCKETS[flavour]
    for cluster in clusters[1:]:
        cluster.close()
        cluster.close()
    assert clusters[0].topic(topics[0]).partitions
    clusters[0].close()
    until(lambda: len(threads()) <= len(before), "the last one ends the threads", show=threads)
    until(lambda: connections(kafka) <= open_before, "and the connections")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_closed(kafka: Kafka, flavour: Flavour) -> None:
    """A cluster that was closed answers no more; another one of the same name does."""
    connection = Connection(brokers=(kafka.bootstrap,))
    name = kafka.topic()
    cluster = shared(connection, flavour)
    assert cluster.topic(name).partitions == (0,)
    cluster.close()
    with pytest.raises(SourceUnavailable, match="closed"):
        cluster.topic(name)
    again = shared(connection, flavour)
    assert again.topic(name).partitions == (0,)
    again.close()


def test_requests(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of requests does not grow with the number of partitions."""
    from kafka.net import connection as network

    sent: list[str] = []
    kind: Any = network.KafkaConnection
    send = kind.send_request

    def counted(self: Any, request: Any, **options: Any) -> Any:
        sent.append(type(request).__name__)
        return send(self, request, **options)

    monkeypatch.setattr(kind, "send_request", counted)
    name = kafka.topic(100)
    cluster = shared(Connection(brokers=(kafka.bootstrap,), client_id="counted"))
    counts: list[int] = []
    for partitions in (1, 100):
        wanted = [TopicPartition(name, n) for n in range(partitions)]
        cluster.ends(wanted, committed_only=True)
        sent.clear()
        cluster.ends(wanted, committed_only=True)
        counts.append(len(sent))
    cluster.close()
    assert counts == [4, 4], "metadata and offsets, for the starts and for the ends"
    assert threading.active_count() < 50
