"""What becomes of a message that SQS delivers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sqs.filter import Filter
from connectors.sqs.messages import Reading
from connectors.times import instant
from tests.support.sqs import received

TEXT = {"DataType": "String", "StringValue": "order"}
NUMBER = {"DataType": "Number", "StringValue": "12345678901234567890.5"}
RAW = {"DataType": "Binary", "BinaryValue": b"\x00\xff"}


def _reading(
    *, parsed: bool = False, ordered: bool = False, wanted: dict[str, Any] | None = None
) -> Reading:
    filter_ = None if wanted is None else Filter.model_validate(wanted)
    return Reading(parsed=parsed, ordered=ordered, wanted=filter_)


def test_what_a_task_gets():
    """Body and attributes as text: numbers keep their digits, what is binary is Base64."""
    got = received("hello", "g1", type=TEXT, size=NUMBER, raw=RAW)
    message = _reading().message(got)
    assert message is not None
    assert (message.id, message.receipt, message.group) == (got.id, got.receipt, "")
    assert message.at == got.sent * 1000
    assert message.body["body"] == "hello"
    assert message.body["attributes"] == {
        "type": "order",
        "size": "12345678901234567890.5",
        "raw": "AP8=",
    }
    assert instant(str(message.body["sent_at"])) == message.at
    assert message.body["received"] == 1
    assert message.body["group"] == "g1"


def test_only_a_fifo_queue_has_an_order():
    """A standard queue may have groups as well, but they are no reason to wait."""
    got = received("x", "g1")
    ordered, plain = _reading(ordered=True).message(got), _reading().message(got)
    assert ordered is not None
    assert plain is not None
    assert (ordered.group, plain.group) == ("g1", "")
    single = _reading(ordered=True).message(received("x"))
    assert single is not None
    assert "group" not in single.body


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("17", 17),
        ("", ""),
        ("no json", "no json"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("[" * 100_000, "[" * 100_000),
        ("9" * 5000, "9" * 5000),
        ('"\\ud800"', '"\\ud800"'),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
    ],
)
def test_a_body_that_is_json(body: str, wanted: object):
    """It is parsed where that is asked for; what no reader could be sure of stays the text."""
    message = _reading(parsed=True).message(received(body))
    assert message is not None
    assert message.body["body"] == wanted
    same = _reading().message(received(body))
    assert same is not None
    assert same.body["body"] == body


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        ({"attribute": {"type": "order"}}, True),
        ({"attribute": {"type": ["refund", "order"]}}, True),
        ({"attribute": {"type": "refund"}}, False),
        ({"attribute": {"other": "order"}}, False),
        ({"json": {"user.country": ["DE", "FR"]}}, True),
        ({"json": {"user.country": "FR"}}, False),
        ({"json": {"items.0": 4}}, True),
        ({"attribute": {"type": "order"}, "json": {"user.country": "FR"}}, False),
        ({"attribute": {"type": "order"}, "json": {"user.country": "DE"}}, True),
    ],
)
def test_a_filter(wanted: dict[str, Any], matches: bool):
    """All conditions must hold; the body is handed over unparsed all the same."""
    body = '{"user": {"country": "DE"}, "items": [4]}'
    message = _reading(wanted=wanted).message(received(body, type=TEXT))
    assert (message is not None) == matches
    if message is not None:
        assert message.body["body"] == body


def test_a_body_that_is_no_json_matches_no_field():
    """Whatever stands in it."""
    assert _reading(wanted={"json": {"a": "b"}}).message(received('{"a": "b"')) is None


def test_what_nobody_could_write_is_replaced():
    """NUL and half a surrogate pair, from a server that lets them in; and no time of sending."""
    odd = {"DataType": "String", "StringValue": "c\0"}
    got = received("a\0b\ud800", type=odd)._replace(sent=0)
    message = _reading().message(got)
    assert message is not None
    assert message.body["body"] == "a\ufffdb?"
    assert message.body["attributes"] == {"type": "c\ufffd"}
    assert message.body["sent_at"] is None
    assert message.at is None


@given(st.text(), st.dictionaries(st.text(), st.text()), st.booleans())
def test_any_message_can_be_handed_over(body: str, attributes: dict[str, str], parsed: bool):
    """Reading it never fails, and what comes out is JSON."""
    values = {name: {"DataType": "String", "StringValue": v} for name, v in attributes.items()}
    got = received(body)._replace(attributes=values)
    message = _reading(parsed=parsed, wanted=None).message(got)
    assert message is not None
    assert json.loads(json.dumps(message.body, ensure_ascii=False).encode()) == message.body
    _reading(wanted={"json": {"a.b.0": 1}}).message(got)
