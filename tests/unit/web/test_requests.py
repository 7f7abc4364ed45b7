"""How requests are read: JSON, query parameters, names of hosts."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.states import RunState
from orchestrator.store.reads import encode_cursor
from orchestrator.web import query
from orchestrator.web.body import is_json, is_yaml, parse_json
from orchestrator.web.guard import host_name
from orchestrator.web.problems import Trouble


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}', {"a": [1, 2.5, None, True, "é"]}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
        (b'{"a": {"a": 1}, "b": {"a": 1}}', {"a": {"a": 1}, "b": {"a": 1}}),
        (b"9223372036854775807", 2**63 - 1),
        (b"[" * 99 + b"]" * 99, None),
    ],
)
def test_json_is_read(text: bytes, value: Any) -> None:
    """Whatever RFC 8259 says is JSON, up to a hundred levels."""
    found = parse_json(text)
    assert value is None or found == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b"{a: 1}",
        b"[1,]",
        b"01",
        b"nan",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"1" * 5000,
        b'{"a": 1, "a": 1}',
        b'[{"b": {"a": 1, "a": 2}}]',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
        b'{"\\u0000": 1}',
        b'"\x01"',
        b"\xff",
        b'"\xed\xa0\x80"',
        b"[" * 102 + b"]" * 102,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b"[" * 1_000_000,
        b"1 2",
    ],
)
def test_json_is_refused(text: bytes) -> None:
    """Each with a 422 that names a remedy; none takes the process along."""
    with pytest.raises(Trouble) as caught:
        parse_json(text)
    assert caught.value.status == 422
    assert caught.value.errors[0]["remedy"]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:80", "localhost"),
        ("127.0.0.1:7070", "127.0.0.1"),
        ("[::1]:7070", "::1"),
        ("a@localhost", None),
        ("localhost/x", None),
        ("localhost?x", None),
        ("localhost#x", None),
        ("localhost:x", None),
        ("localhost:99999", None),
        ("[::1", None),
        ("", None),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str | None) -> None:
    """Lower case, without its port; nonsense is no name."""
    assert host_name(host) == name


def test_states_are_given_repeatedly_or_with_commas() -> None:
    """Both, in any mixture; a word that is no state is refused with the nearest."""
    assert query.states(["dead,skipped", "", "running"]) == [
        RunState.DEAD,
        RunState.SKIPPED,
        RunState.RUNNING,
    ]
    with pytest.raises(Trouble, match="no state"):
        query.states(["ded"])


@pytest.mark.parametrize(
    ("text", "value"),
    [(None, False), ("true", True), ("1", True), ("", True), ("false", False), ("0", False)],
)
def test_flags(text: str | None, value: bool) -> None:
    """`?reset` alone means yes."""
    assert query.flag("reset", text) is value


@pytest.mark.parametrize("text", ["0", "1001", "-1", "1.5", "ten", "99999999999", "¹", " 1"])
def test_limits_are_bounded(text: str) -> None:
    """1 to 1000, in ASCII digits."""
    with pytest.raises(Trouble, match="limit"):
        query.limit(text)


@pytest.mark.parametrize(
    "parts",
    [(), ("a",), (1,), (1, 2), ("a", "b"), (1.5, "a"), (True, "a"), (2**70, "a"), (None, "a")],
)
def test_cursors_of_strangers_are_refused(parts: tuple[Any, ...]) -> None:
    """A cursor has the parts, and the types of parts, that its list has."""
    with pytest.raises(Trouble, match="cursor"):
        query.cursor(encode_cursor(*parts), int, str)


def test_own_cursors_are_taken() -> None:
    """What the API gave out comes back unchanged."""
    mine = encode_cursor(5, "r1")
    assert query.cursor(mine, int, str) == mine
    assert query.cursor(None, int, str) is None


@pytest.mark.parametrize("text", ["x" * 2000, "🙂", "=", "W1tbW1tb"])
def test_cursors_that_are_none(text: str) -> None:
    """Whatever is sent there, the answer is a refusal."""
    with pytest.raises(Trouble, match="cursor"):
        query.cursor(text, int, str)


def test_content_types() -> None:
    """JSON with its dialects, YAML by all its names, nothing that a form can send."""
    assert is_json("application/json")
    assert is_json("application/merge-patch+json")
    assert is_yaml("application/yaml")
    assert is_yaml("text/x-yaml")
    for media in ("", "text/plain", "text/json", "multipart/form-data", "text/html"):
        assert not is_json(media)
        assert not is_yaml(media)
