"""Filters match what MQTT says that they match (MQTT 5.0, 4.7)."""

from __future__ import annotations

import pytest

from connectors.broker.address import parse
from connectors.broker.topics import parse_filter


@pytest.mark.parametrize(
    ("text", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/", True),
        ("+/+", "/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$share/g/a/+", "a/b", True),
        ("$share/g/a/+", "g/a/b", False),
    ],
)
def test_matching(text: str, topic: str, matches: bool):
    """Level by level; topics of the broker itself are not meant by a wildcard."""
    assert parse_filter(text).matches(topic) is matches


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mqtt://host", "mqtt://host:1883"),
        ("mqtts://host", "mqtts://host:8883"),
        ("mqtt://[::1]:99", "mqtt://[::1]:99"),
        ("mqtt://10.0.0.1:1884/", "mqtt://10.0.0.1:1884"),
    ],
)
def test_an_address(text: str, shown: str):
    """With the port that the scheme has."""
    assert str(parse(text)) == shown
