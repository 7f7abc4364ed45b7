"""Settings: what is taken, and how what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.sqs import SqsConnector
from connectors.sqs.settings import parse_settings

ARN = "arn:aws:sqs:eu-central-1:123456789012:orders"
URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({}, "queue", "is missing"),
        ({"queue": "a b"}, "queue", "names no queue"),
        ({"queue": 5}, "queue", "not text"),
        ({"queue": "arn:aws:s3:::bucket"}, "queue", "names no queue"),
        ({"queue": "https://user:pw@host/orders"}, "queue", "holds a user"),
        ({"region": "Frankfurt"}, "region", "not a region"),
        ({"queue": ARN, "region": "us-east-1"}, "region", "not the region of the ARN"),
        ({"queue": URL, "region": "us-east-1"}, "region", "not the region of the URL"),
        ({"endpoint": "127.0.0.1:9324"}, "endpoint", "not an address"),
        ({"endpoint": "http://user:pw@host"}, "endpoint", "holds a user"),
        ({"batch_size": 0}, "batch_size", "not within"),
        ({"batch_size": 10_001}, "batch_size", "not within"),
        ({"batch_size": True}, "batch_size", "not a whole number"),
        ({"batch_window": 5}, "batch_window", "no unit"),
        ({"batch_window": "2h"}, "batch_window", "too long"),
        ({"batch_bytes": 10}, "batch_bytes", "not within"),
        ({"batch_bytes": 200_000}, "batch_bytes", "do not travel within a job"),
        ({"max_pollers": 33}, "max_pollers", "not within"),
        ({"wait": "21s"}, "wait", "too long"),
        ({"wait": "500ms"}, "wait", "too short"),
        ({"wait": "1s500ms"}, "wait", "whole seconds"),
        ({"visibility": "5s"}, "visibility", "too short"),
        ({"visibility": "13h"}, "visibility", "too long"),
        ({"visibility": "30s5ms"}, "visibility", "whole seconds"),
        ({"ack": "never"}, "ack", "is not accepted"),
        ({"dead": "drop"}, "dead", "is not accepted"),
        ({"ack": "on_intake", "dead": "return"}, "dead", "cannot go back"),
        ({"dedup_window": "31d"}, "dedup_window", "too long"),
        ({"body": "xml"}, "body", "is not accepted"),
        ({"filter": {}}, "filter", "has 0 conditions"),
        ({"filter": {"header": {"a": "b"}}}, "filter.header", "unknown setting"),
        ({"filter": {"attribute": {"a": 5}}}, "filter.attribute.a", "is not text"),
        ({"filter": {"json": {"a": [[]]}}}, "filter.json.a", "not a plain value"),
        ({"storage": "bucket"}, "storage", "not an address"),
        ({"keep": "1d"}, "keep", "does nothing without"),
        ({"storage": "/srv", "keep": "11y"}, "keep", "not a duration"),
        ({"profile": "x"}, "profile", "unknown setting"),
    ],
)
def test_a_bad_setting_is_told_with_its_place(settings: dict[str, Any], path: str, words: str):
    """Each problem names its key and has a remedy."""
    given = {"queue": "orders", **settings} if settings else {}
    with pytest.raises(SettingsError) as caught:
        SqsConnector().check(given)
    problem = caught.value.problems[0]
    assert problem.path == path
    assert words in problem.message
    assert problem.remedy


def test_a_queue_by_name_arn_and_url_is_one_source():
    """Writing it in another way later needs no reset; region and order are known."""
    connector = SqsConnector()
    ways = ("orders", ARN, URL, "http://127.0.0.1:9324/000000000000/orders")
    assert all(connector.identity({"queue": way}) == {"queue": "orders"} for way in ways)
    assert parse_settings({"queue": ARN}).address.region == "eu-central-1"
    assert parse_settings({"queue": URL + ".fifo"}).address.fifo


def test_what_is_gathered():
    """Size, bytes and age of a run, by default and as written."""
    plain = parse_settings({"queue": "orders"}).gathering
    assert (plain.size, plain.bytes, plain.window) == (10, 0, 1_000_000)
    given = parse_settings(
        {
            "queue": "orders",
            "storage": "/srv/orch",
            "batch_size": 10_000,
            "batch_bytes": 1_000_000,
            "batch_window": "30s",
        }
    ).gathering
    assert (given.size, given.bytes, given.window) == (10_000, 1_000_000, 30_000_000)
