"""Reads one range of one partition to its end, with a reader of its own."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.reader import Chunk, Reader
from connectors.streams import SourceUnavailable

SILENCE = 30.0
"""Seconds without anything new after which reading gives up for now."""
_AT_ONCE = 10_000
_WAIT = 0.5


def scan(
    reader: Reader, place: TopicPartition, start: int, end: int, stop: threading.Event
) -> Iterator[Chunk]:
    """The records in ``[start, end)``. Raises SourceUnavailable when not all of them come."""
    reader.assign({place: start})
    heard, position, name = time.monotonic(), start, f"{place.topic}/{place.partition}"
    while position < end:
        for chunk in reader.read(_AT_ONCE, _WAIT):
            wanted = before(chunk, end)
            if wanted is not None:
                yield wanted
            heard, position = time.monotonic(), chunk.next
        if place in reader.out_of_range:
            raise SourceUnavailable(f"offset {position} of {name} is gone")
        if stop.is_set() or time.monotonic() - heard > SILENCE:
            raise SourceUnavailable(
                f"{place.topic}/{place.partition} was read up to {position} only"
            )


def before(chunk: Chunk, end: int) -> Chunk | None:
    """The records of a chunk that are before an offset; None if there are none."""
    count = len(chunk) if chunk.next <= end else bisect_left(chunk.offsets(), end)
    if count == 0:
        return None
    return chunk if count == len(chunk) else chunk.split(count)[0]
