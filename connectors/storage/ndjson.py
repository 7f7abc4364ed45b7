"""Records as lines of JSON, many at a time.

A line is an object whose members come from columns. Text is written as it is where it is UTF-8; any
other bytes under the member's name with ``_base64`` behind it: ``"value":"…"`` or
``"value_base64":"…"``, and ``"value":null`` for a value that is not there.

``ndjson.join([ndjson.integers("offset", offsets), ndjson.contents("value", values)])``: the work is
done on columns, because a call per record would cost more than the record.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

MAX_LINE = 64 * 1024 * 1024

_SEPARATOR = b"\x1f"
_CONTROLS = bytes(range(0x20))
_quoted = json.JSONEncoder(ensure_ascii=False).encode

Header = tuple[str, bytes | None]


class LineTooLong(ValueError):
    """A line that is longer than a reader takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A member of every record, in JSON with its name: head, the record's own item, tail."""

    head: str
    items: Sequence[str] | None = None
    """None: the same in every record."""
    tail: str = ""


def integers(name: str, numbers: Iterable[int]) -> Column:
    """A column of whole numbers."""
    return Column(head=f'"{name}":', items=list(map(str, numbers)))


def texts(name: str, items: Sequence[str]) -> Column:
    """A column of texts; what is no Unicode in them (lone surrogates) becomes a question mark."""
    return contents(name, [item.encode(errors="replace") for item in items])


def contents(name: str, items: Sequence[bytes | None]) -> Column:
    """A column of bytes that mostly are text."""
    if items.count(None) == len(items):
        return Column(head=f'"{name}":null')
    pieces = None if None in items else _pieces(cast(Sequence[bytes], items))
    if pieces is None:
        return Column(head="", items=[_content(name, item) for item in items])
    return Column(head=f'"{name}":"', items=pieces, tail='"')


def headers(name: str, items: Sequence[Sequence[Header] | None]) -> Column:
    """A column of Kafka headers: pairs in their order, because a name may come twice; None where a
    record has none. A value that is no text is an object: ``["trace",{"base64":"…"}]``."""
    if not any(items):
        return Column(head=f'"{name}":[]')
    lists = [",".join(map(_header, item or ())) for item in items]
    return Column(head=f'"{name}":[', items=lists, tail="]")


def join(columns: Sequence[Column]) -> bytes:
    """The lines of the records, each with its newline. At least one column has items, and all
    that have are of equal length."""
    counts = {len(column.items) for column in columns if column.items is not None}
    if len(counts) != 1:
        raise ValueError(f"columns of {sorted(counts)} records do not fit together")
    (count,) = counts
    if not count:
        return b""
    between: list[tuple[str, Sequence[str]]] = []
    glue = "{"
    for number, column in enumerate(columns):
        glue += f",{column.head}" if number else column.head
        if column.items is not None:
            between.append((glue, column.items))
            glue = column.tail
    first, last = between[0][0], glue + "}\n"
    between[0] = (last + first, between[0][1])
    # No code runs per record, and a step is a slice: this is what makes it fast.
    width = 2 * len(between)
    parts = [""] * (width * count + 1)
    for number, (text, items) in enumerate(between):
        parts[2 * number : -1 : width] = [text] * count
        parts[2 * number + 1 :: width] = items
    parts[0], parts[-1] = first, last
    return "".join(parts).encode()


def content_of(record: Mapping[str, object], name: str) -> bytes | None:
    """What `contents` has written, from a parsed line."""
    encoded = record.get(f"{name}_base64")
    if isinstance(encoded, str):
        return base64.b64decode(encoded, validate=True)
    text = record.get(name)
    return text.encode() if isinstance(text, str) else None


def lines(stream: BinaryIO, max_line: int = MAX_LINE) -> Iterator[bytes]:
    """The lines of a stream without their newlines. Raises :class:`LineTooLong`."""
    number = 0
    while line := stream.readline(max_line + 1):
        number += 1
        if not line.endswith(b"\n") and len(line) > max_line:
            raise LineTooLong(f"line {number} is longer than {max_line:,} bytes")
        yield line.removesuffix(b"\n")


def _pieces(items: Sequence[bytes]) -> list[str] | None:
    """What stands between the quotes; None: these items want to be looked at one by one."""
    joined = _SEPARATOR.join(items)
    if len(joined.translate(None, _CONTROLS)) != len(joined) - len(items) + 1:
        return None
    try:
        text = joined.replace(b"\\", b"\\\\").replace(b'"', b'\\"').decode()
    except UnicodeDecodeError:
        return None
    return text.split(_SEPARATOR.decode())


def _content(name: str, item: bytes | None) -> str:
    if item is None:
        return f'"{name}":null'
    try:
        return f'"{name}":{_quoted(item.decode())}'
    except UnicodeDecodeError:
        return f'"{name}_base64":"{base64.b64encode(item).decode()}"'


def _header(header: Header) -> str:
    name, value = header
    shown = _name(name)
    if value is None:
        return f"[{shown},null]"
    try:
        return f"[{shown},{_quoted(value.decode())}]"
    except UnicodeDecodeError:
        return f'[{shown},{{"base64":"{base64.b64encode(value).decode()}"}}]'


@functools.lru_cache(maxsize=1024)
def _name(text: str) -> str:
    return _quoted(text.encode(errors="replace").decode())
