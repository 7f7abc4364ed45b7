"""Settings: what is taken, and how what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.mqtt import MqttConnector
from connectors.mqtt.settings import parse_settings


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"topic": None}, "topic", "is not text"),
        ({"topic": ""}, "topic", "there is nothing"),
        ({"topic": "a/#/b"}, "topic", "stands before the end"),
        ({"topic": "a/b+"}, "topic", "fill a level"),
        ({"topic": "a\nb"}, "topic", "signs that no topic has"),
        ({"topic": "$share/g"}, "topic", "no shared subscription"),
        ({"topic": "$share/+/a"}, "topic", "no shared subscription"),
        ({"topic": "a" * 70_000}, "topic", "more than 65535 bytes"),
        ({"broker": "127.0.0.1:1883"}, "broker", "no address of a broker"),
        ({"broker": "http://host"}, "broker", "no address of a broker"),
        ({"broker": "mqtt://"}, "broker", "no address of a broker"),
        ({"broker": "mqtt://host:0"}, "broker", "no address of a broker"),
        ({"broker": "mqtt://host:99999"}, "broker", "no address of a broker"),
        ({"broker": "mqtt://user:hunter2@host"}, "broker", "holds a user or password"),
        ({"broker": "mqtt://host/path"}, "broker", "more than an address"),
        ({"protocol": 4}, "protocol", "no version that is spoken"),
        ({"protocol": True}, "protocol", "no version that is spoken"),
        ({"qos": 3}, "qos", "not within"),
        ({"qos": "1"}, "qos", "not a whole number"),
        ({"qos": 0, "ack": "on_success"}, "ack", "not acknowledged"),
        ({"retained": "maybe"}, "retained", "is not accepted"),
        ({"topic": "$share/g/a", "retained": "take"}, "retained", "no retained messages"),
        ({"id": "message-id"}, "id", "not a mapping"),
        ({"id": {}}, "id", "stands in one place"),
        ({"id": {"property": "a", "field": "b"}}, "id", "stands in one place"),
        ({"id": {"field": "a b"}}, "id.field", "no place in a body"),
        ({"id": {"propert": "a"}}, "id.propert", "unknown setting"),
        ({"id": {"property": "a"}, "protocol": "3.1.1"}, "id.property", "no user properties"),
        ({"dedup_window": "1d"}, "dedup_window", "carry no id"),
        ({"id": {"field": "id"}, "dedup_window": "1s"}, "dedup_window", "too short"),
        ({"batch_size": 0}, "batch_size", "not within"),
        ({"batch_size": 20_000}, "batch_size", "not within"),
        ({"batch_size": 50, "max_inflight": 20}, "batch_size", "more than max_inflight"),
        ({"batch_window": 5}, "batch_window", "no unit"),
        ({"batch_window": "2h"}, "batch_window", "too long"),
        ({"batch_bytes": 10}, "batch_bytes", "not within"),
        ({"batch_bytes": 200_000}, "batch_bytes", "do not travel within a job"),
        ({"ack": "never"}, "ack", "is not accepted"),
        ({"max_inflight": 70_000}, "max_inflight", "not within"),
        ({"session_expiry": "1s"}, "session_expiry", "too short"),
        ({"session_expiry": "61s5ms"}, "session_expiry", "whole seconds"),
        ({"protocol": "3.1.1", "session_expiry": "1d"}, "session_expiry", "no such setting"),
        ({"keep_alive": "1s"}, "keep_alive", "too short"),
        ({"keep_alive": "10s5ms"}, "keep_alive", "whole seconds"),
        ({"client_id": "a b"}, "client_id", "no client id"),
        ({"client_id": ""}, "client_id", "no client id"),
        ({"body": "xml"}, "body", "is not accepted"),
        ({"filter": {}}, "filter", "has 0 conditions"),
        ({"filter": {"level": {"one": "a"}}}, "filter.level", "not the number of a level"),
        ({"filter": {"property": {"a": 5}}}, "filter.property.a", "is not text"),
        ({"filter": {"json": {"a": [[]]}}}, "filter.json.a", "not a plain value"),
        (
            {"filter": {"property": {"a": "b"}}, "protocol": "3.1.1"},
            "filter.property",
            "no user properties",
        ),
        ({"will": {}}, "will.topic", "is missing"),
        ({"will": {"topic": "a/+"}}, "will.topic", "not the name of a topic"),
        ({"will": {"topic": "a", "qos": 3}}, "will.qos", "not within"),
        ({"will": "offline"}, "will", "not a mapping"),
        ({"security": {"password": {"secret": "P"}}}, "security.password", "without `user`"),
        ({"security": {"user": "u", "password": "hunter2"}}, "security.password", "a secret"),
        ({"security": {"tls": {"ca": "/ca.pem"}}}, "security.tls", "does nothing with mqtt://"),
        (
            {"broker": "mqtts://host", "security": {"tls": {"key": "/k"}}},
            "security.tls.key",
            "without `cert`",
        ),
        ({"storage": "bucket"}, "storage", "not an address"),
        ({"keep": "1d"}, "keep", "does nothing without"),
        ({"topics": "x"}, "topics", "unknown setting"),
    ],
)
def test_a_bad_setting_is_told_with_its_place(settings: dict[str, Any], path: str, words: str):
    """Each problem names its key and has a remedy."""
    with pytest.raises(SettingsError) as caught:
        parse_settings({"topic": "a", **settings})
    found = [p for p in caught.value.problems if p.path == path and words in p.message]
    assert found, caught.value.problems
    assert all(problem.remedy for problem in caught.value.problems)
    assert "hunter2" not in str(caught.value)


def test_a_topic_is_all_that_has_to_be_written():
    """The rest has defaults that lose nothing."""
    settings = parse_settings({"topic": "sensors/#"})
    assert (settings.qos, settings.ack, settings.protocol) == (1, "on_intake", "5")
    with pytest.raises(SettingsError):
        parse_settings({})


@pytest.mark.parametrize("written", [5, "5", "5.0"])
def test_a_version_is_a_number_or_a_text(written: Any):
    """YAML makes a number of 5, and a text of 3.1.1."""
    assert parse_settings({"topic": "a", "protocol": written}).protocol == "5"
    assert parse_settings({"topic": "a", "protocol": "3.1.1"}).protocol == "3.1.1"


def test_a_source_is_its_broker_and_its_filter():
    """However the address is written; passwords and sizes may change."""
    connector = MqttConnector()
    one = connector.identity({"topic": "a", "broker": "mqtt://host"})
    assert one == connector.identity({"topic": "a", "broker": "mqtt://host:1883", "qos": 2})
    assert one != connector.identity({"topic": "b", "broker": "mqtt://host"})
    assert one != connector.identity({"topic": "a", "broker": "mqtt://host", "client_id": "c"})
