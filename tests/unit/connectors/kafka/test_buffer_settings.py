"""The settings of mode buffer, and what people are told about wrong ones."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.kafka.settings import KafkaSettings, parse_settings


def settings(**own: Any) -> KafkaSettings:
    return parse_settings({"topic": "t", "mode": "buffer", **own})


def test_defaults_depend_on_the_storage() -> None:
    """Without one, files are small enough to travel within the job."""
    alone, beside = settings(), settings(storage="/srv/files")
    assert (alone.file_bytes, alone.inline_bytes) == (131_072, 131_072)
    assert (beside.file_bytes, beside.inline_bytes) == (67_108_864, 16_384)
    assert (beside.keep, beside.max_age) == (86_400_000_000, 10_000_000)


@pytest.mark.parametrize(
    ("own", "path", "says"),
    [
        ({"format": "csv"}, "format", "ndjson"),
        ({"compression": "lz4"}, "compression", "zstd"),
        ({"max_bytes": 200_000}, "max_bytes", "set `storage`"),
        ({"max_bytes": 10}, "max_bytes", "1_000"),
        ({"max_age": "1ms"}, "max_age", "50ms"),
        ({"max_age": 10}, "max_age", "10s"),
        ({"storage": "ftp://x"}, "storage", "s3://"),
        ({"memory": 16_777_216, "storage": "/srv/files"}, "memory", "max_bytes"),
        ({"keep": "-1d"}, "keep", "7d"),
    ],
)
def test_wrong_values(own: dict[str, Any], path: str, says: str) -> None:
    """Each is refused with its place and a remedy."""
    with pytest.raises(SettingsError) as told:
        settings(**own)
    (problem,) = told.value.problems
    assert problem.path == path
    assert says in f"{problem.message} {problem.remedy}"


def test_buffer_keys_mean_nothing_elsewhere() -> None:
    """In another mode they are refused, with the remedy."""
    with pytest.raises(SettingsError, match="mode: buffer"):
        parse_settings({"topic": "t", "mode": "range", "compression": "zstd"})
