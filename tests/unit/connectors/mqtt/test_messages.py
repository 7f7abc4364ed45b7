"""What a task gets of a message, and the id that a message carries."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.mqtt.messages import Reading, Received
from connectors.mqtt.settings import parse_settings


def _received(content: bytes = b"21.5", topic: str = "s/berlin/temp", **more: Any) -> Received:
    base = {"packet": 7, "qos": 1, "again": False, "retained": False}
    return Received(**{**base, "topic": topic, "content": content, **more})


def _reading(**settings: Any) -> Reading:
    parsed = parse_settings({"topic": "#", **settings})
    return Reading(parsed=parsed.body == "json", place=parsed.id, wanted=parsed.filter)


def test_a_message_as_a_task_gets_it():
    """Topic, levels, properties, and what MQTT 5 says of the content."""
    received = _received(
        properties=[("type", "a"), ("tag", "x"), ("tag", "y")],
        headers={"content_type": "text/plain"},
    )
    content = _reading().read(received)
    assert content is not None
    assert content.id is None
    assert content.body == {
        "topic": "s/berlin/temp",
        "levels": ["s", "berlin", "temp"],
        "qos": 1,
        "retained": False,
        "properties": {"type": "a", "tag": ["x", "y"]},
        "content_type": "text/plain",
        "body": "21.5",
    }


@pytest.mark.parametrize(
    ("content", "settings", "key", "value"),
    [
        (b'{"a": 1}', {}, "body", '{"a": 1}'),
        (b'{"a": 1}', {"body": "json"}, "body", {"a": 1}),
        (b"no json", {"body": "json"}, "body", "no json"),
        (b'{"a": 1, "a": 2}', {"body": "json"}, "body", '{"a": 1, "a": 2}'),
        (b"\xff\0", {"body": "json"}, "body_base64", "/wA="),
        (b"a\0b", {}, "body_base64", "YQBi"),
        (b"", {}, "body", ""),
    ],
)
def test_a_body(content: bytes, settings: dict[str, Any], key: str, value: object):
    """A text, what it says, or Base64: it can be written as JSON in any case."""
    read = _reading(**settings).read(_received(content))
    assert read is not None
    assert read.body[key] == value


@pytest.mark.parametrize(
    ("place", "received", "carried"),
    [
        ({"property": "id"}, _received(properties=[("id", "m1")]), "m1"),
        ({"property": "id"}, _received(properties=[("id", "")]), None),
        ({"property": "id"}, _received(properties=[("id", "a"), ("id", "b")]), None),
        ({"property": "id"}, _received(), None),
        ({"field": "event.id"}, _received(b'{"event": {"id": "m1"}}'), "m1"),
        ({"field": "event.id"}, _received(b'{"event": {"id": 17}}'), "17"),
        ({"field": "event.id"}, _received(b'{"event": {"id": true}}'), None),
        ({"field": "event.id"}, _received(b'{"event": 5}'), None),
        ({"field": "event.id"}, _received(b"no json"), None),
    ],
)
def test_an_id_that_a_message_carries(place: dict[str, str], received: Received, carried: Any):
    """A text or a number; without one the message is known by its delivery alone."""
    read = _reading(id=place).read(received)
    assert read is not None
    assert read.body.get("id") == carried
    assert read.id == (None if carried is None else f"s/berlin/temp {carried}")


def test_an_id_counts_within_its_topic():
    """Two devices may number alike. Whatever an id is, it can be one of the inbox."""
    reading = _reading(id={"property": "id"})
    pairs = [("a", "b c"), ("a b", "c"), ("a", "x" * 5000), ("a", "x" * 5001), ("b", "b c")]
    pairs += [("a", "line\nbreak"), ("a\u2028", "b"), ("ä" * 600, "1")]
    ids: list[str] = []
    for topic, carried in pairs:
        read = reading.read(_received(topic=topic, properties=[("id", carried)]))
        assert read is not None
        assert read.id is not None
        ids.append(read.id)
    assert len(set(ids)) == len(pairs)
    assert all(one.isprintable() and 0 < len(one) <= 1024 for one in ids)


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ({"level": {"1": "berlin"}}, True),
        ({"level": {"1": ["rome", "berlin"], "2": "temp"}}, True),
        ({"level": {"9": "berlin"}}, False),
        ({"property": {"type": "alarm"}}, True),
        ({"property": {"type": "news"}}, False),
        ({"property": {"absent": "news"}}, False),
        ({"json": {"value": 7}}, True),
        ({"json": {"value": "7"}}, False),
        ({"json": {"value": 7}, "level": {"1": "rome"}}, False),
    ],
)
def test_only_wanted_messages_are_read(wanted: dict[str, Any], kept: bool):
    """All conditions hold, and of a list one value."""
    received = _received(b'{"value": 7}', properties=[("type", "alarm")])
    assert (_reading(filter=wanted).read(received) is not None) is kept


def test_what_differs_has_another_digest():
    """Content, topic and properties; not how often it was delivered."""
    one = _received()
    assert one.digest() == _received(packet=9, again=True).digest()
    others = [_received(b"x"), _received(topic="t"), _received(properties=[("a", "b")])]
    assert len({one.digest(), *(other.digest() for other in others)}) == 4
