"""Which records a filter wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.filter import Filter

Headers = Sequence[tuple[str, bytes | None]]


def wants(
    filter: dict[str, Any],
    key: bytes | None = None,
    value: bytes | None = None,
    headers: Headers = (),
) -> bool:
    return Filter.model_validate(filter).matches(key, value, headers)


def test_keys_match_as_text() -> None:
    """Exactly; one of several is enough; no key and bytes that are no text never match."""
    assert wants({"key": "berlin"}, b"berlin")
    assert wants({"key": ["berlin", "zürich"]}, "zürich".encode())
    assert not wants({"key": "berlin"}, b"Berlin")
    assert not wants({"key": "berlin"}, None)
    assert not wants({"key": ""}, None)
    assert not wants({"key": "\ufffd"}, b"\xff")


def test_any_header_of_a_name_may_match() -> None:
    """Kafka allows several of one name; all names asked for must be there."""
    headers = [("type", b"order"), ("type", b"refund"), ("empty", None), ("raw", b"\xff")]
    assert wants({"header": {"type": "refund"}}, headers=headers)
    assert not wants({"header": {"type": "refund", "tenant": "a"}}, headers=headers)
    assert not wants({"header": {"empty": ""}}, headers=headers)
    assert not wants({"header": {"raw": "x"}}, headers=headers)


JSON_CASES: list[tuple[dict[str, Any], bytes | None, bool]] = [
    ({"user.country": "DE"}, b'{"user": {"country": "DE"}}', True),
    ({"user.country": ["FR", "DE"]}, b'{"user": {"country": "DE"}}', True),
    ({"user.country": "DE"}, b'{"user": "DE"}', False),
    ({"user.country": "DE"}, b'{"user": {}}', False),
    ({"items.1": 5}, b'{"items": [4, 5]}', True),
    ({"items.2": 5}, b'{"items": [4, 5]}', False),
    ({"items.-1": 5}, b'{"items": [4, 5]}', False),
    ({"n": 1}, b'{"n": 1.0}', True),
    ({"n": 1}, b'{"n": true}', False),
    ({"n": True}, b'{"n": 1}', False),
    ({"n": None}, b'{"n": null}', True),
    ({"n": None}, b"{}", False),
    ({"n": 1, "m": 2}, b'{"n": 1, "m": 3}', False),
    ({"n": 1}, b"no json", False),
    ({"n": 1}, b"", False),
    ({"n": 1}, None, False),
    ({"n": 1}, b"[" * 100_000, False),
    ({"n": 1}, b'{"n": ' + b"9" * 100_000 + b"}", False),
]


@pytest.mark.parametrize(("json", "value", "matches"), JSON_CASES)
def test_fields_of_a_json_value(json: dict[str, Any], value: bytes | None, matches: bool) -> None:
    """By dotted path and exact value; what is not JSON, or too strange, does not match."""
    assert wants({"json": json}, value=value) is matches


def test_all_conditions_must_hold() -> None:
    """Key, header and field together."""
    asked = {"key": "a", "header": {"h": "1"}, "json": {"n": 1}}
    assert wants(asked, b"a", b'{"n": 1}', [("h", b"1")])
    assert not wants(asked, b"b", b'{"n": 1}', [("h", b"1")])
    assert not wants(asked, b"a", b'{"n": 1}', [])
    assert not wants(asked, b"a", b'{"n": 2}', [("h", b"1")])


@given(st.binary(), st.binary())
def test_no_record_is_an_error(key: bytes, value: bytes) -> None:
    """Whatever the bytes of a record are, the answer is yes or no."""
    asked = {"key": "a", "header": {"h": "1"}, "json": {"a.0": 1}}
    assert wants(asked, key, value, [("h", value)]) in (True, False)
    assert wants({"json": {"a.0": 1}}, key, value) in (True, False)
