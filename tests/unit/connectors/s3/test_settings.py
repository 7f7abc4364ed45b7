"""Settings: what is taken, and how what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.queues import Inbox
from connectors.s3 import S3Connector
from connectors.s3.settings import parse_settings
from connectors.times import DAY, MINUTE, SECOND

ARN = "arn:aws:sqs:eu-central-1:123456789012:new-logs"


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"bucket": "s3://logs"}, "bucket", "not a bucket's name"),
        ({"bucket": "logs/2026"}, "bucket", "not a bucket's name"),
        ({"bucket": "ab"}, "bucket", "not a bucket's name"),
        ({"bucket": 5}, "bucket", "is not text"),
        ({"bucket": "logs--use1-az4--x-s3"}, "bucket", "listed in no order"),
        ({"prefix": "a\nb"}, "prefix", "not the beginning of a key"),
        ({"prefix": "ä" * 513}, "prefix", "not the beginning of a key"),
        ({"match": ""}, "match", "glob of 0 characters"),
        ({"match": []}, "match", "0 globs"),
        ({"match": ["*.log", 5]}, "match[1]", "is not text"),
        ({"match": "a**"}, "match", "** beside something else"),
        ({"match": ["ok", "[ab"]}, "match[1]", "[ without its ]"),
        ({"match": "[z-a]"}, "match", "the range z-a"),
        ({"match": "x" * 1025}, "match", "glob of 1025"),
        ({"match": ["*"] * 101}, "match", "101 globs"),
        ({"region": "Frankfurt am Main"}, "region", "not a region"),
        ({"endpoint": "127.0.0.1:9000"}, "endpoint", "not an address"),
        ({"endpoint": "http://user:pw@host"}, "endpoint", "holds a user"),
        ({"endpoint": "ftp://host"}, "endpoint", "not an address"),
        ({"interval": "100ms"}, "interval", "too short"),
        ({"interval": "2d"}, "interval", "too long"),
        ({"interval": 60}, "interval", "has no unit"),
        ({"start": "oldest"}, "start", "is not a time"),
        ({"start": "2026-03-29T01:00:00"}, "start", "no offset"),
        ({"start": 5}, "start", "no place to start"),
        ({"look_back": "10s"}, "look_back", "too short"),
        ({"look_back": "31d"}, "look_back", "too long"),
        ({"settle": "8d"}, "settle", "too long"),
        ({"versions": "yes please"}, "versions", "is not accepted"),
        ({"notifications": {}}, "notifications.queue", "is missing"),
        ({"notifications": "queue"}, "notifications", "not a mapping"),
        ({"notifications": {"queue": "a b"}}, "notifications.queue", "names no queue"),
        ({"notifications": {"queue": ARN, "region": "us-east-1"}}, "notifications.region", "not"),
        ({"notifications": {"queue": "q", "endpoint": "x"}}, "notifications.endpoint", "not an"),
        ({"notifications": {"queue": "q", "topic": "x"}}, "notifications.topic", "unknown"),
        ({"notifications": {"queue": "q"}, "reconcile": "1s"}, "reconcile", "too short"),
        ({"notifications": {"queue": "q"}, "interval": "1m"}, "interval", "does nothing with"),
        ({"notifications": {"queue": "q"}, "settle": "1m"}, "settle", "holds nothing back"),
        ({"reconcile": "1h"}, "reconcile", "does nothing without"),
        ({"batch_size": 0}, "batch_size", "not within"),
        ({"batch_size": 10_001}, "batch_size", "not within"),
        ({"batch_window": "1m"}, "batch_window", "does nothing with batch_size 1"),
        ({"batch_bytes": 9}, "batch_bytes", "does nothing with batch_size 1"),
        ({"batch_size": 9, "batch_bytes": 0}, "batch_bytes", "not within"),
        ({"batch_size": 9, "batch_window": "2d"}, "batch_window", "too long"),
        ({"input": "object"}, "input", "is not accepted"),
        ({"storage": "bucket"}, "storage", "not an address"),
        ({"keep": "1d"}, "keep", "does nothing without"),
        ({"storage": "/srv", "keep": "1"}, "keep", "not a duration"),
        ({"buckets": "x"}, "buckets", "unknown setting"),
    ],
)
def test_a_bad_setting_is_told_with_its_place(settings: dict[str, Any], path: str, words: str):
    """Each problem names its key and has a remedy."""
    with pytest.raises(SettingsError) as caught:
        S3Connector().check({"bucket": "logs", **settings})
    problem = caught.value.problems[0]
    assert problem.path == path
    assert words in problem.message
    assert problem.remedy


def test_a_bucket_is_needed():
    """Nothing else is."""
    with pytest.raises(SettingsError, match="bucket: is missing"):
        S3Connector().check({})
    S3Connector().check({"bucket": "logs"})


def test_a_password_is_not_shown_again():
    """An address that holds one is refused without it."""
    with pytest.raises(SettingsError) as caught:
        S3Connector().check(
            {
                "bucket": "logs",
                "endpoint": "http://me:hunter2@host",
                "notifications": {"queue": "http://me:hunter2@host/queue"},
            }
        )
    assert len(caught.value.problems) == 2
    assert "hunter2" not in str(caught.value)


def test_what_is_left_out():
    """A listing a minute, objects one by one; with notifications a listing an hour."""
    plain = parse_settings({"bucket": "logs"})
    assert (plain.pause, plain.look_back, plain.batch_size, plain.start) == (
        MINUTE,
        DAY,
        1,
        "earliest",
    )
    told = {"bucket": "logs", "notifications": {"queue": ARN}}
    assert parse_settings(told).pause == 60 * MINUTE
    assert parse_settings({**told, "reconcile": 0}).pause is None
    assert parse_settings({"bucket": "logs", "batch_size": 9}).window == 10 * SECOND


def test_what_identifies_a_source():
    """Another bucket or prefix is another source; how it is looked at is not."""
    connector = S3Connector()
    one = connector.identity({"bucket": "logs", "prefix": "a/"})
    assert one == connector.identity(
        {"bucket": "logs", "prefix": "a/", "match": "*", "versions": True}
    )
    assert one != connector.identity({"bucket": "logs", "prefix": "b/"})
    assert one != connector.identity({"bucket": "other", "prefix": "a/"})


def test_keys_that_count():
    """The prefix is text, globs are for what follows it, and one of them is enough."""
    settings = parse_settings({"bucket": "logs", "prefix": "app/", "match": ["*.log", "**/*.csv"]})
    wanted = {"app/a.log", "app/x/y/b.csv", "app/b.csv"}
    others = {"a.log", "app/x/a.log", "app", "app/a.log.gz", "application/a.log"}
    assert {key for key in wanted | others if settings.wants(key)} == wanted


def test_opening_does_no_io(source_context: Any):
    """Nothing is asked before the first poll, and closing twice is harmless."""
    inbox = Inbox(cursor=None, known=lambda ids: set())
    source = S3Connector().open(
        {"bucket": "logs", "endpoint": "http://127.0.0.1:1", "notifications": {"queue": "q"}},
        source_context,
        inbox,
    )
    source.close()
    source.close()
