"""A stream source in memory: an append-only log that a test fills, cuts off and breaks."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pydantic

from connectors.abc import JSON, Overlap
from connectors.registry import Registration, Registry
from connectors.streams import (
    END,
    Batch,
    Discovery,
    Life,
    LifeRef,
    Place,
    Progress,
    RunRef,
    SourceContext,
    StreamConnector,
    StreamSource,
    Want,
)
from connectors.validation import validate

SECOND = 1_000_000


@dataclass
class Log:
    """What exists outside: partitions with a start and an end, and what goes wrong."""

    identity: str = "one"
    starts: dict[str, int] = field(default_factory=dict[str, int])
    ends: dict[str, int] = field(default_factory=dict[str, int])
    closed: set[str] = field(default_factory=set[str])
    progress: dict[str, tuple[str, int, int]] = field(
        default_factory=dict[str, tuple[str, int, int]]
    )
    """By partition: run id, attempt, position that a consumer has committed."""
    offline: dict[str, str] = field(default_factory=dict[str, str])
    """Partitions that cannot be read, each with why."""
    fault: Callable[[], None] | None = None  # called by every poll
    committed: dict[str, str] = field(default_factory=dict[str, str])
    kept: list[RunRef] = field(default_factory=list[RunRef])
    forgotten: list[Mapping[str, JSON]] = field(default_factory=list[Mapping[str, JSON]])
    opened: int = 0
    closed_sources: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, partition: str, count: int) -> None:
        """More events."""
        with self.lock:
            self.starts.setdefault(partition, 0)
            self.ends[partition] = self.ends.get(partition, 0) + count


class LogSettings(pydantic.BaseModel):
    """Settings of the kind `log`."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    log: str
    max_records: int = 10
    life_ms: int | None = None
    stall_ms: int = 60_000
    stored: bool = False
    keep_ms: int = 0
    on_lost: str = "stop"


class LogSource(StreamSource):
    """Reads a `Log`."""

    def __init__(self, log: Log, settings: LogSettings) -> None:
        self._log = log
        self._settings = settings
        self._lag: dict[str, int] = {}
        log.opened += 1

    @property
    def interval(self) -> float:
        return 0.02

    def discover(self, known: Mapping[str, Place]) -> Discovery:
        with self._log.lock:
            return Discovery(
                identity=self._log.identity,
                partitions={p: str(start) for p, start in self._log.starts.items()},
            )

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        if self._log.fault is not None:
            self._log.fault()
        found: list[Batch] = []
        with self._log.lock:
            for want in wants:
                if want.partition not in self._log.offline:
                    found += self._plan(want)
        return found

    def _plan(self, want: Want) -> list[Batch]:
        partition = want.partition
        start, end = self._log.starts[partition], self._log.ends.get(partition, 0)
        position, batches = int(want.position), list[Batch]()
        self._lag[partition] = end - position
        if self._settings.life_ms is not None:
            if want.idle and want.room and position < end:
                batches.append(self._life(partition, position))
            return batches
        limit = end if want.until is None else min(end, int(want.until))
        if position < start and want.room:
            batches.append(
                Batch(
                    partition=partition,
                    start=str(position),
                    end=str(start),
                    values=self._values(partition, position, start),
                    outcome="lost",
                    reason=f"{start - position} events are gone",
                )
            )
            position = start
        while len(batches) < want.room and position < limit:
            following = min(limit, position + self._settings.max_records)
            batches.append(self._batch(partition, position, following))
            position = following
        if batches and partition in self._log.closed and position == end:
            last = batches[-1]
            batches[-1] = Batch(**{**vars(last), "end": END})
        return batches

    def _values(self, partition: str, start: int, end: int) -> dict[str, JSON]:
        return {"log": {"partition": partition, "start": start, "end": end}}

    def _batch(self, partition: str, start: int, end: int) -> Batch:
        return Batch(
            partition=partition,
            start=str(start),
            end=str(end),
            count=end - start,
            values=self._values(partition, start, end),
            inputs=[_object(f"{partition}-{start}-{end}")] if self._settings.stored else [],
        )

    def _life(self, partition: str, position: int) -> Batch:
        return Batch(
            partition=partition,
            start=str(position),
            end=str(position),
            values={"log": {"partition": partition, "start": position}},
            life=Life(
                duration=(self._settings.life_ms or 0) * 1000,
                stall_after=self._settings.stall_ms * 1000,
            ),
        )

    def lag(self) -> Mapping[str, int]:
        return dict(self._lag)

    def troubles(self) -> Mapping[str, str]:
        return dict(self._log.offline)

    def starts(self) -> Mapping[str, str]:
        return {p: str(start) for p, start in self._log.starts.items()}

    def gone(self, partition: str, start: str) -> bool:
        return int(start) < self._log.starts.get(partition, 0)

    def progress(self, lives: Sequence[LifeRef]) -> Mapping[str, Progress]:
        found: dict[str, Progress] = {}
        with self._log.lock:
            for life in lives:
                run, attempt, position = self._log.progress.get(life.partition, ("", 0, 0))
                mine = (run, attempt) == (life.run_id, life.attempt)
                reached = max(int(life.position), position if mine else 0)
                lag = self._log.ends[life.partition] - reached
                found[life.run_id] = Progress(position=str(reached), lag=lag)
        return found

    def split(self, run: RunRef) -> Sequence[Batch]:
        start, end = int(run.start), int(run.end)
        if end - start < 2:
            return ()
        middle = (start + end) // 2
        return [self._batch(run.partition, start, middle), self._batch(run.partition, middle, end)]

    def keep(self, run: RunRef) -> Mapping[str, JSON]:
        self._log.kept.append(run)
        return {"record": {"offset": int(run.start)}}

    def forget(self, inputs: Sequence[Mapping[str, JSON]]) -> None:
        self._log.forgotten += inputs

    @property
    def keep_for(self) -> int:
        return self._settings.keep_ms * 1000

    def commit(self, done: Mapping[str, str]) -> None:
        self._log.committed |= done

    def close(self) -> None:
        self._log.closed_sources += 1


class LogConnector(StreamConnector):
    """The kind `log`, over logs that the test has made."""

    kind = "log"
    version = "1"
    summary = "a log in memory"
    settings_model = LogSettings
    default_overlap: ClassVar[Overlap] = "queue"
    value_paths = frozenset({"log.partition", "log.start", "log.end"})

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}

    def check(self, settings: Mapping[str, JSON]) -> None:
        validate(LogSettings, settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        return {"log": settings["log"]}

    def position(self, settings: Mapping[str, JSON], text: str) -> str:
        if not text.isdecimal():
            raise ValueError("write a number")
        return str(int(text))

    def open(self, settings: Mapping[str, JSON], context: SourceContext) -> StreamSource:
        parsed = validate(LogSettings, settings)
        return LogSource(self.logs[parsed.log], parsed)


def log_registry(connector: LogConnector, *, with_cron: bool = False) -> Registry:
    """A registry with the kind `log`, and `cron` if it is wanted."""
    target = "tests.support.logsource:LogConnector"
    found = [Registration(kind="log", origin="tests", target=target, connector=connector)]
    if with_cron:
        found += [known for known in Registry.load([]) if known.kind == "cron"]
    return Registry(found)


def _object(name: str) -> dict[str, Any]:
    return {
        "Source": {
            "Type": "inline",
            "Params": {"URL": "data:text/plain;base64," + base64.b64encode(name.encode()).decode()},
        },
        "Target": "/orch/batch.ndjson",
    }
