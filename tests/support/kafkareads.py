"""Reads with a reader of Kafka and checks that its chunks follow each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.reader import Chunk, Reader
from tests.support.waiting import until

Opened = Callable[..., Reader]
"""Opens a reader on a cluster."""


def read_to(reader: Reader, ends: dict[TopicPartition, int], within: float = 30) -> list[Chunk]:
    """Read until these positions; checks that chunks follow each other without a gap."""
    chunks: list[Chunk] = []
    places = dict(reader.positions)

    def done() -> bool:
        for chunk in reader.read(500, 0.2):
            assert chunk.start == places[chunk.partition]
            places[chunk.partition] = chunk.next
            chunks.append(chunk)
        assert dict(reader.positions) == places
        return all(places[partition] >= end for partition, end in ends.items())

    until(done, f"read to {ends}", within=within, show=lambda: places)
    assert {p: places[p] for p in ends} == ends
    return chunks


def column(chunks: Sequence[Chunk], name: str) -> list[Any]:
    return [item for chunk in chunks for item in getattr(chunk, name)()]


def values(number: int, start: int = 0) -> list[bytes | None]:
    return [b"v%d" % i for i in range(start, start + number)]
