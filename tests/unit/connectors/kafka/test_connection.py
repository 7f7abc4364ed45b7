"""Connections: equal ones are one, secrets stay inside, both clients get their words."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.connection import (
    Connection,
    Sasl,
    Tls,
    kafka_python_options,
    librdkafka_options,
)
from connectors.kafka.faults import fault, from_kafka_python
from connectors.kafka.reader import open_reader
from connectors.streams import SourceRefused, SourceUnavailable
from tests.support.certificates import KEY_PASSWORD, make

SASL = Sasl(mechanism="SCRAM-SHA-256", user="alice", password="wonder")
TLS = Tls(ca="/ca.pem", cert="/me.pem", key="/me.key", password="sealed")
FULL = Connection(brokers=("a:1", "b:2"), client_id="c", rack="r1", sasl=SASL, tls=TLS)


def test_no_secret_is_shown() -> None:
    """Neither the text nor the representation of a connection tells a password."""
    for text in (repr(FULL), str(FULL), f"{FULL}"):
        assert "wonder" not in text
        assert "sealed" not in text
    assert str(FULL) == "a:1, b:2"


def test_equal_ones_are_one() -> None:
    """Equal connections are one key; another password is another connection."""
    same = replace(FULL, sasl=replace(SASL), tls=replace(TLS))
    assert {FULL: 1}[same] == 1
    assert replace(FULL, sasl=replace(SASL, password="other")) != FULL


@pytest.mark.parametrize(
    ("sasl", "tls", "protocol"),
    [
        (None, None, "PLAINTEXT"),
        (SASL, None, "SASL_PLAINTEXT"),
        (None, TLS, "SSL"),
        (SASL, TLS, "SASL_SSL"),
    ],
)
def test_protocol(sasl: Sasl | None, tls: Tls | None, protocol: str) -> None:
    """The security protocol follows from what there is."""
    connection = replace(FULL, sasl=sasl, tls=tls)
    assert connection.protocol == protocol
    assert kafka_python_options(replace(connection, tls=tls and Tls()))["security_protocol"] == (
        protocol
    )
    assert librdkafka_options(connection)["security.protocol"] == protocol


def test_librdkafka_options() -> None:
    """Everything stands in librdkafka's words; what is not set is left to it."""
    assert librdkafka_options(FULL) == {
        "bootstrap.servers": "a:1,b:2",
        "client.id": "c",
        "client.rack": "r1",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "alice",
        "sasl.password": "wonder",
        "ssl.ca.location": "/ca.pem",
        "ssl.certificate.location": "/me.pem",
        "ssl.key.location": "/me.key",
        "ssl.key.password": "sealed",
        "ssl.endpoint.identification.algorithm": "https",
    }
    plain = replace(FULL, sasl=None, tls=Tls(cert="/both.pem", check_hostname=False))
    options = librdkafka_options(plain)
    assert options["ssl.key.location"] == "/both.pem"
    assert options["ssl.endpoint.identification.algorithm"] == "none"
    assert "ssl.ca.location" not in options
    assert "sasl.password" not in options


def test_the_other_client_takes_its_options() -> None:
    """Both kinds of clients of kafka-python know every option."""
    from kafka import KafkaConsumer
    from kafka.admin import KafkaAdminClient

    options = set(kafka_python_options(replace(FULL, tls=Tls())))
    assert options <= set(KafkaAdminClient.DEFAULT_CONFIG)
    assert options <= set(KafkaConsumer.DEFAULT_CONFIG)


def test_the_rack_reaches_the_consumers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both readers tell their library where they are."""
    given: dict[str, Any] = {}

    def python(**options: Any) -> Any:
        given["kafka-python"] = options["client_rack"]
        return Mock()

    def librdkafka(options: dict[str, Any], **_: Any) -> Any:
        given["confluent"] = options["client.rack"]
        return Mock()

    monkeypatch.setattr("kafka.KafkaConsumer", python)
    monkeypatch.setattr("confluent_kafka.Consumer", librdkafka)
    for flavour in ("kafka-python", "confluent"):
        reader = open_reader(replace(FULL, sasl=None, tls=None), flavour)
        reader.assign({TopicPartition("t", 0): 0})
        reader.close()
    assert given == {"kafka-python": "r1", "confluent": "r1"}


def test_tls_of_the_other_client(tmp_path: Path) -> None:
    """Authority, certificate, sealed key and the check of names; a wrong file is refused."""
    files = make(tmp_path)
    tls = Tls(
        ca=str(files.authority),
        cert=str(files.client),
        key=str(files.client_key),
        password=KEY_PASSWORD,
        check_hostname=False,
    )
    context: ssl.SSLContext = kafka_python_options(replace(FULL, tls=tls))["ssl_context"]
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert not context.check_hostname
    for wrong in (replace(tls, password=None), replace(tls, key=str(files.authority))):
        with pytest.raises(OSError, match="SSL"):
            kafka_python_options(replace(FULL, tls=wrong))


@pytest.mark.parametrize(
    ("code", "words"),
    [(3, "no such topic"), (29, "no right to the topic"), (-169, "password"), (25, "members")],
)
def test_what_does_not_mend_itself_is_refused(code: int, words: str) -> None:
    """A refusal names what was asked, the brokers, the reason and a remedy."""
    error = fault("topic logs", FULL, code, "detail")
    assert isinstance(error, SourceRefused)
    assert str(error).startswith("topic logs: Kafka at a:1, b:2: ")
    assert words in str(error)
    assert str(error).endswith(")")


@pytest.mark.parametrize("code", [None, 5, 6, 7, 15, 16, -185, -195, 12345])
def test_the_rest_may_pass(code: int | None) -> None:
    """What is unknown or passes is worth another try."""
    error = fault("topic logs", FULL, code, "no leader")
    assert isinstance(error, SourceUnavailable)
    assert str(error) == "topic logs: Kafka at a:1, b:2: no leader"


def test_errors_of_the_network() -> None:
    """An errno of the operating system is no error code of Kafka."""
    assert isinstance(from_kafka_python("x", FULL, OSError(29, "no")), SourceUnavailable)
    assert isinstance(from_kafka_python("x", FULL, ConnectionRefusedError()), SourceUnavailable)
    assert isinstance(from_kafka_python("x", FULL, FileNotFoundError(2, "no")), SourceRefused)
