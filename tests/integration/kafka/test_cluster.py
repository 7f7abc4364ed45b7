"""What every client library must answer about a real cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.kafka.cluster import Cluster, Committed, Ends, TopicPartition, shared
from connectors.kafka.connection import Connection, Flavour
from connectors.streams import SourceRefused, SourceUnavailable
from tests.support.kafka import Kafka
from tests.support.waiting import until

FLAVOURS: tuple[Flavour, ...] = ("kafka-python", "confluent")


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    """Each client library."""
    return request.param


@pytest.fixture
def connection(kafka: Kafka) -> Connection:
    """To the broker of the run."""
    return Connection(brokers=(kafka.bootstrap,), client_id="orch-test")


@pytest.fixture
def cluster(connection: Connection, flavour: Flavour) -> Iterator[Cluster]:
    """The broker of the run, by each library."""
    cluster = shared(connection, flavour)
    yield cluster
    cluster.close()


def of(topic: str, count: int = 1) -> list[TopicPartition]:
    """The first partitions of a topic."""
    return [TopicPartition(topic, number) for number in range(count)]


def test_topic(kafka: Kafka, cluster: Cluster) -> None:
    """A topic tells its partitions, what it keeps, and an id."""
    name = kafka.topic(3, configs={"retention.ms": "3600000", "cleanup.policy": "compact,delete"})
    info = cluster.topic(name)
    assert info.partitions == (0, 1, 2)
    assert info.retention_ms == 3_600_000
    assert info.cleanup_policy == "compact,delete"
    assert len(info.id) == 22
    assert cluster.topic(kafka.topic(configs={"retention.ms": "-1"})).retention_ms is None


def test_topic_id_is_the_same_by_both(kafka: Kafka, connection: Connection) -> None:
    """The id does not depend on the library: changing it makes no other topic."""
    name = kafka.topic()
    clusters = [shared(connection, flavour) for flavour in FLAVOURS]
    ids = {cluster.topic(name).id for cluster in clusters}
    for cluster in clusters:
        cluster.close()
    assert len(ids) == 1


def test_topic_made_again_has_another_id(kafka: Kafka, cluster: Cluster) -> None:
    """A topic that was deleted and made again is another one, and what it holds is seen."""
    name = kafka.topic()
    kafka.produce(name, 0, [b"old"] * 5)
    before = cluster.topic(name).id
    assert cluster.ends(of(name), committed_only=True) == {(name, 0): (0, 5)}
    kafka.delete_topic(name)
    with pytest.raises(SourceRefused, match="no such topic"):
        cluster.topic(name)
    kafka.topic(2, name=name)
    after = cluster.topic(name)
    assert after.id != before
    assert after.partitions == (0, 1)
    assert until(lambda: _ends(cluster, name, 2), "the new one is seen") == {
        (name, 0): (0, 0),
        (name, 1): (0, 0),
    }


def _ends(cluster: Cluster, name: str, count: int) -> Any:
    """The ends, unless the broker is not ready for the question."""
    try:
        return cluster.ends(of(name, count), committed_only=True)
    except (SourceRefused, SourceUnavailable):
        return None


def test_partitions_added(kafka: Kafka, cluster: Cluster) -> None:
    """Partitions that come up are seen."""
    name = kafka.topic(1)
    assert cluster.topic(name).partitions == (0,)
    assert cluster.ends(of(name), committed_only=True)
    kafka.add_partitions(name, 3)
    assert cluster.topic(name).partitions == (0, 1, 2)
    assert len(until(lambda: _ends(cluster, name, 3), "their ends are known")) == 3


@pytest.mark.parametrize("name", ["nobody-made-this", "no name of a topic", "x" * 300, "."])
def test_unknown_topic(kafka: Kafka, cluster: Cluster, name: str) -> None:
    """A topic that does not exist is refused by its name, and is not made by asking."""
    with pytest.raises(SourceRefused) as caught:
        cluster.topic(name)
    assert name in str(caught.value)
    assert kafka.bootstrap in str(caught.value)
    with kafka.admin() as admin:
        assert name not in admin.list_topics()


def test_unknown_partition(kafka: Kafka, cluster: Cluster) -> None:
    """One partition that does not exist fails the whole question."""
    with pytest.raises(SourceRefused, match="no such topic or partition"):
        cluster.ends(of("nobody-made-this"), committed_only=True)
    name = kafka.topic(2)
    with pytest.raises(SourceRefused, match="no such topic or partition"):
        cluster.ends(of(name, 3), committed_only=False)


def test_ends_of_many(kafka: Kafka, cluster: Cluster) -> None:
    """One question covers partitions of several topics."""
    topics = [kafka.topic(20) for _ in range(3)]
    for number in (0, 7, 19):
        kafka.produce(topics[1], number, [b"x"] * (number + 1))
    partitions = [p for topic in topics for p in of(topic, 20)]
    ends = cluster.ends(partitions, committed_only=False)
    assert set(ends) == set(partitions)
    assert {p: e for p, e in ends.items() if e.end} == {
        TopicPartition(topics[1], number): Ends(0, number + 1) for number in (0, 7, 19)
    }
    assert cluster.ends([], committed_only=True) == {}


def test_ends_with_transactions(kafka: Kafka, cluster: Cluster) -> None:
    """Only what has been committed or aborted may be read; the markers have offsets, too."""
    name = kafka.topic()
    kafka.produce(name, 0, [b"before"] * 3)

    def ends() -> tuple[int, int]:
        return tuple(
            cluster.ends(of(name), committed_only=only)[TopicPartition(name, 0)].end
            for only in (True, False)
        )  # type: ignore[return-value]

    with kafka.transaction() as transaction:
        transaction.send(name, 0, [b"one", b"two"])
        kafka.produce(name, 0, [b"behind"])
        assert ends() == (3, 6)
        transaction.commit()
        until(lambda: ends() == (7, 7), "what was committed may be read", show=ends)
        transaction.begin()
        transaction.send(name, 0, [b"three"])
        assert ends() == (7, 8)
        transaction.abort()
        until(lambda: ends() == (9, 9), "what was aborted is passed over", show=ends)


def test_log_start(kafka: Kafka, cluster: Cluster) -> None:
    """What retention removed is before the start."""
    name = kafka.topic(2)
    kafka.produce(name, 1, [b"x"] * 10)
    kafka.delete_records(name, 1, 4)
    assert cluster.ends(of(name, 2), committed_only=True) == {(name, 0): (0, 0), (name, 1): (4, 10)}
    kafka.delete_records(name, 1, 10)
    assert cluster.ends(of(name, 2), committed_only=True)[TopicPartition(name, 1)] == (10, 10)


def test_offsets_at(kafka: Kafka, cluster: Cluster) -> None:
    """A time leads to the first record that is not older; a time after all records to the end."""
    name = kafka.topic(2, configs={"retention.ms": "-1"})
    for timestamp in (1_000_000, 2_000_000, 3_000_000):
        kafka.produce(name, 0, [b"x"] * 2, timestamp_ms=timestamp)

    def at(timestamp: int) -> list[int]:
        found = cluster.offsets_at(of(name, 2), timestamp)
        return [found[partition] for partition in of(name, 2)]

    assert at(0) == [0, 0]
    assert at(1_000_001) == [2, 0]
    assert at(3_000_000) == [4, 0]
    assert at(3_000_001) == [6, 0]


def test_offsets_at_with_a_transaction(kafka: Kafka, cluster: Cluster) -> None:
    """A time leads no further than to what may be read, where only that counts."""
    name = kafka.topic(configs={"retention.ms": "-1"})
    kafka.produce(name, 0, [b"x"], timestamp_ms=1_000_000)
    with kafka.transaction() as transaction:
        transaction.send(name, 0, [b"open"])
        stable = cluster.offsets_at(of(name), 2_000_000, committed_only=True)
        assert stable == {(name, 0): 1}
        assert cluster.offsets_at(of(name), 9_000_000_000_000) == {(name, 0): 2}
        assert cluster.offsets_at(of(name), 9_000_000_000_000, committed_only=True) == stable


def test_committed(kafka: Kafka, cluster: Cluster) -> None:
    """What is committed for a group, with its metadata, is what is read back."""
    name = kafka.topic(3)
    group = f"orch.{name}"
    assert cluster.committed(group, of(name, 3)) == {}
    first, second, _ = of(name, 3)
    cluster.commit(group, {first: Committed(7, "run/1 ä"), second: Committed(0)})
    known = {first: Committed(7, "run/1 ä"), second: Committed(0, "")}
    assert cluster.committed(group, of(name, 3)) == known
    cluster.commit(group, {first: Committed(5, "back")})
    assert cluster.committed(group, [first]) == {first: Committed(5, "back")}
    assert cluster.committed(group, []) == {}
    cluster.commit(group, {})


def test_commit_for_a_group_with_members(kafka: Kafka, cluster: Cluster) -> None:
    """Offsets of a group that somebody consumes with are not touched."""
    from confluent_kafka import Consumer

    name = kafka.topic()
    options = {"bootstrap.servers": kafka.bootstrap, "group.id": f"g-{name}", "log_level": 0}
    consumer = Consumer(options)
    consumer.subscribe([name])

    def assigned() -> bool:
        consumer.poll(0.1)
        return bool(consumer.assignment())

    until(assigned, "it is a member")
    with pytest.raises(SourceRefused, match="members"):
        cluster.commit(f"g-{name}", {TopicPartition(name, 0): Committed(1)})
    consumer.close()


def test_broker_away_and_back(kafka: Kafka, cluster: Cluster) -> None:
    """Without a broker every question fails in words, and works again when it is back."""
    name = kafka.topic()
    group = f"orch.{name}"
    kafka.produce(name, 0, [b"x"] * 3)
    cluster.commit(group, {TopicPartition(name, 0): Committed(2, "kept")})
    assert cluster.topic(name).partitions == (0,)
    with kafka.down(kill=True):
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match=kafka.bootstrap):
                cluster.ends(of(name), committed_only=True)
        with pytest.raises(SourceUnavailable):
            cluster.topic(name)
        with pytest.raises(SourceUnavailable):
            cluster.committed(group, of(name))
    assert until(lambda: _ends(cluster, name, 1), "it is back", within=90) == {(name, 0): (0, 3)}

    def committed() -> Any:
        try:
            return cluster.committed(group, of(name))
        except SourceUnavailable:
            return None

    kept = {TopicPartition(name, 0): Committed(2, "kept")}
    assert until(committed, "the group is back, too", within=90) == kept


def test_nobody_there(flavour: Flavour) -> None:
    """A wrong address is told with the reason, and leaves no thread behind."""
    before = threading.active_count()
    cluster = shared(Connection(brokers=("127.0.0.1:9",)), flavour)
    with pytest.raises(SourceUnavailable, match=r"127\.0\.0\.1:9.*(refused|REFUSED)"):
        cluster.topic("any")
    cluster.close()
    until(lambda: threading.active_count() <= before, "threads have ended")


def test_leader_moves(kafka_pair: Kafka, flavour: Flavour) -> None:
    """When a broker dies, questions go on at the next leader."""
    name = kafka_pair.topic(replicas={0: [2, 1], 1: [1, 2]})
    kafka_pair.produce(name, 0, [b"x"] * 4)
    cluster = shared(Connection(brokers=tuple(kafka_pair.bootstrap.split(","))), flavour)
    group = f"orch.{name}.{flavour}"
    try:
        expected = {(name, 0): (0, 4), (name, 1): (0, 0)}
        assert cluster.ends(of(name, 2), committed_only=True) == expected
        cluster.commit(group, {TopicPartition(name, 0): Committed(3)})
        kafka_pair.brokers[1].kill()
        assert until(lambda: _ends(cluster, name, 2), "the other one leads", within=90) == expected

        def commit() -> bool:
            try:
                cluster.commit(group, {TopicPartition(name, 0): Committed(4)})
            except SourceUnavailable:
                return False
            return cluster.committed(group, of(name)) == {(name, 0): (4, "")}

        until(commit, "the group is led by somebody", within=90)
    finally:
        cluster.close()
        kafka_pair.start()
