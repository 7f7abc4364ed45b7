"""Passwords, TLS and rights, by each client library, against a real broker."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from connectors.kafka.cluster import TopicPartition, shared
from connectors.kafka.connection import Connection, Flavour, Sasl, Tls
from connectors.streams import SourceRefused
from tests.support.certificates import KEY_PASSWORD
from tests.support.kafkasecure import MECHANISMS, PASSWORD, USER, SecureKafka


@pytest.fixture(params=["kafka-python", "confluent"])
def flavour(request: pytest.FixtureRequest) -> Iterator[Flavour]:
    """Each client library."""
    yield request.param
    gc.collect()  # what was not closed says so in this test


@pytest.fixture(scope="module")
def topic(secure_kafka: SecureKafka) -> str:
    """With three records."""
    name = secure_kafka.topic()
    secure_kafka.produce(name, 0, [b"x"] * 3)
    return name


def connection(broker: SecureKafka, listener: str, **more: Any) -> Connection:
    """To one of its listeners."""
    return Connection(brokers=(broker.addresses[listener],), **more)


def reads(connection: Connection, flavour: Flavour, topic: str) -> bool:
    """Whether the records of the topic are seen that way."""
    cluster = shared(connection, flavour)
    try:
        assert cluster.topic(topic).partitions == (0,)
        ends = cluster.ends([TopicPartition(topic, 0)], committed_only=True)
    finally:
        cluster.close()
    return ends == {(topic, 0): (0, 3)}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_passwords(secure_kafka: SecureKafka, flavour: Flavour, topic: str, mechanism: Any) -> None:
    """Each mechanism lets us in with the right password, and says so of a wrong one."""
    sasl = Sasl(mechanism=mechanism, user=USER, password=PASSWORD)
    assert reads(connection(secure_kafka, "SASL", sasl=sasl), flavour, topic)
    wrong = connection(secure_kafka, "SASL", sasl=replace(sasl, password="looking-glass"))
    with pytest.raises(SourceRefused, match="does not accept the user or the password") as caught:
        reads(wrong, flavour, topic)
    assert "looking-glass" not in str(caught.value)


def test_tls(secure_kafka: SecureKafka, flavour: Flavour, topic: str) -> None:
    """An encrypted connection to a broker whose authority is trusted, and to no other."""
    files = secure_kafka.certificates
    tls = Tls(ca=str(files.authority))
    assert reads(connection(secure_kafka, "TLS", tls=tls), flavour, topic)
    sasl = Sasl(mechanism="SCRAM-SHA-512", user=USER, password=PASSWORD)
    assert reads(connection(secure_kafka, "SASL_TLS", tls=tls, sasl=sasl), flavour, topic)
    for other in (Tls(ca=str(files.stranger)), Tls()):
        with pytest.raises(SourceRefused, match="no trust"):
            reads(connection(secure_kafka, "TLS", tls=other), flavour, topic)


def test_certificates_of_clients(secure_kafka: SecureKafka, flavour: Flavour, topic: str) -> None:
    """A client's certificate lets it in, and nothing without one."""
    files = secure_kafka.certificates
    mine = Tls(
        ca=str(files.authority),
        cert=str(files.client),
        key=str(files.client_key),
        password=KEY_PASSWORD,
    )
    assert reads(connection(secure_kafka, "MTLS", tls=mine), flavour, topic)
    with pytest.raises(SourceRefused, match="no trust"):
        reads(connection(secure_kafka, "MTLS", tls=Tls(ca=mine.ca)), flavour, topic)


def test_files_that_are_not_there(secure_kafka: SecureKafka, flavour: Flavour, topic: str) -> None:
    """A path that leads nowhere is refused as such."""
    with pytest.raises(SourceRefused, match="check the files"):
        reads(connection(secure_kafka, "TLS", tls=Tls(ca="/nowhere/ca.pem")), flavour, topic)


def test_rights(secure_kafka: SecureKafka, flavour: Flavour) -> None:
    """A topic that the user may not see is refused with what to do."""
    name = secure_kafka.topic()
    secure_kafka.forbid(name)
    sasl = Sasl(mechanism="PLAIN", user=USER, password=PASSWORD)
    cluster = shared(connection(secure_kafka, "SASL", sasl=sasl), flavour)
    for question in (
        lambda: cluster.topic(name),
        lambda: cluster.ends([TopicPartition(name, 0)], committed_only=True),
    ):
        with pytest.raises(SourceRefused, match=r"no right to the topic.*Describe and Read"):
            question()
    cluster.close()
