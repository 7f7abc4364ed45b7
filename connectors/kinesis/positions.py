"""Positions in a shard, as text that stays exact for ever.

======================  ==========================================================================
``TRIM_HORIZON``        the oldest record that the shard has; of a new shard: its beginning
``at:<sequence>``       the record with this sequence number
``after:<sequence>``    whatever follows the record with this sequence number
``time:<ms>``           the first record that arrived then (milliseconds since 1970) or later
``end``                 behind the last record of a closed shard (:data:`connectors.streams.END`)
======================  ==========================================================================

Kinesis' own ``LATEST`` is not among them: it means another place each time it is asked for.
Sequence numbers grow within a shard, have gaps, and fit no machine word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

Kind: TypeAlias = Literal["TRIM_HORIZON", "at", "after", "time"]

_SHAPE = re.compile(r"(at|after|time):(0|[1-9]\d{0,128})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place between two records of a shard that is not behind its end."""

    kind: Kind
    number: int = 0
    """A sequence number, or milliseconds of a ``time``."""

    def __str__(self) -> str:
        return self.kind if self.kind == "TRIM_HORIZON" else f"{self.kind}:{self.number}"


TRIM_HORIZON = Position(kind="TRIM_HORIZON")


def at(sequence: int) -> Position:
    """Just before this record."""
    return Position(kind="at", number=sequence)


def after(sequence: int) -> Position:
    """Just behind this record."""
    return Position(kind="after", number=sequence)


def since(ms: int) -> Position:
    """Before the first record that arrived at this time or later."""
    return Position(kind="time", number=ms)


def parse(text: str) -> Position:
    """The position that this text names. Raises ``ValueError``, also for ``end``."""
    if text == "TRIM_HORIZON":
        return TRIM_HORIZON
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text[:60]!r} is no position in a shard: write TRIM_HORIZON, at:SEQUENCE,"
            " after:SEQUENCE, time:MILLISECONDS or end"
        )
    return Position(kind=cast(Kind, match[1]), number=int(match[2]))
