"""Housekeeping: recurring work that nobody waits for, on APScheduler."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor  # pyright: ignore[reportMissingTypeStubs]
from apscheduler.schedulers.background import (  # pyright: ignore[reportMissingTypeStubs]
    BackgroundScheduler,
)

from bacalhau_client import BacalhauError
from orchestrator.domain.clock import Clock
from orchestrator.services.cluster import Cluster
from orchestrator.store.errors import StoreError
from orchestrator.store.retention import Retention
from orchestrator.store.telling import Telling

_log = structlog.get_logger(__name__)
_SWEEP_EVERY = timedelta(minutes=10)
_IDENTITY_EVERY = timedelta(seconds=30)


class Housekeeping:
    """Removes what is older than `keep` microseconds; asks the cluster now and then who it is."""

    def __init__(
        self, clock: Clock, retention: Retention, telling: Telling, cluster: Cluster, keep: int
    ) -> None:
        self._clock = clock
        self._retention = retention
        self._telling = telling
        self._cluster = cluster
        self._keep = keep
        self._scheduler: Any = BackgroundScheduler(
            timezone=UTC, executors={"default": ThreadPoolExecutor(2)}
        )
        self._started = False

    def start(self) -> None:
        """Start. A second call changes nothing."""
        if self._started:
            return
        self._started = True
        soon = datetime.now(UTC) + timedelta(seconds=5)
        add = self._scheduler.add_job
        add(self.sweep, "interval", seconds=_SWEEP_EVERY.total_seconds(), next_run_time=soon)
        # At once, so that a wrong address or credential is told when the daemon starts.
        now = datetime.now(UTC)
        add(
            self.ask_identity,
            "interval",
            seconds=_IDENTITY_EVERY.total_seconds(),
            next_run_time=now,
        )
        self._scheduler.start()

    def stop(self) -> None:
        """End after what it does now. May be called twice."""
        if self._started and self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def sweep(self) -> int:
        """Remove what is too old; returns how many runs went."""
        before = self._clock.now() - self._keep
        removed = 0
        try:
            while gone := self._retention.sweep(before):
                removed += gone
            self._retention.sweep_trail(before)
            for trigger_uid in self._telling.abandoned():
                while self._telling.forget(trigger_uid):
                    pass
        except StoreError as error:
            _log.warning("retention failed", error=str(error))
        if removed:
            _log.info("old runs removed", runs=removed)
        return removed

    def ask_identity(self) -> None:
        """Learn of a changed cluster also while no job is under way."""
        try:
            self._cluster.check_identity()
            self._cluster.answered()
        except BacalhauError as error:
            self._cluster.failed(error)
