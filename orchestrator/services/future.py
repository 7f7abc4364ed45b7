"""Future: jobs that were asked for earlier go in line when they are due."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from orchestrator.domain.clock import Clock
from orchestrator.domain.signals import Signals, Topic
from orchestrator.services.definitions import Definitions
from orchestrator.services.loop import Service
from orchestrator.store.jobs import Jobs

_AT_ONCE = 5000  # runs a transaction


class Future(Service):
    """Sleeps until the earliest of them is due. How many there are costs no memory."""

    name: ClassVar[str] = "future"
    topics: ClassVar[Sequence[Topic]] = (Topic.FUTURE,)

    def __init__(
        self, clock: Clock, signals: Signals, jobs: Jobs, definitions: Definitions
    ) -> None:
        super().__init__(clock, signals)
        self._jobs = jobs
        self._definitions = definitions

    def run_once(self) -> int | None:
        """Wake what is due; returns when the next is."""
        while not self.stopping:
            at, now = self._jobs.next_due(), self._clock.now()
            if at is None or at > now:
                return at
            due = self._jobs.due(now, _AT_ONCE)
            definitions = self._definitions.get_many([job.definition for job in due])
            self._jobs.wake(due, {d: found.admittance for d, found in definitions.items()})
        return None
