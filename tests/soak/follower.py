"""The sample follower, which also keeps the offset of every record before it commits.

    follower.py DIRECTORY

A follower that is killed prints nothing: what it has processed is in its file, because that is
durable before anything is committed.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

sys.path[0] = str(Path(__file__).resolve().parents[2])

from specs.tasks.kafka_follow import task  # noqa: E402

_OFFSET = struct.Struct("<q")


def processed(directory: Path, partition: int) -> Counter[int]:
    """How often each offset of a partition was processed, by all followers there ever were."""
    found: Counter[int] = Counter()
    for file in directory.glob(f"{partition}-*"):
        content = file.read_bytes()
        whole = len(content) - len(content) % _OFFSET.size
        found.update(offset for (offset,) in _OFFSET.iter_unpack(content[:whole]))
    return found


class _Consumer:
    """kafka-python's consumer, whose commits wait for the file."""

    def __init__(self, consumer: Any, file: BinaryIO) -> None:
        self._consumer = consumer
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def commit(self, *arguments: Any, **options: Any) -> Any:
        """Commit what is in the file."""
        self._file.flush()
        return self._consumer.commit(*arguments, **options)


def main(directory: Path, environment: Mapping[str, str]) -> int:
    """Live one life of the sample follower; returns its exit code."""
    from kafka import KafkaConsumer

    who = f"{environment['ORCH_RUN_ID']}-{environment['ORCH_ATTEMPT']}-{os.getpid()}"
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    add = task.Tally.add
    with (directory / f"{environment['KAFKA_PARTITION']}-{who}").open("wb") as file:

        def keep(self: task.Tally, record: Any) -> None:
            file.write(_OFFSET.pack(record.offset))
            add(self, record)

        task.Tally.add = keep
        return task.main(
            environment,
            asked=lambda: bool(stopped),
            connect=lambda options: _Consumer(KafkaConsumer(**options), file),  # type: ignore[arg-type]
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), os.environ))
