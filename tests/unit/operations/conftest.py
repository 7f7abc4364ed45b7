"""An orchestrator that is not started: its store, its commands, and a clock that a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import specs
from orchestrator.app import App
from orchestrator.config import Config
from orchestrator.domain.clock import from_rfc3339
from orchestrator.operations.registration import Applied
from orchestrator.store.reads import RunFilter
from orchestrator.store.values import Run, Trigger


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self, instant: str) -> None:
        self.instant = from_rfc3339(instant)

    def now(self) -> int:
        return self.instant

    def monotonic(self) -> float:
        return self.instant / 1_000_000

    def set(self, instant: str) -> None:
        self.instant = from_rfc3339(instant)


@dataclass
class Bench:
    """What a test of a command works with."""

    app: App
    clock: SetClock

    def document(self, **changes: Any) -> specs.Document:
        """A trigger every minute whose job is the library's own."""
        values = {"apiVersion": "orch/v1", "kind": "cron", "name": "tick", "every": "1m"}
        return specs.from_data({**values, **changes})

    def register(self, **changes: Any) -> Trigger:
        checker = self.app.registrar.checker
        checked = checker.check(checker.parse(self.document(**changes)), base_dir=None)
        return self.app.registrar.register([checked], "test")[0]

    def apply(self, **changes: Any) -> Applied:
        checker = self.app.registrar.checker
        checked = checker.check(checker.parse(self.document(**changes)), base_dir=None)
        return self.app.registrar.apply(checked, "test")

    def fire_until(self, instant: str) -> None:
        """Let time pass and take in what came due."""
        self.clock.set(instant)
        self.app.firing.run_once()

    def runs(self, trigger: str = "tick") -> list[Run]:
        """The ledger, oldest first."""
        wanted = RunFilter(trigger=trigger, oldest_first=True)
        return list(self.app.reads.runs(wanted, limit=1000).items)

    def states(self, trigger: str = "tick") -> list[tuple[str, str, str]]:
        """(time of day, state, reason) of each run."""
        return [(r.key[11:16], r.state.value, r.reason) for r in self.runs(trigger)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock = SetClock("2026-06-01T12:00:30Z")
    app = App(Config(data_dir=tmp_path / "data"), clock=clock)
    try:
        yield Bench(app=app, clock=clock)
    finally:
        app.stop()
