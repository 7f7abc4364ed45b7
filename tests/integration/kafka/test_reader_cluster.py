"""Readers and the cluster behind them: brokers that go, leaders that move, racks, security."""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.connection import Connection, Flavour, Sasl, Tls
from connectors.kafka.reader import Chunk, Reader, open_reader
from connectors.streams import SourceError, SourceRefused, SourceUnavailable
from tests.support.kafka import Kafka
from tests.support.kafkareads import Opened, column, read_to, values
from tests.support.kafkasecure import PASSWORD, USER, SecureKafka
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Lets nobody else find them."""
    yield
    gc.collect()


def test_broker_restart(kafka: Kafka, opened: Opened) -> None:
    """Reading goes on by itself after the broker was away, without loss or repetition."""
    topic = kafka.topic()
    part = TopicPartition(topic, 0)
    kafka.produce(topic, 0, values(1_000))
    reader = opened(kafka)
    reader.assign({part: 0})
    chunks = read_to(reader, {part: 1_000})
    with kafka.down(kill=True):
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            chunks += _tolerant(reader)
    kafka.produce(topic, 0, values(1_000, 1_000))

    def all_of_them() -> bool:
        chunks.extend(_tolerant(reader))
        return reader.positions[part] == 2_000

    until(all_of_them, "the rest", within=60, show=lambda: reader.positions)
    assert column(chunks, "offsets") == list(range(2_000))


def _tolerant(reader: Reader) -> Sequence[Chunk]:
    try:
        return reader.read(500, 0.2)
    except SourceError:
        return []


def test_leader_change(kafka_pair: Kafka, opened: Opened) -> None:
    """A leader that moves in the middle of a read costs no record and repeats none."""
    topic = kafka_pair.topic(replicas={0: [2, 1]})
    part = TopicPartition(topic, 0)
    kafka_pair.produce(topic, 0, values(5_000))
    reader = opened(kafka_pair)
    reader.assign({part: 0})
    chunks: list[Chunk] = []
    until(lambda: chunks.extend(_tolerant(reader)) or reader.positions[part], "a beginning")
    kafka_pair.brokers[1].stop()
    try:
        kafka_pair.produce(topic, 0, values(5_000, 5_000))

        def all_of_them() -> bool:
            chunks.extend(_tolerant(reader))
            return reader.positions[part] == 10_000

        until(all_of_them, "the rest", within=60, show=lambda: reader.positions)
    finally:
        kafka_pair.brokers[1].start()
    assert column(chunks, "offsets") == list(range(10_000))
    assert column(chunks, "values") == values(10_000)


def failure(reader: Reader, part: TopicPartition, kind: type[SourceError]) -> str:
    """Read until an error of a kind comes; its words."""

    def told() -> str:
        try:
            reader.assign({part: 0})
            reader.read(10, 0.2)
        except kind as error:
            return str(error)
        except SourceError:
            return ""
        return ""

    return until(told, f"a {kind.__name__}", within=30)


def test_nobody_there(flavour: Flavour) -> None:
    """Where no broker answers, reading says so, and can be closed."""
    reader = open_reader(Connection(brokers=("127.0.0.1:1",)), flavour)
    assert "127.0.0.1:1" in failure(reader, TopicPartition("t", 0), SourceUnavailable)
    reader.close()
    reader.close()


def test_security(secure_kafka: SecureKafka, flavour: Flavour) -> None:
    """A right password over TLS reads; a wrong one is refused, in words that do not hold it."""
    topic = secure_kafka.topic()
    part = TopicPartition(topic, 0)
    secure_kafka.produce(topic, 0, values(10))
    address = secure_kafka.addresses["SASL_TLS"]
    tls = Tls(ca=str(secure_kafka.certificates.authority))
    right = Sasl(mechanism="SCRAM-SHA-512", user=USER, password=PASSWORD)
    reader = open_reader(Connection(brokers=(address,), sasl=right, tls=tls), flavour)
    reader.assign({part: 0})
    assert column(read_to(reader, {part: 10}), "values") == values(10)
    reader.close()

    wrong = Sasl(mechanism="SCRAM-SHA-512", user=USER, password="not this one")
    reader = open_reader(Connection(brokers=(address,), sasl=wrong, tls=tls), flavour)

    words = failure(reader, part, SourceRefused)
    assert "password" in words
    assert "not this one" not in words
    reader.close()


def connected_to(address: str) -> bool:
    """Whether this process has a connection to an address."""
    own: set[str] = set()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            own.add(os.readlink(file))
    port = f":{int(address.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    return any(
        line[2].endswith(port) and line[3] == "01" and f"socket:[{line[9]}]" in own
        for line in lines
    )


def test_rack(kafka_pair: Kafka, flavour: Flavour) -> None:
    """A reader reads from the replica in its rack, although another broker leads."""
    topic = kafka_pair.topic(replicas={0: [1, 2]})
    kafka_pair.produce(topic, 0, values(50))
    leader, replica = kafka_pair.brokers
    reader = open_reader(Connection(brokers=(leader.bootstrap,), rack="rack-2"), flavour)
    part = TopicPartition(topic, 0)
    number = itertools.count(50)

    def from_the_replica() -> bool:
        kafka_pair.produce(topic, 0, values(1, next(number)))
        reader.read(100, 0.2)
        return connected_to(replica.bootstrap)

    try:
        reader.assign({part: 0})
        read_to(reader, {part: 50})
        until(from_the_replica, "it reads from the replica")
    finally:
        reader.close()
