"""What S3 tells in a queue: its forms, and what is made to look like them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.s3.events import read
from connectors.s3.objects import Found

NOW = 1_780_000_000_000_000


def record(key: str = "a.log", **changes: Any) -> dict[str, Any]:
    """One record of the plain form."""
    about = {"key": key, "size": 7, "eTag": "e1", "versionId": "v1", "sequencer": "00"}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-03-29T01:00:00.000Z",
        "eventName": changes.pop("event", "ObjectCreated:Put"),
        "s3": {
            "bucket": {"name": changes.pop("bucket", "logs")},
            "object": {**about, **changes},
        },
    }


def bridged(key: str = "a.log", **changes: Any) -> dict[str, Any]:
    """The form of EventBridge."""
    about = {"key": key, "size": 7, "etag": "e1", "version-id": "v1", "sequencer": "00"}
    return {
        "version": "0",
        "detail-type": changes.pop("event", "Object Created"),
        "source": "aws.s3",
        "time": "2026-03-29T01:00:00Z",
        "detail": {
            "bucket": {"name": changes.pop("bucket", "logs")},
            "object": {**about, **changes},
        },
    }


def told(data: Any) -> Any:
    return read(data if isinstance(data, str) else json.dumps(data), "logs", NOW)


def test_both_forms_tell_the_same():
    """Plain and by EventBridge, bare and wrapped by SNS: one object, with one id."""
    expected = Found(key="a.log", etag="e1", size=7, modified=1_774_746_000_000_000, version="v1")
    for data in ({"Records": [record()]}, bridged()):
        wrapped = {"Type": "Notification", "MessageId": "m", "Message": json.dumps(data)}
        assert told(data).objects == told(wrapped).objects == [expected]
        assert not told(data).faults


def test_keys_are_decoded_where_they_are_encoded():
    """The plain form encodes spaces as plus signs, EventBridge's not at all."""
    encoded = "a+b%2Bc%2F%C3%A4%0A.log"
    assert told({"Records": [record(encoded)]}).objects[0].key == "a b+c/ä\n.log"
    assert told(bridged(encoded)).objects[0].key == encoded


def test_several_records_and_a_broken_one():
    """What can be read counts, what cannot is told, and neither hides the other."""
    found = told({"Records": [record("a"), {"x": 1}, record("b"), record("c", size=-1)]})
    assert [one.key for one in found.objects] == ["a", "b"]
    assert len(found.faults) == 2


@pytest.mark.parametrize(
    "data",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "logs"},
        {"Records": [record(event="ObjectRemoved:Delete")]},
        {"Records": [record(event="s3:LifecycleTransition")]},
        {"Records": []},
        bridged(event="Object Deleted"),
    ],
)
def test_what_is_no_new_object(data: Any):
    """Tests and removals are neither events nor faults."""
    assert not told(data).objects
    assert not told(data).faults


def test_names_of_others_that_speak_like_s3():
    """MinIO begins names with s3:, and has neither versions nor an upper case of its own."""
    found = told({"Records": [record(event="s3:ObjectCreated:Put", versionId="null")]})
    assert found.objects[0].version == ""


@pytest.mark.parametrize(
    "data",
    [
        "",
        "nonsense",
        "[]",
        "null",
        "[" * 100_000,
        "1" * 5000,
        {},
        {"Records": {}},
        {"Records": [None]},
        {"Records": [[]]},
        {"Records": [{"eventName": 1}]},
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": []}]},
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": "x"}}]},
        {"Records": [record(bucket="other")]},
        {"Records": [record(bucket=None)]},
        {"Records": [record(key="")]},
        {"Records": [record(key=None)]},  # type: ignore[arg-type]
        {"Records": [record(key="%FF")]},
        {"Records": [record(key="x" * 1025)]},
        {"Records": [record(key="x" * 100_000)]},
        {"Records": [record(eTag="")]},
        {"Records": [record(eTag=None)]},
        {"Records": [record(size=True)]},
        {"Records": [record(size="7")]},
        {"Records": [record(size=10**30)]},
        {"Records": [record(size=None)]},
        bridged(bucket="other"),
        bridged(key="\ud800"),
        {"source": "aws.s3", "detail-type": "Object Created", "detail": None},
        {"source": "aws.ec2", "detail": {}},
        {"Type": "Notification", "Message": "nonsense"},
        {"Type": "Notification", "Message": {}},
        {"Type": "SubscriptionConfirmation", "Message": "{}"},
    ],
)
def test_garbage_is_told_and_raises_nothing(data: Any):
    """Each is one fault in words that are short, whatever was sent."""
    found = told(data)
    assert not found.objects
    assert len(found.faults) == 1
    assert len(found.faults[0]) < 250


@pytest.mark.parametrize(
    "time", [None, 5, "", "yesterday", "1812-01-01T00:00:00Z", "9999-01-01T00:00:00Z"]
)
def test_a_time_that_is_none(time: Any):
    """It is now, then: an event is not lost because of its time, and none lies ahead."""
    assert told({"Records": [{**record(), "eventTime": time}]}).objects[0].modified == NOW
    assert told({**bridged(), "time": time}).objects[0].modified == NOW


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
_PLACES = st.sampled_from(
    [
        *[("eventName",), ("eventTime",), ("s3",), ("s3", "bucket"), ("s3", "bucket", "name")],
        *[("s3", "object"), *(("s3", "object", name) for name in ("key", "size", "eTag"))],
    ]
)


@settings(max_examples=300, deadline=None)
@given(_PLACES, _JSON)
def test_anything_anywhere_in_a_record(place: tuple[str, ...], value: Any):
    """Nothing raises; what comes out has a key that S3 may have, and a size."""
    data = record()
    inner: Any = data
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    for found in told({"Records": [data]}).objects:
        assert 1 <= len(found.key.encode()) <= 1024
        assert found.size >= 0
        assert 1 <= len(found.id) <= 1024
        assert found.id.isprintable()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | _JSON.map(json.dumps))
def test_any_text_at_all(text: str):
    """Nothing raises."""
    assert not told(text).objects
