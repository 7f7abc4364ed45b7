"""Watcher: learns how attempts end, by asking for each job by its id.

Listing would be one request for many jobs, but it scans every job the node ever ran (FACTS). So
jobs are polled one by one, at a pace that follows how long this trigger's jobs take, within a
budget of requests per second.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import ClassVar

import structlog

from bacalhau_client import BacalhauError, Job, JobInfo, NotFound
from orchestrator import metrics
from orchestrator.domain.clock import MINUTE, SECOND, Clock
from orchestrator.domain.limits import TokenBucket
from orchestrator.domain.outcome import Outcome, Verdict, judge
from orchestrator.domain.partial import BadList, failed_places
from orchestrator.domain.polling import DurationEstimate, next_poll
from orchestrator.domain.signals import Signals, Topic
from orchestrator.domain.states import AttemptState
from orchestrator.failpoints import reach
from orchestrator.services import published
from orchestrator.services.cluster import Cluster, ClusterState, concerns_cluster
from orchestrator.services.loop import Service
from orchestrator.services.observer import view
from orchestrator.store.flights import Ending, Flights
from orchestrator.store.values import Flight

_log = structlog.get_logger(__name__)

_ESTIMATES = 10_000  # triggers whose durations are remembered
_LOST_FOR = 5.0  # seconds: a job that is not found for so long is lost
_NS_PER_US = 1000
_WITNESSES = 2  # other jobs that the cluster is asked for when one is lost
_RESULT_WITHIN = 300.0  # seconds in which what a task has published is to be readable
_STOP_AGAIN = 30.0  # seconds that a job may go on after a stop and its grace, before the next stop


@dataclass(kw_only=True)
class Watch:
    """A job that is watched."""

    flight: Flight
    since: float  # monotonic: when the cluster accepted it
    missing_since: float | None = None  # monotonic
    goes_on_since: float | None = None  # monotonic: seen running after a stop and its grace
    unread_since: float | None = None  # monotonic: has succeeded, and its result cannot be read
    defies: bool = False  # it was told to stop again already
    turn: int = 0  # of its newest place in the heap; older ones are void


class Watcher(Service):
    """Polls the jobs of this orchestrator's attempts."""

    name: ClassVar[str] = "watcher"
    topics: ClassVar[Sequence[Topic]] = (Topic.FLIGHT, Topic.ADOPTED)

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        flights: Flights,
        cluster: Cluster,
        *,
        polls_per_second: float,
        threads: int,
    ) -> None:
        super().__init__(clock, signals)
        self._flights = flights
        self._cluster = cluster
        self._budget = TokenBucket(per_second=polls_per_second, burst=max(1.0, polls_per_second))
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="poll")
        self._state = threading.Lock()
        self._watches: dict[tuple[str, int], Watch] = {}
        self._heap: list[tuple[float, int, int, Watch]] = []  # monotonic instant, tie, turn
        self._ties = itertools.count()
        self._polling = 0
        self._estimates: OrderedDict[str, DurationEstimate] = OrderedDict()

    def stop(self) -> None:
        """End the loop and the polls under way."""
        super().stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run_once(self) -> int | None:
        """Poll what is to be polled now; returns when the next is."""
        now = self._clock.now()
        if self.recovering():
            under_way = self._flights.load([AttemptState.ACCEPTED, AttemptState.RUNNING])
            self._note(under_way, now, at_once=True)  # they may have ended long ago
        self._note(self._flights.news(), now)
        throttled = self._cluster.throttled()
        if throttled > 0:
            return now + int(throttled * SECOND) + 1
        while not self.stopping:
            ticks = self._clock.monotonic()
            with self._state:
                if self._polling >= 2 * self._threads:
                    return None  # a poll that ends wakes us
                if not self._heap:
                    return None
                at, _, turn, watch = self._heap[0]
                if turn != watch.turn:
                    heapq.heappop(self._heap)
                    continue
                if at > ticks:
                    return self._clock.now() + int((at - ticks) * SECOND) + 1
                if not self._budget.take(ticks):
                    return self._clock.now() + int(self._budget.wait() * SECOND) + 1
                heapq.heappop(self._heap)
                self._polling += 1
            self._pool.submit(self._poll, watch)
        return None

    def _note(self, flights: Sequence[Flight], now: int, *, at_once: bool = False) -> None:
        for flight in flights:
            key = (flight.run_id, flight.number)
            with self._state:
                known = self._watches.get(key)
                age = max(0, now - (flight.submitted_at or now)) / SECOND
                watch = known or Watch(flight=flight, since=self._clock.monotonic() - age)
                watch.flight = flight
                self._watches[key] = watch
            self._schedule(watch, now, at_once=at_once)

    def _schedule(self, watch: Watch, now: int, *, at_once: bool = False) -> None:
        """Look again in a while, whatever is done to the clock meanwhile."""
        flight = watch.flight
        with self._state:
            estimate = self._estimates.get(flight.trigger_uid, DurationEstimate())
            ticks = self._clock.monotonic()
            age = int((ticks - watch.since) * SECOND)
            wait = 0 if at_once else next_poll(age, since=0, estimate=estimate) - age
            if flight.stopped_at is not None and flight.hold_until > now:
                # Not all of it at once: the hold moves when somebody sets the clock.
                wait = min(flight.hold_until - now, MINUTE)
            watch.turn += 1
            due = ticks + wait / SECOND
            heapq.heappush(self._heap, (due, next(self._ties), watch.turn, watch))

    def _poll(self, watch: Watch) -> None:
        again = True
        try:
            again = self._look(watch)
        except BacalhauError as error:
            if concerns_cluster(error):
                self._cluster.failed(error)
            else:
                _log.warning("job cannot be read", run=watch.flight.run_id, error=str(error))
        except Exception:  # noqa: BLE001
            _log.exception("watching failed", run=watch.flight.run_id)
        finally:
            with self._state:
                self._polling -= 1
                if not again:
                    self._watches.pop((watch.flight.run_id, watch.flight.number), None)
            if again:
                self._schedule(watch, self._clock.now())
            self.wake()

    def _look(self, watch: Watch) -> bool:
        """Ask once. Returns whether to ask again."""
        flight = watch.flight
        reach("watch.before")
        metrics.polls.inc()
        try:
            info = self._cluster.client.jobs.get(
                flight.job_id or flight.job_name,
                include=("executions",),
                namespace=flight.namespace or None,
            )
        except NotFound:
            return self._missing(watch)
        reach("watch.after")
        self._cluster.answered()
        with self._state:
            watch.missing_since = None
        if not self._cluster.seen_identity(info.job.orchestrator_id):
            return True
        return self._judge(watch, info)

    def _judge(self, watch: Watch, info: JobInfo) -> bool:
        flight = watch.flight
        if info.job.version > 1:
            reason = f"somebody started version {info.job.version} of the job {info.job.id}"
            hold = _unheard(flight, self._clock.now())
            return self._end(
                flight,
                Ending(state=AttemptState.FAILED, reason=reason, retryable=False, hold_until=hold),
            )
        outcome = judge(view(info))
        if outcome.verdict is Verdict.RUNNING and flight.state is AttemptState.ACCEPTED:
            if not self._flights.seen_running(flight, outcome.node_id).result():
                return self._still_ours(watch)
            with self._state:
                watch.flight = replace(watch.flight, state=AttemptState.RUNNING)
        if outcome.verdict in (Verdict.WAITING, Verdict.RUNNING):
            return flight.stopped_at is None or self._goes_on(watch)
        if outcome.verdict is Verdict.STOPPED:
            return self._judge_stopped(watch, outcome)
        failed: Sequence[tuple[int, int]] = ()
        if outcome.verdict is Verdict.SUCCEEDED and published.is_published(info.job):
            try:
                failed = self._failed_in_result(watch, info.job)
            except BadList as error:
                outcome = replace(outcome, verdict=Verdict.FAILED, reason=str(error))
            except published.NotThere:
                return True
        self._learn(flight, (info.job.modify_time - info.job.create_time) // _NS_PER_US)
        ending = _ending(flight, outcome, self._clock.now())
        return self._end(flight, replace(ending, failed=failed))

    def _failed_in_result(self, watch: Watch, job: Job) -> Sequence[tuple[int, int]]:
        """What a task that has succeeded says in its result. Raises BadList; NotThere for as long
        as it may still be read."""
        flight = watch.flight
        try:
            results = self._cluster.client.jobs.results(job.id, namespace=flight.namespace or None)
            return published.failed_in(results, max(job.count, 1))
        except (published.NotThere, BacalhauError) as error:
            if isinstance(error, BacalhauError) and concerns_cluster(error):
                raise
            ticks = self._clock.monotonic()
            with self._state:
                since = watch.unread_since = watch.unread_since or ticks
            _log.warning("result cannot be read", run=flight.run_id, error=str(error))
            if ticks - since < _RESULT_WITHIN:
                raise published.NotThere(str(error)) from error
            raise BadList(f"the result of the task cannot be read: {error}") from error

    def _still_ours(self, watch: Watch) -> bool:
        """Whether to go on with an attempt that was not as it was known; look at it as it is."""
        flight = self._flights.current(watch.flight)
        if flight is None:
            return False
        with self._state:
            watch.flight = flight
        return True

    def _judge_stopped(self, watch: Watch, outcome: Outcome) -> bool:
        """By us, or by somebody else? The canceller writes it down before it asks the cluster."""
        flight = self._flights.current(watch.flight)
        if flight is None:
            return False
        with self._state:
            watch.flight = flight
        if flight.stop_reason is None:
            return self._end(flight, _ending(flight, outcome, self._clock.now()))
        if flight.stopped_at is None or self._clock.now() < flight.hold_until:
            return True
        return self._end(flight, _stopped(flight, outcome))

    def _goes_on(self, watch: Watch) -> bool:
        """The cluster was told to stop a job, has said yes, and the job goes on all the same."""
        flight = self._flights.current(watch.flight)
        if flight is None:
            return False
        ticks = self._clock.monotonic()
        with self._state:
            watch.flight = flight
            if flight.stopped_at is None or self._clock.now() < flight.hold_until:
                watch.goes_on_since = None
                return True
            since = watch.goes_on_since = watch.goes_on_since or ticks
            if ticks - since < _STOP_AGAIN:
                return True
            first, watch.defies, watch.goes_on_since = not watch.defies, True, None
        if first:
            _log.warning("job goes on after its stop", run=flight.run_id, job_id=flight.job_id)
        self._flights.stop_again(flight).result()
        return True

    def _end(self, flight: Flight, ending: Ending) -> bool:
        self._flights.ended(flight, ending).result()
        return False

    def _learn(self, flight: Flight, duration: int) -> None:
        """How long a job took by the node's own clock: when we heard of it says nothing."""
        if duration <= 0:
            return
        with self._state:
            known = self._estimates.pop(flight.trigger_uid, DurationEstimate())
            self._estimates[flight.trigger_uid] = known.learn(duration)
            if len(self._estimates) > _ESTIMATES:
                self._estimates.popitem(last=False)

    def _missing(self, watch: Watch) -> bool:
        """The cluster does not know a job that it had accepted."""
        flight, now = watch.flight, self._clock.monotonic()
        if not self._cluster.check_identity():
            return True
        with self._state:
            since = watch.missing_since = watch.missing_since or now
        if now - since < _LOST_FOR or self._cluster.status.blocked:
            return True
        if self._forgets(flight):
            self._cluster.block(
                ClusterState.LOST,
                f"the cluster has forgotten the job {flight.job_id} and others that it had "
                "accepted: its store was lost or replaced. If their runs are to be tried again "
                "there, say `orch cluster accept`",
            )
            return True
        _log.error("job lost", run=flight.run_id, job_id=flight.job_id)
        reason = "the cluster lost the job"
        hold = _unheard(flight, self._clock.now())
        return self._end(flight, Ending(state=AttemptState.FAILED, reason=reason, hold_until=hold))

    def _forgets(self, flight: Flight) -> bool:
        """Whether the jobs before this one are unknown to the cluster as well."""
        earlier = self._flights.jobs_before(flight, self._cluster.accepted_at, _WITNESSES)
        for job_id, namespace in earlier:
            try:
                self._cluster.client.jobs.get(job_id, namespace=namespace or None)
            except NotFound:
                continue
            return False
        return bool(earlier)


def _unheard(flight: Flight, now: int) -> int:
    """When a service's task that may go on somewhere has ended itself: nobody hears it any more."""
    return 0 if flight.lease_us is None else now + flight.lease_us + flight.grace_us


def _stopped(flight: Flight, outcome: Outcome) -> Ending:
    """We stopped the job, and the grace has passed."""
    return Ending(
        state=AttemptState.STOPPED,
        reason=flight.stop_reason or "",
        node_id=outcome.node_id,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
        counted=flight.running_at is not None or outcome.execution_started > 0,
        hold_until=flight.hold_until,
    )


def _succeeded(stdout: str) -> tuple[AttemptState, str]:
    """Unless the task says that events have failed, and nobody can tell which."""
    try:
        failed_places(stdout)
    except BadList as error:
        return AttemptState.FAILED, str(error)
    return AttemptState.SUCCEEDED, ""


def _ending(flight: Flight, outcome: Outcome, now: int) -> Ending:
    if outcome.verdict is Verdict.SUCCEEDED:
        state, reason = _succeeded(outcome.stdout)
    elif outcome.verdict is Verdict.STOPPED:
        state, reason = AttemptState.FAILED, f"stopped by somebody else: {outcome.reason}"
    else:
        state, reason = AttemptState.FAILED, outcome.reason
    hold = 0
    unclear = outcome.node_lost or outcome.verdict is Verdict.STOPPED
    if flight.lease_us is not None:
        hold = _unheard(flight, now) if unclear else 0
    elif outcome.node_lost and outcome.execution_started:
        # The task may go on where nobody sees it, until its own timeout ends it. By the node's
        # clock it may have begun at any time, but not after now.
        hold = min(outcome.execution_started, now) + flight.execution_us
    return Ending(
        state=state,
        reason=reason,
        exit_code=outcome.exit_code,
        node_id=outcome.node_id,
        stdout=outcome.stdout,
        stderr=outcome.stderr,
        counted=outcome.counts,
        hold_until=hold,
    )
