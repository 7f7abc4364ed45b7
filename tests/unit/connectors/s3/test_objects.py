"""How objects become events, and events inputs of a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import specs
from connectors.queues import MAX_GROUP, MAX_ID, Inbox
from connectors.s3 import S3Connector
from connectors.s3.objects import Found, fetchable, message
from connectors.s3.settings import parse_settings
from connectors.s3.source import S3Source
from connectors.streams import SourceContext
from connectors.times import DAY, HORIZON

NOW = 1_780_000_000_000_000


def found(key: str = "in/a.log", **changes: Any) -> Found:
    return Found(**{"key": key, "etag": "e1", "size": 7, "modified": NOW, **changes})


def source(context: SourceContext, **given: Any) -> S3Source:
    opened = S3Connector().open(
        {"bucket": "logs", **given}, context, Inbox(cursor=None, known=lambda ids: set())
    )
    assert isinstance(opened, S3Source)
    return opened


def rendered(inputs: Sequence[Any]) -> list[Any]:
    """The input sources that a node gets."""
    engine = {"Type": "docker", "Params": {"Image": "busybox:1"}}
    template = specs.compile_template(
        {"Type": "batch", "Tasks": [{"Name": "main", "Engine": engine}]}
    )
    job = template.render({}, name="x", labels={}, env={}, timeouts=(1, 2), inputs=inputs)
    return json.loads(job.body)["Job"]["Tasks"][0]["InputSources"]


_CONTENT = st.tuples(st.text(max_size=5), st.text("e1 -", max_size=4))


@settings(max_examples=300, deadline=None)
@given(_CONTENT, _CONTENT)
def test_ids_tell_contents_apart(one: tuple[str, str], other: tuple[str, str]):
    """Same key and etag, same id; and only then, whatever they hold."""
    first, second = (found(key, etag=etag).id for key, etag in (one, other))
    assert (first == second) == (one == other)
    assert 1 <= len(first) <= MAX_ID
    assert first.isprintable()


def test_long_keys_have_short_ids():
    """An id is at most 1,024 characters, and a version is no part of it."""
    assert len(found("x" * 1024).id) <= MAX_ID
    assert found("x" * 1024).id != found("x" * 1023 + "y").id
    assert found(version="v1").id == found(version="v2").id


def test_an_event_says_what_there_is():
    """Its body is JSON of plain values; its id is kept until no listing shows it any more."""
    event = message(found(version="v1"), parse_settings({"bucket": "logs"}), NOW)
    assert event.body == {
        "bucket": "logs",
        "key": "in/a.log",
        "size": 7,
        "etag": "e1",
        "version": "v1",
        "modified": "2026-05-28T20:26:40Z",
    }
    assert event.at == NOW
    assert event.expires is not None
    assert event.expires > NOW + 2 * DAY


def test_an_id_is_kept_for_as_long_as_listings_look_back():
    """Beyond that no listing shows the object again; an old one is kept for a while."""
    settings_ = parse_settings({"bucket": "logs", "look_back": "30d", "settle": "7d"})
    assert (message(found(), settings_, NOW).expires or 0) > NOW + 37 * DAY
    old = found(modified=NOW - 1000 * DAY)
    assert (message(old, settings_, NOW).expires or 0) > NOW + 2 * DAY


@pytest.mark.parametrize("modified", [-(10**18), 0, HORIZON, 10**18])
def test_times_that_no_calendar_has(modified: int):
    """A service may answer anything: times stay within those that can be written."""
    event = message(found(modified=modified), parse_settings({"bucket": "logs"}), NOW)
    assert 0 <= (event.at or 0) < HORIZON


@pytest.mark.parametrize(
    ("key", "good"),
    [
        ("a", True),
        ("in/a.log", True),
        ("in/*/a", True),
        ("in/a*", False),
        ("in/", False),
        ("in/..", False),
        ("in/.", False),
        ("in/\0", False),
    ],
)
def test_keys_that_a_node_cannot_fetch(source_context: SourceContext, key: str, good: bool):
    """They are not lost: each is in a run of its own, whose input is refused with a reason."""
    assert fetchable(key) == good
    opened = source(source_context, input="source", batch_size=10)
    event = message(found(key), parse_settings({"bucket": "logs", "input": "source"}), NOW)
    assert (event.group == "") == good
    assert len(event.group) <= MAX_GROUP
    inputs = opened.describe([event]).inputs
    opened.close()
    if good:
        assert inputs[0]["Source"]["Params"]["Key"] == key  # type: ignore[index,call-overload]
    else:
        with pytest.raises(specs.RenderError, match="does not name one object"):
            rendered(inputs)


def test_values_of_a_single_object(source_context: SourceContext):
    """With batch_size 1 a job may name everything, with more only what all have in common."""
    given = {"region": "eu-central-1", "endpoint": "http://127.0.0.1:9000", "input": "source"}
    single, several = source(source_context, **given), source(source_context, **given, batch_size=9)
    event = message(found(), parse_settings({"bucket": "logs"}), NOW)
    common = {"bucket": "logs", "region": "eu-central-1", "endpoint": "http://127.0.0.1:9000"}
    named = {name: event.body[name] for name in ("key", "size", "etag", "version", "modified")}
    path = {"path": "/orch/objects/0/a.log"}
    assert single.describe([event]).values == {"object": {**common, **named, **path}}
    assert several.describe([event]).values == {"object": common}
    paths = {f"object.{name}" for name in {**common, **named, **path}}
    assert paths == S3Connector.value_paths
    assert single.describe([]).values == {"object": common}
    single.close()
    several.close()


def test_objects_of_one_name_stay_apart(source_context: SourceContext):
    """Each lies in a directory that is called like its line's number, and what is known of where
    it is goes with it."""
    opened = source(source_context, input="source", batch_size=3, endpoint="http://127.0.0.1:9000")
    settings_ = parse_settings({"bucket": "logs"})
    objects = [found("1/part.csv", version="v1"), found("2/part.csv")]
    events = [message(one, settings_, NOW) for one in objects]
    inputs = opened.describe(events).inputs
    opened.close()
    where = {"Bucket": "logs", "Endpoint": "http://127.0.0.1:9000"}
    assert inputs == [
        {
            "Source": {"Type": "s3", "Params": {**where, "Key": "1/part.csv", "VersionID": "v1"}},
            "Target": "/orch/objects/0",
        },
        {
            "Source": {"Type": "s3", "Params": {**where, "Key": "2/part.csv"}},
            "Target": "/orch/objects/1",
        },
    ]
    assert rendered(inputs) == inputs


def test_how_objects_are_gathered(source_context: SourceContext):
    """One by one unless more are asked for; lists beside their objects stay small."""
    single = source(source_context)
    several = source(source_context, batch_size=50, batch_window="1m", input="source")
    assert (single.gathering.size, single.gathering.window) == (1, 0)
    assert (several.gathering.size, several.gathering.window) == (50, 60_000_000)
    assert 0 < several.gathering.bytes < 128 * 1024
    single.close()
    several.close()


def test_the_default_job_counts_its_objects():
    """A trigger file without a job is whole."""
    assert specs.default_job("s3") is not None
