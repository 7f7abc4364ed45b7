"""A running orchestrator that is watched from inside its own process: when commits were done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator import logging
from orchestrator.app import App
from orchestrator.config import Config


@contextmanager
def running(data_dir: str, bacalhau: str, **settings: Any) -> Iterator[App]:
    """A whole daemon, API and log included, not started yet; stopped at the end."""
    logging.set_up(stream=(Path(data_dir) / "bench.log").open("a"))
    config = Config(data_dir=Path(data_dir), bacalhau=bacalhau, listen="127.0.0.1:0", **settings)
    app = App(config)
    try:
        yield app
    finally:
        app.stop()


def now() -> int:
    """The machine's clock, microseconds."""
    return time.time_ns() // 1000


class Commits:
    """When each firing was in the ledger, durable: (due, committed), microseconds."""

    def __init__(self, app: App) -> None:
        self.firings: list[tuple[int, int]] = []
        self._submit = app.intake.submit
        app.intake.submit = self._watched

    def _watched(self, drafts: Any) -> Future[int]:
        future = self._submit(drafts)
        due = [row["due_at"] for draft in drafts for row in draft.rows]
        future.add_done_callback(lambda f: self._note(f, due))
        return future

    def _note(self, future: Future[int], due: list[int]) -> None:
        at = now()
        if future.exception() is None:
            self.firings += [(instant, at) for instant in due]


class Accepted:
    """When each attempt was known as accepted, durable: (run, committed), microseconds."""

    def __init__(self, app: App) -> None:
        self.runs: list[tuple[str, int]] = []
        self._accepted = app.flights.accepted
        app.flights.accepted = self._watched

    def _watched(self, flight: Any, job_id: str) -> Future[bool]:
        future = self._accepted(flight, job_id)
        future.add_done_callback(lambda f: self._note(f, flight.run_id))
        return future

    def _note(self, future: Future[bool], run_id: str) -> None:
        at = now()
        if future.exception() is None and future.result():
            self.runs.append((run_id, at))
