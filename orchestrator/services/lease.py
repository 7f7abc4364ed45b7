"""Lease: this orchestrator is alive, and takes over the runs of those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import structlog

from orchestrator.domain.clock import SECOND, Clock
from orchestrator.domain.signals import Signals, Topic
from orchestrator.services.loop import Service
from orchestrator.store.leases import Leases

_log = structlog.get_logger(__name__)

LEASE = 30 * SECOND
_RENEW = 5 * SECOND


class LeaseKeeper(Service):
    """Renews the lease. What it adopts, dispatcher and watcher find by a signal."""

    name: ClassVar[str] = "lease"
    topics: ClassVar[Sequence[Topic]] = ()

    def __init__(self, clock: Clock, signals: Signals, leases: Leases) -> None:
        super().__init__(clock, signals)
        self._leases = leases
        self._given_back = False

    def run_once(self) -> int | None:
        """Renew once, and look for orphans."""
        self._leases.renew(LEASE)
        adopted = self._leases.adopt_orphans()
        if adopted:
            _log.warning("runs taken over", runs=adopted)
        return self._clock.now() + _RENEW

    def stop(self) -> None:
        """End the loop and give the lease back, so that others need not wait for its end."""
        super().stop()
        if not self._given_back:
            self._leases.give_back()
            self._given_back = True
