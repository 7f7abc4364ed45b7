"""Records as lines of JSON, many at a time.

A line is an object whose members come from columns. Text is written as it is where it is UTF-8; any
other bytes under the member's name with ``_base64`` behind it: ``"value":"…"`` or
``"value_base64":"…"``, and ``"value":null`` for a value that is not there.

The work is done on columns, because a call per record would cost more than the record.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

MAX_LINE = 64 * 1024 * 1024

_SEPARATOR = "\x1f"
_ESCAPED_SEPARATOR = "\\u001f"
_quoted = json.JSONEncoder(ensure_ascii=False).encode

Header = tuple[str, bytes | None]


class LineTooLong(ValueError):
    """A line that is longer than a reader takes."""


def integers(name: str, numbers: Iterable[int]) -> list[str]:
    """A column of whole numbers."""
    head = f'"{name}":'
    return [head + str(number) for number in numbers]


def texts(name: str, items: Sequence[str]) -> list[str]:
    """A column of texts; what is no Unicode in them (lone surrogates) becomes a question mark."""
    return contents(name, [item.encode(errors="replace") for item in items])


def contents(name: str, items: Sequence[bytes | None]) -> list[str]:
    """A column of bytes that mostly are text."""
    if None in items:
        present = contents(name, [item for item in items if item is not None])
        rest = iter(present)
        null = f'"{name}":null'
        return [null if item is None else next(rest) for item in items]
    return _all_contents(name, items)  # type: ignore[arg-type] - none is None


def headers(name: str, items: Sequence[Sequence[Header]]) -> list[str]:
    """A column of Kafka headers: pairs in their order, because a name may come twice. A value that
    is no text is an object: ``["trace",{"base64":"…"}]``."""
    if not any(items):
        return [f'"{name}":[]'] * len(items)
    return [f'"{name}":[{",".join(map(_header, item))}]' for item in items]


def join(columns: Sequence[Sequence[str]]) -> bytes:
    """The lines of records whose members stand in columns of equal length, each ended."""
    if not columns or not columns[0]:
        return b""
    rows = map(",".join, zip(*columns, strict=True))
    return ("{" + "}\n{".join(rows) + "}\n").encode()


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


def _all_contents(name: str, items: Sequence[bytes]) -> list[str]:
    if not items:
        return []
    head = f'"{name}":"'
    try:
        joined = _SEPARATOR.encode().join(items).decode()
    except UnicodeDecodeError:
        return [_content(name, item) for item in items]
    pieces = _quoted(joined)[1:-1].split(_ESCAPED_SEPARATOR)
    # The separators are all found. More pieces than items: one of the items looks like one, too.
    if len(pieces) != len(items):
        return [_content(name, item) for item in items]
    return [f'{head}{piece}"' for piece in pieces]


def _content(name: str, item: bytes) -> str:
    try:
        return f'"{name}":{_quoted(item.decode())}'
    except UnicodeDecodeError:
        return f'"{name}_base64":"{base64.b64encode(item).decode()}"'


def _header(header: Header) -> str:
    name, value = header
    shown = _quoted(name.encode(errors="replace").decode())
    if value is None:
        return f"[{shown},null]"
    try:
        return f"[{shown},{_quoted(value.decode())}]"
    except UnicodeDecodeError:
        return f'[{shown},{{"base64":"{base64.b64encode(value).decode()}"}}]'
