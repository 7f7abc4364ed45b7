"""Partitions that no broker led when their trigger began, and where they begin once one does.

Nobody can be asked for the offsets of such a partition. It is found later, like one that was added,
but begins where the settings say. ``latest`` means the time at which the trigger began then.

Kept in a file. Without it (another machine, a lost disk) they begin at their beginning, as added
ones do: more is read than was asked for, and nothing is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from connectors.kafka.cluster import Cluster, TopicPartition
from connectors.kafka.start import first_positions


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Awaited:
    """Those of one trigger, by the file that remembers them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _since(self) -> dict[int, int]:
        """When the trigger began, by partition. Read on first use: opening does no I/O."""
        return _read(self._path)

    def note(self, partitions: Collection[int], begun_ms: int) -> None:
        """These had no leader when the trigger began; those of before are forgotten."""
        if not partitions and not self._since:
            return
        self._since.clear()
        self._since.update(dict.fromkeys(partitions, begun_ms))
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_suffix(".new")
            temporary.write_text(json.dumps(self._since), encoding="utf-8")
            os.replace(temporary, self._path)

    def first_positions(
        self,
        cluster: Cluster,
        partitions: Collection[TopicPartition],
        start: str | Mapping[int, int],
        *,
        committed_only: bool,
    ) -> Mapping[TopicPartition, int]:
        """The offset at which each partition begins that came up while the trigger was running.

        Raises SourceRefused for given offsets that the topic does not have.
        """
        added = [place for place in partitions if place.partition not in self._since]
        found = dict(first_positions(cluster, added, "earliest", committed_only=committed_only))
        awaited = [place for place in partitions if place.partition in self._since]
        if awaited and start == "latest":
            begun = self._since[awaited[0].partition]  # of all the same
            found |= dict(cluster.offsets_at(awaited, begun, committed_only=committed_only))
        elif awaited:
            found |= dict(first_positions(cluster, awaited, start, committed_only=committed_only))
        return found


def _read(path: Path) -> dict[int, int]:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return {int(partition): int(begun) for partition, begun in data.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
