"""Dispatcher: claims runs that may start, stores their bytes, and only then submits them."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar

import structlog

from orchestrator.domain.clock import SECOND, Clock
from orchestrator.domain.signals import Signals, Topic
from orchestrator.domain.states import AttemptState
from orchestrator.failpoints import reach
from orchestrator.services.cluster import Cluster, ClusterState
from orchestrator.services.loop import Service
from orchestrator.services.renderer import Early, Renderer, Unrenderable
from orchestrator.services.sender import Progress, Sender, Sending
from orchestrator.store.claims import Claim, Claims
from orchestrator.store.flights import Flights
from orchestrator.store.values import Flight, Run

_log = structlog.get_logger(__name__)
_BATCH = 64  # runs a claim
_BACKLOG = 16  # attempts a thread: waiting for it, in it, or waiting for their commit
_EARLY = 2 * SECOND  # until a run whose job cannot be made yet is looked at again
_RETRY_DOUBT = 500_000  # µs: how soon a name is looked up after an unclear answer
_RETRY_DOUBT_AT_MOST = 5 * SECOND


class Dispatcher(Service):
    """Keeps the node's own queue short: never more than `max_in_flight` runs are with it."""

    name: ClassVar[str] = "dispatcher"
    topics: ClassVar[Sequence[Topic]] = (Topic.READY, Topic.CANCEL, Topic.ADOPTED)

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        claims: Claims,
        flights: Flights,
        renderer: Renderer,
        sender: Sender,
        cluster: Cluster,
        *,
        max_in_flight: int,
        threads: int,
    ) -> None:
        super().__init__(clock, signals)
        self._claims = claims
        self._flights = flights
        self._renderer = renderer
        self._sender = sender
        self._cluster = cluster
        self._max_in_flight = max_in_flight
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="send")
        self._state = threading.Lock()
        self._sending: dict[tuple[str, int], Sending] = {}  # in a thread, or waiting for one
        # Monotonic instant, tie, what, wait in µs.
        self._later: list[tuple[float, int, Sending, int]] = []
        self._ties = itertools.count()

    def stop(self) -> None:
        """End the loop and the sends under way; what is unclear stays in the store."""
        super().stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run_once(self) -> int | None:
        """Send what may be sent; returns when there may be more."""
        if self.recovering():
            self._recover()
        now = self._clock.now()
        self._drop_cancelled()
        pause = self._cluster.pause()
        if pause < 0:
            return None
        if pause > 0:
            return now + int(pause * SECOND)
        self._send_again()
        delayed = self._claims.next_ready()
        if delayed is not None and delayed <= now:
            self._claims.wake_delayed(now)
        claimed = self._claim()
        if claimed:
            return now
        return self._next(now)

    def _recover(self) -> None:
        """What was being sent when the process ended may have arrived: every one is in doubt."""
        for flight in self._flights.load([AttemptState.SENDING]):
            if _key(flight) not in self._sending:
                self._start(Sending(flight=flight, doubt=True, faults=flight.faults))

    def _next(self, now: int) -> int | None:
        moments = [self._claims.next_ready()]
        with self._state:
            # What waits for a probe waits for its end, which wakes us.
            if self._later and self._room_again() > 0:
                wait = self._later[0][0] - self._clock.monotonic()
                moments.append(now + max(0, int(wait * SECOND) + 1))
        return min((m for m in moments if m is not None), default=None)

    # -- claiming ---------------------------------------------------------------------------

    def _claim(self) -> bool:
        """Claim one batch. Returns whether there may be more at once."""
        with self._state:
            backlog = len(self._sending)
        room = min(_BATCH, _BACKLOG * self._threads - backlog)
        if self._probing():
            room = min(room, 1 - backlog)
        room = min(room, self._max_in_flight - self._claims.in_flight())
        if room <= 0:
            return False
        runs = self._claims.ready(room)
        claims = [claim for run in runs if (claim := self._render(run)) is not None]
        if not claims:
            return bool(runs)
        reach("dispatch.rendered")
        flights = self._claims.claim(claims, self._max_in_flight)
        for flight in flights:
            self._start(Sending(flight=flight, doubt=False))
        return True

    def _probing(self) -> bool:
        """While the cluster is in trouble, one attempt at a time is the probe."""
        return self._cluster.status.state not in (ClusterState.OK, ClusterState.UNKNOWN)

    def _render(self, run: Run) -> Claim | None:
        try:
            return self._renderer.render(run)
        except Early as error:
            self._claims.postpone(run, self._clock.now() + _EARLY, str(error))
            return None
        except Unrenderable as error:
            _log.error("run cannot be rendered", run=run.id, reason=str(error))
            self._claims.fail_unsent(run, str(error), error.exit_code)
            return None

    # -- sending ----------------------------------------------------------------------------

    def _start(self, sending: Sending, wait: int = _RETRY_DOUBT) -> None:
        flight = sending.flight
        with self._state:
            self._sending[flight.run_id, flight.number] = sending
        self._pool.submit(self._send, sending, wait)

    def _send(self, sending: Sending, wait: int) -> None:
        progress = Progress.AGAIN
        try:
            if not self.stopping:
                progress = self._sender.send(sending)
        except Exception:  # noqa: BLE001
            # The store is away, or we are wrong: the attempt stays as it is in the store.
            sending.doubt = True
            _log.exception("sending failed", run=sending.flight.run_id)
        if progress is Progress.ACCEPTED and sending.commit is not None:
            # This thread is needed for the next one; a commit takes longer than an answer.
            sending.commit.add_done_callback(lambda commit: self._committed(sending, commit, wait))
        else:
            self._finish(sending, progress, wait)

    def _committed(self, sending: Sending, commit: Future[bool], wait: int) -> None:
        """The store knows of an acceptance, or is away: then the job is found by its name."""
        error = commit.exception()
        if error is not None:
            sending.doubt = True
            _log.error("acceptance not written", run=sending.flight.run_id, error=str(error))
        progress = Progress.AGAIN
        if error is None:
            progress = Progress.DONE if commit.result() else Progress.LOST
        self._finish(sending, progress, wait)

    def _finish(self, sending: Sending, progress: Progress, wait: int) -> None:
        flight = sending.flight
        with self._state:
            if progress is Progress.AGAIN:
                at = self._clock.monotonic() + wait / SECOND
                heapq.heappush(self._later, (at, next(self._ties), sending, wait))
            else:
                del self._sending[flight.run_id, flight.number]
            low = 2 * len(self._sending) < _BACKLOG * self._threads
            waiting = bool(self._later)
        if progress is Progress.LOST:
            self._lost(flight)
        if low or waiting:
            self.wake()

    def _lost(self, flight: Flight) -> None:
        """Somebody else wrote to an attempt of ours: what is ours is read again from the store.

        Another orchestrator took it over; it may have come back to us since. Or it is a commit of
        our own whose answer was lost.
        """
        _log.warning("attempt changed by somebody else", run=flight.run_id, attempt=flight.number)
        self._signals.raise_([Topic.ADOPTED])

    def _send_again(self) -> None:
        now = self._clock.monotonic()
        due: list[tuple[Sending, int]] = []
        with self._state:
            for _ in range(self._room_again()):
                if not self._later or self._later[0][0] > now:
                    break
                _, _, sending, wait = heapq.heappop(self._later)
                due.append((sending, wait))
        for sending, wait in due:
            self._start(sending, min(wait * 2, _RETRY_DOUBT_AT_MOST))

    def _room_again(self) -> int:
        """How many of those that wait may be sent again at once. Under the lock."""
        if not self._probing():
            return len(self._later)
        return max(0, 1 - (len(self._sending) - len(self._later)))

    def _drop_cancelled(self) -> None:
        """Runs that are to end and whose attempt was certainly never sent need no stop."""
        with self._state:
            waiting = {(s.flight.run_id, s.flight.number): s for _, _, s, _ in self._later}
        if not any(not sending.doubt for sending in waiting.values()):
            return
        for flight in self._flights.to_cancel(0):
            sending = waiting.get(_key(flight))
            if sending is None or sending.doubt:
                continue
            with self._state:
                self._later = [item for item in self._later if item[2] is not sending]
                heapq.heapify(self._later)
                self._sending.pop(_key(flight), None)
            if self._sender.never_sent(sending, flight.cancel or "") is Progress.LOST:
                self._lost(flight)


def _key(flight: Flight) -> tuple[str, int]:
    return flight.run_id, flight.number
