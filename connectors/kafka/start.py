"""Where a new trigger begins: earliest, latest, a time, or offsets by partition."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, TypeAlias, cast

from pydantic import BeforeValidator, WithJsonSchema

from connectors.fields import error, rfc3339
from connectors.kafka.cluster import Cluster, TopicPartition
from connectors.streams import SourceRefused
from connectors.validation import shown

_WORDS = ("earliest", "latest")
MAX_OFFSET = 2**63 - 1
_MAX_PARTITION = 2**31 - 1


def _start(value: object) -> object:
    if isinstance(value, str):
        if value not in _WORDS:
            try:
                rfc3339(value)
            except ValueError as reason:
                raise error(
                    f"{shown(value)} is no place to start",
                    "write earliest, latest, a time such as 2026-03-29T01:00:00Z, or an offset for"
                    " each partition: {'0': 1500}",
                ) from reason
        return value
    if isinstance(value, dict) and value:
        offsets = cast(dict[object, object], value)
        return dict(_offset(partition, offset) for partition, offset in offsets.items())
    raise error(
        f"{shown(cast(object, value))} is no place to start",
        "write earliest, latest, a time in quotes, or an offset for each partition: {'0': 1500}",
    )


def _offset(partition: object, offset: object) -> tuple[int, int]:
    text = str(partition)
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and int(text) <= _MAX_PARTITION):
        raise error(f"{shown(partition)} is not the number of a partition", "write 0, 1, 2 …")
    if not isinstance(offset, int) or isinstance(offset, bool) or not 0 <= offset <= MAX_OFFSET:
        raise error(f"{shown(offset)} is not an offset", "write a whole number from 0 on", text)
    return int(text), offset


Start: TypeAlias = Annotated[
    str | Mapping[int, int],
    BeforeValidator(_start),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(_WORDS)},
                {"type": "string", "format": "date-time"},
                {
                    "type": "object",
                    "patternProperties": {"^[0-9]+$": {"type": "integer", "minimum": 0}},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ]
        }
    ),
]


def first_positions(
    cluster: Cluster,
    partitions: Collection[TopicPartition],
    start: str | Mapping[int, int],
    *,
    committed_only: bool,
) -> Mapping[TopicPartition, int]:
    """The offset at which each of these partitions begins.

    Raises SourceRefused for given offsets that the topic does not have.
    """
    if not partitions:
        return {}
    if isinstance(start, str) and start not in _WORDS:
        at_ms = -(-rfc3339(start) // 1000)  # records have milliseconds: none before the time
        return cluster.offsets_at(partitions, at_ms, committed_only=committed_only)
    ends = cluster.ends(partitions, committed_only=committed_only)
    if isinstance(start, str):
        return {p: held.start if start == "earliest" else held.end for p, held in ends.items()}
    for p, held in ends.items():
        if start.get(p.partition, 0) > held.end:
            raise SourceRefused(
                f"`start` begins partition {p.partition} of {p.topic} at {start[p.partition]},"
                f" behind its end, {held.end}: correct `start`"
            )
    return {p: start.get(p.partition, held.start) for p, held in ends.items()}


def check_start(start: str | Mapping[int, int], topic: str, partitions: Collection[int]) -> None:
    """Raises SourceRefused for a partition that is named, but not there."""
    if isinstance(start, str):
        return
    if unknown := sorted(start.keys() - set(partitions)):
        raise SourceRefused(
            f"`start` names partition {unknown[0]}, but {topic} has {len(partitions)} partitions,"
            " from 0 on: correct `start`"
        )
