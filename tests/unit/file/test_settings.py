"""Settings of both kinds: what is taken, and how what is not is told."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.abc import SettingsError
from connectors.file import DirectoryConnector, FileConnector
from connectors.file.directory_settings import parse_directory
from connectors.file.settings import parse_settings

LOG = "/var/log/app.log"


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({}, "path", "is missing"),
        ({"path": "app.log"}, "path", "not an absolute path"),
        ({"path": "/var/log/"}, "path", "is a directory"),
        ({"path": "/"}, "path", "is a directory"),
        ({"path": "/var/log/."}, "path", "is a directory"),
        ({"path": "/var/../etc/shadow"}, "path", "holds '..'"),
        ({"path": "/var/log/a\0b"}, "path", "control characters"),
        ({"path": "/var/log/a\nb"}, "path", "control characters"),
        ({"path": "/var/log/**"}, "path", "ends in '**'"),
        ({"path": "/var/log/a**/b"}, "path", "'**' within a part"),
        ({"path": "/" + "x" * 5000}, "path", "5001 characters"),
        ({"path": 5}, "path", "is not text"),
        ({"start": "earliest"}, "start", "is not accepted"),
        ({"format": "json"}, "format", "is not accepted"),
        ({"encoding": "utf-32"}, "encoding", "is not accepted"),
        ({"max_line": 0}, "max_line", "not within"),
        ({"max_line": 2**20 + 1}, "max_line", "not within"),
        ({"max_line": 130_500}, "max_line", "does not fit into a batch"),
        ({"batch_lines": 0}, "batch_lines", "not within"),
        ({"batch_bytes": 100}, "batch_bytes", "not within"),
        ({"batch_bytes": 2**20}, "batch_bytes", "do not travel within a job"),
        ({"batch_bytes": 5000}, "batch_bytes", "a line of 65536 bytes does not fit"),
        ({"batch_window": "1ms"}, "batch_window", "too short"),
        ({"batch_window": 5}, "batch_window", "has no unit"),
        ({"flush_after": "2d"}, "flush_after", "too long"),
        ({"symlinks": "often"}, "symlinks", "not accepted"),
        ({"storage": "somewhere"}, "storage", "not an address"),
        ({"keep": "-1s"}, "keep", "not a duration"),
        ({"mode": "follow"}, "mode", "unknown setting"),
    ],
)
def test_a_bad_setting_of_a_followed_file(settings: dict[str, Any], path: str, words: str):
    """Each problem names its key and has a remedy."""
    given = {"path": LOG, **settings} if settings else {}
    with pytest.raises(SettingsError) as caught:
        FileConnector().check(given)
    problem = caught.value.problems[0]
    assert problem.path == path
    assert words in problem.message
    assert problem.remedy


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({}, "path", "is missing"),
        ({"path": "incoming/*"}, "path", "not an absolute path"),
        ({"path": "/srv/incoming/"}, "path", "is a directory"),
        ({"start": "now"}, "start", "is not accepted"),
        ({"settle": "1ms"}, "settle", "too short"),
        ({"input": "s3"}, "input", "is not accepted"),
        ({"input": "inline", "max_inline": 0}, "max_inline", "not within"),
        ({"input": "inline", "max_inline": 120_000}, "max_inline", "do not travel within a job"),
        ({"max_inline": 10}, "max_inline", "does nothing with input: values"),
        ({"storage": "/srv/orch"}, "storage", "does nothing with input: values"),
        ({"keep": "1d"}, "keep", "does nothing with input: values"),
        ({"target": "/in/a"}, "target", "does nothing with input: values"),
        ({"input": "source", "target": "in"}, "target", "is not accepted"),
        ({"symlinks": 7}, "symlinks", "not accepted"),
        ({"settel": "1s"}, "settel", "unknown setting"),
    ],
)
def test_a_bad_setting_of_a_directory(settings: dict[str, Any], path: str, words: str):
    """Each problem names its key and has a remedy."""
    given = {"path": "/srv/incoming/*", **settings} if settings else {}
    with pytest.raises(SettingsError) as caught:
        DirectoryConnector().check(given)
    problem = caught.value.problems[0]
    assert problem.path == path
    assert words in problem.message
    assert problem.remedy


def test_defaults_fit_together():
    """Without a storage, batches travel within the job."""
    plain = parse_settings({"path": LOG})
    stored = parse_settings({"path": LOG, "storage": "/srv/orch"})
    assert (plain.bytes, stored.bytes) == (128 * 1024, 16 * 1024 * 1024)
    assert parse_directory({"path": "/in/*"}).input == "values"


@pytest.mark.parametrize("text", ["0", "4096", "4096:0123456789abcdef", "4096:0123456789abcdef.3"])
def test_positions_as_people_write_them(text: str):
    """A byte offset will do."""
    assert FileConnector().position({}, f" {text} ") == text
    assert FileConnector().position({}, "end") == "end"


@pytest.mark.parametrize("text", ["", "-1", "01", "1:xyz", "1.0", "latest", "9" * 30])
def test_what_is_no_position(text: str):
    """It says what to write instead."""
    with pytest.raises(ValueError, match="write a byte offset"):
        FileConnector().position({}, text)
