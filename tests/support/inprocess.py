"""An orchestrator in the test's own process, and what the tests ask of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import specs
from bacalhau_client import BacalhauClient, Job, JobInfo, NotFound
from connectors.registry import Registry
from orchestrator.app import App
from orchestrator.config import Config
from orchestrator.domain.clock import SECOND
from orchestrator.domain.states import RunState
from orchestrator.store.reads import RunFilter
from orchestrator.store.values import Attempt, Run, Trigger
from tests.support.waiting import until

ACTOR = "test"


class ShiftedClock:
    """The machine's clock, set by the test; waiting goes on at its own pace."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset = 0

    def now(self) -> int:
        with self._lock:
            return time.time_ns() // 1000 + self._offset

    def monotonic(self) -> float:
        return time.monotonic()

    def step(self, by: int) -> None:
        """Set the clock: `by` microseconds."""
        with self._lock:
            self._offset += by


@dataclass(kw_only=True)
class Orch:
    """A running orchestrator. A context manager: leaving it stops it."""

    app: App

    @classmethod
    def start(
        cls,
        data_dir: Path,
        bacalhau: str,
        *,
        clock: ShiftedClock | None = None,
        registry: Registry | None = None,
        **settings: Any,
    ) -> Orch:
        """Start one with short timeouts towards the cluster."""
        orch = cls.build(data_dir, bacalhau, clock=clock, registry=registry, **settings)
        orch.app.start()
        return orch

    @classmethod
    def build(
        cls,
        data_dir: Path,
        bacalhau: str,
        *,
        clock: ShiftedClock | None = None,
        registry: Registry | None = None,
        **settings: Any,
    ) -> Orch:
        """Like `start`, without its services."""
        settings = {
            "listen": "127.0.0.1:0",
            "connect_timeout": SECOND,
            "read_timeout": 2 * SECOND,
        } | settings
        config = Config(data_dir=data_dir, bacalhau=bacalhau, **settings)
        return cls(app=App(config, clock=clock, registry=registry))

    def __enter__(self) -> Orch:
        return self

    def __exit__(self, *_: object) -> None:
        self.app.stop()

    def register(self, text: str) -> Trigger:
        """Register a trigger file."""
        checker = self.app.registrar.checker
        checked = checker.check(checker.parse(specs.load(text)), base_dir=None)
        return self.app.registrar.register([checked], ACTOR)[0]

    def apply(self, text: str) -> None:
        """Bring a trigger to what a file says."""
        checker = self.app.registrar.checker
        checked = checker.check(checker.parse(specs.load(text)), base_dir=None)
        self.app.registrar.apply(checked, ACTOR)

    def pause(self, *triggers: str) -> None:
        """Pause triggers."""
        for trigger in triggers:
            self.app.triggers.pause(trigger, "the test ends", ACTOR)

    def runs(self, trigger: str | None = None) -> list[Run]:
        """All runs, oldest first."""
        found: list[Run] = []
        cursor: str | None = None
        while True:
            page = self.app.reads.runs(
                RunFilter(trigger=trigger, oldest_first=True), limit=500, cursor=cursor
            )
            found += page.items
            cursor = page.next
            if cursor is None:
                return found

    def run(self, run_id: str) -> Run:
        """One run."""
        return self.app.reads.run(run_id)

    def attempts(self, run: Run | str) -> Sequence[Attempt]:
        """A run's attempts, oldest first."""
        run_id = run if isinstance(run, str) else run.id
        return self.app.reads.attempts([run_id]).get(run_id, [])

    def first_run(self, trigger: str, *, within: float = 10.0) -> Run:
        """The first run of a trigger, once it is there."""
        return until(lambda: self.runs(trigger), f"a run of {trigger}", within=within)[0]

    def until_run(
        self, run_id: str, condition: Callable[[Run], bool], what: str, *, within: float = 20.0
    ) -> Run:
        """Wait until a run is as it should be."""

        def look() -> Run | None:
            run = self.run(run_id)
            return run if condition(run) else None

        return until(
            look,
            f"run {run_id} {what}",
            within=within,
            show=lambda: (self.run(run_id), self.attempts(run_id), self.app.cluster.status),
        )

    def until_ended(self, run_id: str, *, within: float = 20.0) -> Run:
        """Wait for a run's end."""
        return self.until_run(run_id, lambda r: r.ended_at is not None, "ended", within=within)

    def drained(self, *, within: float = 30.0) -> list[Run]:
        """Wait until no run is open; returns all."""

        def look() -> bool:
            return all(run.ended_at is not None for run in self.runs())

        until(look, "all runs ended", within=within, show=self.open_runs)
        return self.runs()

    def open_runs(self) -> list[tuple[Run, Sequence[Attempt]]]:
        """What has not ended, for the error of a test."""
        return [(run, self.attempts(run)) for run in self.runs() if run.ended_at is None]

    def succeeded(self, trigger: str) -> list[Run]:
        """The runs of a trigger that succeeded."""
        return [run for run in self.runs(trigger) if run.state is RunState.SUCCEEDED]

    def audit(self) -> None:
        """The ledger proves itself; AssertionError with what it finds."""
        result = self.app.auditor.audit(None)
        assert result["ok"], result["findings"]


class Witness:
    """Asks the node itself, past proxy and orchestrator."""

    def __init__(self, url: str) -> None:
        self.client = BacalhauClient(url)

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def jobs(self) -> list[Job]:
        """Every job that the node ever took."""
        return list(self.client.jobs.iterate(page_size=500))

    def find(self, name: str) -> JobInfo | None:
        """One job with its executions, by id or name."""
        try:
            return self.client.jobs.get(name, include=("executions",))
        except NotFound:
            return None

    def live(self) -> list[Job]:
        """Jobs that have not ended."""
        return [job for job in self.jobs() if not job.state.is_terminal]


def lines(file: Path) -> list[str]:
    """What tasks wrote down."""
    return file.read_text().splitlines() if file.exists() else []
