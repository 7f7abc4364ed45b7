"""Lines of JSON: what goes in comes out, whatever bytes they are."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.storage import ndjson

_CONTENT = st.none() | st.binary(max_size=12) | st.text(max_size=12).map(str.encode)
_HEADERS = st.lists(st.tuples(st.text(max_size=5), _CONTENT), max_size=3)
_RECORDS = st.lists(
    st.tuples(st.integers(0, 2**63), st.integers(-1, 2**53), _CONTENT, _HEADERS, _CONTENT),
    min_size=1,
    max_size=6,
)
Record = tuple[int, int, bytes | None, list[ndjson.Header], bytes | None]


def _joined(records: list[Record]) -> bytes:
    offsets, timestamps, keys, headers, values = (list(c) for c in zip(*records, strict=True))
    return ndjson.join(
        [
            ndjson.integers("offset", offsets),
            ndjson.integers("timestamp", timestamps),
            ndjson.contents("key", keys),
            ndjson.headers("headers", headers),
            ndjson.contents("value", values),
        ]
    )


def _header(pair: list[Any]) -> ndjson.Header:
    name, value = pair
    if isinstance(value, dict):
        return name, base64.b64decode(value["base64"])
    return name, None if value is None else value.encode()


@given(_RECORDS)
@example([(0, 0, b"\x1f", [], b'\x1f"\\\n\x1f'), (1, 1, b"a", [("h", b"\xff")], b"\xff\x1f")])
def test_what_goes_in_comes_out(records: list[Record]) -> None:
    """A line a record; offsets, times, keys, headers and values survive, text as text."""
    lines = _joined(records).splitlines(keepends=True)
    parsed = [json.loads(line) for line in _joined(records).split(b"\n")[:-1]]
    assert len(parsed) == len(records) <= len(lines)
    for line, (offset, timestamp, key, headers, value) in zip(parsed, records, strict=True):
        assert (line["offset"], line["timestamp"]) == (offset, timestamp)
        assert ndjson.content_of(line, "key") == key
        assert ndjson.content_of(line, "value") == value
        assert [_header(pair) for pair in line["headers"]] == headers
        for name, content in (("key", key), ("value", value)):
            assert (name in line) != (f"{name}_base64" in line)
            assert (name in line) == (content is None or _is_text(content))


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.lists(st.text(max_size=20) | st.characters(categories=["Cs"]), min_size=1, max_size=5))
def test_texts(items: list[str]) -> None:
    """Texts are texts; what is no Unicode does not break the line."""
    parsed = [
        json.loads(line)["t"] for line in ndjson.join([ndjson.texts("t", items)]).split(b"\n")[:-1]
    ]
    assert parsed == [item.encode(errors="replace").decode() for item in items]


def test_the_form_of_a_line() -> None:
    """As it is documented, to the byte."""
    records: list[Record] = [
        (7, 1700000000000, b"k", [("a", b"1"), ("a", None), ("b", b"\xff")], b'{"x":"\xc3\xbc\n"}'),
        (9, -1, None, [], b"\xff"),
        (10, 0, b"\xfe", [], None),
    ]
    headers = '[["a","1"],["a",null],["b",{"base64":"/w=="}]]'
    first = f'{{"offset":7,"timestamp":1700000000000,"key":"k","headers":{headers},'
    assert _joined(records).decode().splitlines() == [
        first + '"value":"{\\"x\\":\\"ü\\n\\"}"}',
        '{"offset":9,"timestamp":-1,"key":null,"headers":[],"value_base64":"/w=="}',
        '{"offset":10,"timestamp":0,"key_base64":"/g==","headers":[],"value":null}',
    ]


def test_no_records_are_no_lines() -> None:
    """Empty columns make nothing."""
    columns = [ndjson.integers("offset", []), ndjson.contents("value", []), ndjson.headers("h", [])]
    assert ndjson.join(columns) == b""


def test_columns_must_fit_together() -> None:
    """A column that lacks a record is an error, not a shorter file."""
    with pytest.raises(ValueError, match="do not fit together"):
        ndjson.join([ndjson.integers("a", [1, 2]), ndjson.integers("b", [1])])


def test_lines_are_bounded() -> None:
    """A line that is too long is an error that says which; one of just that length is none."""
    assert list(ndjson.lines(io.BytesIO(b"123\n\n12345\nx"), 5)) == [b"123", b"", b"12345", b"x"]
    with pytest.raises(ndjson.LineTooLong, match="line 2 is longer than 5 bytes"):
        list(ndjson.lines(io.BytesIO(b"1\n123456\n"), 5))
