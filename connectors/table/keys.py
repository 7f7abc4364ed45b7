"""Keys of rows: what the database has, and the id that an event has of it."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, cast
from uuid import UUID

from connectors.queues import MAX_ID


class Key(ABC):
    """How the key of a table is written. Each value has one id, from which it is made again."""

    @abstractmethod
    def id(self, value: Any) -> str:
        """The id of a value, as the database gave it."""

    @abstractmethod
    def value(self, id_: str) -> Any:
        """What the database compares with. Raises ValueError for what is no id of this."""


class WholeKey(Key):
    """Whole numbers."""

    def id(self, value: Any) -> str:
        return str(int(value))

    def value(self, id_: str) -> Any:
        return int(id_)


class TextKey(Key):
    """Texts. One that is not printable, or looks as if, is written as JSON."""

    def id(self, value: Any) -> str:
        text = str(value)
        plain = text.isprintable() and text and not text.startswith('"')
        written = text if plain else json.dumps(text)
        if len(written) > MAX_ID:
            raise ValueError(f"the key of a row has {len(text):,} characters")
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
        return bytes(cast(bytes, value)).hex()

    def value(self, id_: str) -> Any:
        return bytes.fromhex(id_)
