"""Canceller: ends the jobs of runs that are to end, and of attempts whose time is over.

That a job is to be stopped is written first, then the cluster is asked, then its answer is
written. Killed in between, the same is done again. The attempt itself ends when the watcher sees
the job stopped and the grace has passed: until then no other attempt may exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import structlog

from bacalhau_client import BacalhauError, CannotStop, ComputeState, NotFound
from orchestrator.domain.clock import SECOND, Clock, to_rfc3339
from orchestrator.domain.signals import Signals, Topic
from orchestrator.domain.states import AttemptState
from orchestrator.failpoints import reach
from orchestrator.services.clockwatch import TICK, Steps
from orchestrator.services.cluster import Cluster, concerns_cluster
from orchestrator.services.loop import Service
from orchestrator.store.flights import Flights
from orchestrator.store.values import Flight

_log = structlog.get_logger(__name__)
_RETRY = SECOND
_BATCH = 1000


class Canceller(Service):
    """Stops jobs."""

    name: ClassVar[str] = "canceller"
    topics: ClassVar[Sequence[Topic]] = (Topic.CANCEL, Topic.DEADLINE, Topic.ADOPTED)

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        flights: Flights,
        cluster: Cluster,
        steps: Steps,
    ) -> None:
        super().__init__(clock, signals)
        self._flights = flights
        self._cluster = cluster
        self._steps = steps

    def run_once(self) -> int | None:
        """Stop what is to be stopped; returns when the next deadline passes."""
        now = self._clock.now()
        if self._steps.pending():
            return now + TICK  # the clock was set: first the deadlines are set like it
        found = self._flights.to_cancel(now, _BATCH)
        # The others are sent until a clear answer first.
        accepted = [flight for flight in found if flight.state is not AttemptState.SENDING]
        unsettled = False
        for flight in accepted:
            if self.stopping:
                return None
            if self._stop(flight, now):
                continue
            unsettled = True
            if self._cluster.pause() > 0:
                break  # it is not about this job: the others would wait as long for no answer
        if unsettled:
            pause = max(0.0, self._cluster.pause())
            return now + max(_RETRY, int(pause * SECOND))
        if accepted and len(found) >= _BATCH:
            return now
        return self._flights.next_deadline()

    def _stop(self, flight: Flight, now: int) -> bool:
        """Ask the cluster to stop a job. Returns whether that is settled."""
        reason = flight.stop_reason or flight.cancel or _overdue(flight)
        if flight.stop_reason is None:
            self._flights.stopping(flight, reason).result()
        try:
            reach("stop.before")
            self._cluster.client.jobs.stop(
                flight.job_id or flight.job_name, reason=reason, namespace=flight.namespace or None
            )
            reach("stop.after")
        except (CannotStop, NotFound):
            # It has ended by itself, or is lost: the watcher finds out how.
            self._flights.stopped(flight, now, now).result()
            self._signals.raise_([Topic.FLIGHT])
            return True
        except BacalhauError as error:
            if concerns_cluster(error):
                self._cluster.failed(error)
            else:
                _log.warning("job not stopped yet", run=flight.run_id, error=str(error))
            return False
        self._cluster.answered()
        told = self._clock.now()
        hold_until = told + flight.grace_us
        if flight.lease_us is not None:
            # Heard by nobody any more, it ends itself, wherever it is.
            hold_until += flight.lease_us
        else:
            hold_until = max(hold_until, self._until_cut_off_task_ends(flight))
        self._flights.stopped(flight, told, hold_until).result()
        if not flight.hold_until:  # else for the second time: the watcher has said so
            _log.info("job stopped", run=flight.run_id, job_id=flight.job_id, reason=reason)
        self._signals.raise_([Topic.FLIGHT])
        return True

    def _until_cut_off_task_ends(self, flight: Flight) -> int:
        """On a node that is cut off the task goes on until its own timeout: that instant, or 0."""
        try:
            info = self._cluster.client.jobs.get(
                flight.job_id or flight.job_name,
                include=("executions",),
                namespace=flight.namespace or None,
            )
            # The cluster starts another execution when a node is lost; the lost one may go on.
            begun = {
                e.node_id: e.create_time // 1000
                for e in sorted(info.executions or (), key=lambda e: e.create_time)
                if e.node_id and e.compute_state is not ComputeState.COMPLETED
            }
            lost = [
                began
                for node_id, began in begun.items()
                if not self._cluster.client.nodes.get(node_id).connection.is_connected
            ]
        except BacalhauError:
            # Nobody can say that the node is there: wait as if it were not.
            return (flight.running_at or 0) and (flight.running_at or 0) + flight.execution_us
        # By the node's clock it may have begun at any time, but not after now.
        return min(max(lost), self._clock.now()) + flight.execution_us if lost else 0


def _overdue(flight: Flight) -> str:
    since = to_rfc3339(flight.submitted_at or flight.created_at)
    seconds = flight.total_us / SECOND
    ran = "ran" if flight.running_at is not None else "waited in the cluster's queue"
    return f"stopped at its deadline: {ran} longer than {seconds:g} s since {since}"
