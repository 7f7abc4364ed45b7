"""A record in words for people."""

from __future__ import annotations

import base64

from connectors.abc import JSON
from connectors.kinesis.client import Record
from connectors.times import key

_SHOWN = 1024  # bytes of a value


def described(record: Record) -> dict[str, JSON]:
    """A record, its value shortened to 1 kB: as text, or in Base64 where it is none."""
    data = record.data[:_SHOWN]
    shown: dict[str, JSON] = {
        "sequence": str(record.sequence),
        "key": record.key,
        "arrived": key(record.arrived * 1000),
        "bytes": len(record.data),
    }
    # A cut may go through a character, which is up to four bytes long.
    for cut in range(4 if len(record.data) > _SHOWN else 1):
        try:
            return {**shown, "value": data[: len(data) - cut].decode()}
        except UnicodeDecodeError:
            continue
    return {**shown, "value_base64": base64.b64encode(data).decode()}
