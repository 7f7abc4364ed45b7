"""What a soak registers in each mode, and what must be true of the runs afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.soak.follower import processed
from tests.support.ranges import Runs

NAME = "soak"
MODES = ("range", "follow", "buffer")


def trigger(
    mode: str, topic: str, brokers: str, shared: Path, *, client: str, max_records: int, life: int
) -> str:
    """The trigger file; its job is the default one. `life` in seconds."""
    own: dict[str, dict[str, Any]] = {
        "range": {"max_records": max_records, "max_wait": "200ms"},
        "follow": {"life": f"{life}s", "idle_exit": "3s", "stall_after": "30s"},
        "buffer": {"max_records": max_records, "max_age": "500ms", "storage": str(shared)},
    }
    document = {"apiVersion": "orch/v1", "kind": "kafka", "name": NAME, "mode": mode}
    source = {"topic": topic, "brokers": brokers, "client": client}
    # What a task cannot help (the broker is away, its node was killed) must not use them up.
    retry = {"max_attempts": 50, "backoff": {"initial": "200ms", "max": "2s"}}
    quick = {"retry": retry, "stop_grace": "1s"}
    return json.dumps({**document, **source, **own[mode], **quick})


def counted(runs: Runs) -> int:
    """The sum of what the tasks of succeeded runs counted; each tells of exactly its own range."""
    total = 0
    for run, told in _told(runs):
        start, end = int(run["range"]["start"]), int(run["range"]["end"])
        expected = (end - start, start, end - 1)
        assert (told["count"], told["first"], told["last"]) == expected, (run["key"], told)
        total += told["count"]
    return total


def _told(runs: Runs) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for run in runs:
        [attempt] = [a for a in run["attempts"] if a["state"] == "succeeded"]
        yield run, json.loads(attempt["stdout"])


def repeats(directory: Path, ends: Mapping[str, int]) -> int:
    """How many records followers have processed again; each was processed at least once."""
    again = 0
    for name, end in ends.items():
        seen = processed(directory, int(name.rpartition("/")[2]))
        missing = [offset for offset in range(end) if offset not in seen]
        assert not missing, f"{name}: {len(missing)} were never processed, first {missing[0]}"
        again += seen.total() - len(seen)
    return again
