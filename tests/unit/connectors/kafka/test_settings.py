"""Settings of Kafka triggers: what is refused, where, and what to write instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.kafka import KafkaConnector, KafkaSettings, parse_settings
from connectors.streams import SourceRefused

SASL = {"mechanism": "PLAIN", "user": "orch"}
BAD: list[tuple[dict[str, Any], str, str, str]] = [
    # settings beside the topic, path, part of the message, part of the remedy
    ({"topic": "a b"}, "topic", "not the name of a topic", "249"),
    ({"topic": ".."}, "topic", "not the name of a topic", "249"),
    ({"topic": "x" * 250}, "topic", "not the name of a topic", "249"),
    ({"topic": 7}, "topic", "7 is not text", "in quotes"),
    ({"topics": "logs"}, "topics", "unknown setting", "'topic'"),
    ({"brokers": "kafka-1"}, "brokers", "'kafka-1' is not the address", "host:9092"),
    ({"brokers": "kafka-1:99999"}, "brokers", "not the address", "host:9092"),
    ({"brokers": "http://kafka:9092"}, "brokers", "not the address", "host:9092"),
    ({"brokers": []}, "brokers", "there are 0 brokers", "1 to 100"),
    ({"brokers": 9092}, "brokers", "no list of brokers", "host:9092"),
    ({"mode": "rang"}, "mode", "'rang' is not accepted", "'range', 'follow' or 'buffer'"),
    ({"isolation": "none"}, "isolation", "'none' is not accepted", "'read_committed'"),
    ({"start": "soon"}, "start", "'soon' is no place to start", "earliest, latest"),
    ({"start": "2026-03-29 01:00"}, "start", "no place to start", "2026-03-29T01:00:00Z"),
    ({"start": 5}, "start", "5 is no place to start", "{'0': 1500}"),
    ({"start": {}}, "start", "no place to start", "{'0': 1500}"),
    ({"start": {"a": 1}}, "start", "'a' is not the number of a partition", "0, 1, 2"),
    ({"start": {"0": -1}}, "start.0", "-1 is not an offset", "from 0 on"),
    ({"max_records": 0}, "max_records", "0 is not within 1 to 10_000_000", "within"),
    ({"max_records": "many"}, "max_records", "'many' is not a whole number", "1 to 10_000_000"),
    ({"max_records": True}, "max_records", "True is not a whole number", "1 to"),
    ({"min_records": 20_000}, "min_records", "more than max_records, 10000", "smaller"),
    ({"max_wait": 5}, "max_wait", "5 has no unit", "5s"),
    ({"max_wait": "2d"}, "max_wait", "2 d is too long", "at most 1d"),
    ({"poll": "1ms"}, "poll", "1 ms is too short", "at least 20ms"),
    ({"on_lost": "skip"}, "on_lost", "not accepted", "'stop' or 'continue'"),
    ({"dead_letters": "ftp://x"}, "dead_letters", "not an address", "s3://"),
    ({"life": "5m"}, "life", "means nothing in mode range", "mode: follow"),
    ({"mode": "follow", "max_wait": "1s"}, "max_wait", "nothing in mode follow", "mode: range"),
    ({"mode": "follow", "filter": {"key": "a"}}, "filter", "mode follow", "range or buffer"),
    ({"format": "values"}, "format", "means nothing in mode range", "mode: buffer"),
    ({"mode": "follow", "life": "1s"}, "life", "too short", "at least 10s"),
    (
        {"mode": "follow", "keep_warm": True, "idle_exit": "5s"},
        "idle_exit",
        "`keep_warm` keeps a follower",
        "remove one",
    ),
    ({"filter": {}}, "filter", "0 conditions", "`key`, `header` and `json`"),
    ({"filter": {"keys": "a"}}, "filter.keys", "unknown setting", "'key'"),
    ({"filter": {"key": 5}}, "filter.key", "5 is not text", "in quotes"),
    ({"filter": {"key": []}}, "filter.key", "0 values", "1 to 1000"),
    ({"filter": {"json": {"a": {"b": 1}}}}, "filter.json.a", "not a plain value", "a number"),
    (
        {"security": {"sasl": {**SASL, "password": "hunter2"}}},
        "security.sasl.password",
        "a secret stands in the file",
        "{secret: NAME}",
    ),
    (
        {"security": {"sasl": {**SASL, "password": {"secret": "hunter 2"}}}},
        "security.sasl.password",
        "no name that can be used",
        "{secret: NAME}",
    ),
    ({"security": {"sasl": SASL}}, "security.sasl.password", "is missing", "write a value"),
    ({"security": {"tls": {"key": "k.pem"}}}, "security.tls.key", "without `cert`", "add"),
    ({"security": {"tlss": True}}, "security.tlss", "unknown setting", "'tls'"),
    ({"client": "kafka"}, "client", "not accepted", "'kafka-python' or 'confluent'"),
    ({"client_id": "a b"}, "client_id", "not a plain word", "printable"),
]


@pytest.mark.parametrize(("settings", "path", "message", "remedy"), BAD)
def test_what_is_wrong_is_said_with_its_place(
    settings: dict[str, Any], path: str, message: str, remedy: str
) -> None:
    """One problem, at the key that is to blame, with what to write instead; never a secret."""
    with pytest.raises(SettingsError) as caught:
        KafkaConnector().check({"topic": "logs", **settings})
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message
    assert remedy in problem.remedy
    assert "hunter" not in str(caught.value)


def test_a_topic_is_all_that_is_needed() -> None:
    """The defaults read everything from the earliest record on, at a broker on this machine."""
    settings = parse_settings({"topic": "logs"})
    assert (settings.mode, settings.start, settings.isolation) == (
        "range",
        "earliest",
        "read_committed",
    )
    assert settings.brokers == ("127.0.0.1:9092",)
    assert (settings.max_records, settings.max_wait, settings.on_lost) == (10_000, 10**6, "stop")


@pytest.mark.parametrize(
    "settings",
    [
        {"brokers": "a:1, b:2"},
        {"brokers": ["[::1]:9092", "kafka-1.example.org:9092"]},
        {"start": "2026-03-29T01:00:00+02:00"},
        {"start": {0: 5, "1": 7}},
        {"max_wait": 0},
        {"max_wait": "0s"},
        {"mode": "follow", "keep_warm": True},
        {"mode": "follow", "idle_exit": 0},
        {"mode": "buffer", "format": "values", "max_age": "5s", "filter": {"key": ["a", "b"]}},
        {"security": {"tls": True}},
        {"dead_letters": "/srv/dead"},
    ],
)
def test_what_may_be_written(settings: dict[str, Any]) -> None:
    """Forms that people use; the settings are frozen and can be written down as JSON."""
    read = parse_settings({"topic": "logs", **settings})
    assert json.loads(read.model_dump_json(by_alias=True))["topic"] == "logs"


def test_every_key_is_described() -> None:
    """`orch schema kafka` and the docs live on what stands at the fields."""
    for name, field in KafkaSettings.model_fields.items():
        assert field.description, name
        assert field.examples, name
    assert "1s" in json.dumps(KafkaSettings.model_json_schema()["properties"]["max_wait"])


def test_secrets_are_named_and_read_on_use() -> None:
    """The password comes from the secrets, is shown nowhere, and its absence says what to do."""
    password = {"secret": "KAFKA_PASSWORD"}
    settings = parse_settings(
        {
            "topic": "logs",
            "security": {
                "sasl": {"mechanism": "SCRAM-SHA-512", "user": "orch", "password": password},
                "tls": {"ca": "ca.pem", "cert": "c.pem", "password": password},
            },
        }
    )
    connection = settings.connection({"KAFKA_PASSWORD": "hunter2"})
    assert connection.sasl is not None
    assert connection.sasl.password == "hunter2"
    assert connection.tls is not None
    assert connection.tls.password == "hunter2"
    assert "hunter2" not in repr(connection) + repr(settings)
    with pytest.raises(SourceRefused, match="set ORCH_SECRET_KAFKA_PASSWORD"):
        settings.connection({})


def test_the_topic_is_the_identity() -> None:
    """Other brokers may lead to the same topic; another topic is another source."""
    connector = KafkaConnector()
    here = connector.identity({"topic": "logs", "brokers": "a:1"})
    assert here == connector.identity({"topic": "logs", "brokers": "b:1", "mode": "follow"})
    assert here != connector.identity({"topic": "metrics", "brokers": "a:1"})


@pytest.mark.parametrize(
    ("text", "position"), [("15", "15"), (" 007 ", "7"), (str(2**63 - 1),) * 2]
)
def test_positions_are_offsets(text: str, position: str) -> None:
    """What a person writes for a checkpoint is an offset, in one form."""
    assert KafkaConnector().position({"topic": "logs"}, text) == position


@pytest.mark.parametrize("text", ["", "-1", "earliest", "1.5", "٣", str(2**63), "9" * 5000])
def test_other_positions_are_refused(text: str) -> None:
    """Anything else says what to write."""
    with pytest.raises(ValueError, match="write a whole number from 0 on"):
        KafkaConnector().position({"topic": "logs"}, text)
