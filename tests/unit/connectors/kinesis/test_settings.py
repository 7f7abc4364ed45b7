"""Settings: what is taken, and how what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.kinesis import KinesisConnector
from connectors.kinesis.settings import parse_settings
from connectors.payloads import INLINE_ALONE

ARN = "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({}, "stream", "is missing"),
        ({"stream": "a b"}, "stream", "names no stream"),
        ({"stream": "arn:aws:s3:::bucket"}, "stream", "names no stream"),
        ({"region": "Frankfurt"}, "region", "not a region"),
        ({"stream": ARN, "region": "us-east-1"}, "region", "not the region of the ARN"),
        ({"endpoint": "127.0.0.1:4566"}, "endpoint", "not an address"),
        ({"endpoint": "http://user:pw@host"}, "endpoint", "holds a user"),
        ({"endpoint": "http://host:99999"}, "endpoint", "not an address"),
        ({"endpoint": "http://host/\nx"}, "endpoint", "not an address"),
        ({"mode": "follow"}, "mode", "'follow' is not accepted"),
        ({"start": "earliest"}, "start", "is not a time"),
        ({"start": "2026-03-29T01:00:00"}, "start", "no offset"),
        ({"start": {}}, "start", "no place to start"),
        ({"start": 5}, "start", "no place to start"),
        ({"start": {"shardId-0": "12x"}}, "start.'shardId-0'", "no sequence number"),
        ({"start": {"shardId-0": True}}, "start.'shardId-0'", "no sequence number"),
        ({"start": {"a/b": "1"}}, "start.'a/b'", "no shard"),
        ({"max_records": 0}, "max_records", "not within"),
        ({"max_wait": "2h"}, "max_wait", "too long"),
        ({"poll": "100ms"}, "poll", "too short"),
        ({"mode": "buffer", "max_wait": "1s"}, "max_wait", "does nothing in mode buffer"),
        ({"storage": "/srv"}, "storage", "does nothing in mode range"),
        ({"format": "values"}, "format", "does nothing in mode range"),
        ({"mode": "buffer", "storage": "bucket"}, "storage", "not an address"),
        ({"mode": "buffer", "max_bytes": INLINE_ALONE + 1}, "max_bytes", "do not fit into a job"),
        ({"on_lost": "panic"}, "on_lost", "is not accepted"),
        ({"shard": "x"}, "shard", "unknown setting"),
    ],
)
def test_a_bad_setting_is_told_with_its_place(settings: dict[str, Any], path: str, words: str):
    """Each problem names its key and has a remedy."""
    given = {"stream": "clicks", **settings} if settings else {}
    with pytest.raises(SettingsError) as caught:
        KinesisConnector().check(given)
    problem = caught.value.problems[0]
    assert problem.path == path
    assert words in problem.message
    assert problem.remedy


def test_a_stream_by_name_and_by_arn_is_one_source():
    """Writing the ARN later needs no reset; the region is then known."""
    connector = KinesisConnector()
    assert connector.identity({"stream": ARN}) == connector.identity({"stream": "clicks"})
    assert parse_settings({"stream": ARN}).place == "eu-central-1"


def test_sequence_numbers_may_be_numbers():
    """YAML reads them as such, with all their digits."""
    number = 49590338271490256608559692538361571095921575989136588898
    settings = parse_settings({"stream": "clicks", "start": {"shardId-000000000000": number}})
    assert settings.start == {"shardId-000000000000": str(number)}


def test_a_file_without_storage_fits_into_a_job():
    """Where nothing is said, sizes follow from where files go."""
    inline = parse_settings({"stream": "clicks", "mode": "buffer"})
    stored = parse_settings({"stream": "clicks", "mode": "buffer", "storage": "/srv/orch"})
    assert (inline.size, stored.size) == (INLINE_ALONE, 64 * 1024 * 1024)
    assert (inline.age, parse_settings({"stream": "clicks"}).age) == (10_000_000, 1_000_000)
