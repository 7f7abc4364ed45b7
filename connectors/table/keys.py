"""Keys of rows: what the database has, and the id that an event has of it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, cast
from uuid import UUID

from connectors.queues import MAX_ID


class BadKey(ValueError):
    """A value that no id can be made of; the text says why, and does not show it."""


class Key(ABC):
    """How the key of a table is written. Each value has one id, from which it is made again."""

    @abstractmethod
    def id(self, value: Any) -> str:
        """The id of a value, as the database gave it. Raises BadKey: columns of SQLite hold
        anything, texts may be longer than an id."""

    @abstractmethod
    def value(self, id_: str) -> Any:
        """What the database compares with. Raises ValueError for what is no id of this."""


class WholeKey(Key):
    """Whole numbers."""

    def id(self, value: Any) -> str:
        if not isinstance(value, int):
            raise BadKey(f"its key is no whole number but {type(value).__name__}")
        return str(value)

    def value(self, id_: str) -> Any:
        return int(id_)


class TextKey(Key):
    """Texts. One that is not printable, or looks as if, is written as JSON."""

    def id(self, value: Any) -> str:
        if not isinstance(value, str):
            raise BadKey(f"its key is no text but {type(value).__name__}")
        plain = value.isprintable() and value and not value.startswith('"')
        written = value if plain else json.dumps(value)
        if len(written) > MAX_ID:
            raise BadKey(f"its key has {len(value):,} characters, too many for an id")
        return written

    def value(self, id_: str) -> Any:
        if not id_.startswith('"'):
            return id_
        found: object = json.loads(id_)
        if not isinstance(found, str):
            raise TypeError("a key is a text")
        return found


class UuidKey(Key):
    """UUIDs, of databases that know them."""

    def id(self, value: Any) -> str:
        return str(value)

    def value(self, id_: str) -> Any:
        return UUID(id_)


class BytesKey(Key):
    """Bytes, such as UUIDs in a ``binary(16)``."""

    def id(self, value: Any) -> str:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise BadKey(f"its key is no bytes but {type(value).__name__}")
        written = bytes(cast("bytes", value)).hex()
        if not 0 < len(written) <= MAX_ID:
            raise BadKey(f"its key has {len(written) // 2:,} bytes, which makes no id")
        return written

    def value(self, id_: str) -> Any:
        return bytes.fromhex(id_)
