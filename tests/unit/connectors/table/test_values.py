"""What databases hand over becomes JSON that a task can read, and keys become ids and back."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from connectors.table import values
from connectors.table.keys import BadKey, BytesKey, Key, TextKey, UuidKey, WholeKey

_UUID = UUID("6f1ed002-ab59-4c5b-9a3d-1e1c6c4f7a11")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (10**200, "1" + "0" * 200),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        ("text\0", "text\0"),
        (Decimal("12.50"), "12.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), "NaN"),
        (_UUID, str(_UUID)),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006Z"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00Z"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC).replace(tzinfo=None), "2026-01-02T03:00:00"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=2))), "0001-01-01T00:00:00+02:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2), "01:02:00"),
        (timedelta(minutes=1, milliseconds=5), 60.005),
        (b"\x00\xff", "AP8="),
        (memoryview(b"ab"), "YWI="),
        ([1, (2, Decimal("3.0"))], [1, [2, "3.0"]]),
        ({"b", "a"}, ["a", "b"]),
        ({1: float("inf")}, {"1": "inf"}),
        (1j, "1j"),
    ],
)  # fmt: skip
def test_values(value: Any, expected: Any):
    """Exactly, and in a form that JSON has."""
    found = values.plain(value)
    assert found == expected
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        (b'"x"', "x"),
        (None, None),
        (3, 3),
        ("no JSON", "no JSON"),
        ("1e400", "1e400"),
        ('{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_documents(value: Any, expected: Any):
    """What is no JSON, or none that everybody reads alike, stays the text that it is."""
    assert values.document(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01 00:00:01.000002", 1_000_002),
        ("1970-01-01T02:00:01+02:00", 1_000_000),
        ("1970-01-01 00:00:01+00", 1_000_000),
        ("infinity", None),
        ("0000-00-00 00:00:00", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_instants(text: Any, expected: int | None):
    """As databases write them; without an offset it is UTC."""
    assert values.instant(text) == expected


@pytest.mark.parametrize(
    ("key", "value", "id_"),
    [
        (WholeKey(), -5, "-5"),
        (TextKey(), "order 7", "order 7"),
        (TextKey(), "", '""'),
        (TextKey(), "a\nb", '"a\\nb"'),
        (TextKey(), '"x"', '"\\"x\\""'),
        (UuidKey(), _UUID, str(_UUID)),
        (BytesKey(), b"\x01\xff", "01ff"),
    ],
)
def test_keys(key: Key, value: Any, id_: str):
    """There and back, in printable characters."""
    assert key.id(value) == id_
    assert key.value(id_) == value
    assert id_.isprintable()


@pytest.mark.parametrize(
    ("key", "id_"),
    [(WholeKey(), "x"), (UuidKey(), "x"), (BytesKey(), "0x"), (TextKey(), '"'), (TextKey(), '"a')],
)
def test_ids_of_another_key(key: Key, id_: str):
    """Of a table whose key has another type by now: it is said."""
    with pytest.raises(ValueError):  # noqa: PT011 - whichever the parser raises
        key.value(id_)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (TextKey(), "x" * 1025, "1,025 characters"),
        (TextKey(), "\n" * 600, "600 characters"),
        (TextKey(), b"x", "bytes"),
        (WholeKey(), "x", "str"),
        (WholeKey(), 3.0, "float"),
        (BytesKey(), "x", "str"),
        (BytesKey(), b"", "0 bytes"),
        (BytesKey(), b"x" * 513, "513 bytes"),
    ],
)
def test_a_key_that_makes_no_id(key: Key, value: Any, says: str):
    """Columns of SQLite hold anything, and a text may be longer than an id."""
    with pytest.raises(BadKey, match=says):
        key.id(value)
