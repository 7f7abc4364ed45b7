"""Sender: one attempt's bytes reach the cluster exactly once, or it is known why not.

The same bytes are sent until the cluster answers clearly. Where it does not, the job is looked up
by its name before anything is sent again (FACTS: name and namespace are the node's only key; the
same bytes again are a 500 that means "it is already there").
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import Enum

import structlog

from bacalhau_client import (
    AlreadyThere,
    BacalhauError,
    Conflict,
    Job,
    NotFound,
    Refused,
    ServerFault,
)
from orchestrator import metrics
from orchestrator.domain import names
from orchestrator.domain.states import AttemptState
from orchestrator.failpoints import reach
from orchestrator.services.cluster import Cluster, concerns_cluster
from orchestrator.store.flights import Ending, Flights
from orchestrator.store.seal import Seal, Unsealable
from orchestrator.store.values import Flight

_log = structlog.get_logger(__name__)

FAULTS_AT_MOST = 5  # answered 5xx for the same bytes, while others succeed


class Progress(Enum):
    """What became of one try to send."""

    ACCEPTED = "accepted"  # accepted or adopted; its `commit` is under way
    DONE = "done"  # ended: nothing more to send
    AGAIN = "again"  # no clear answer, or the cluster is away: the same bytes, later
    LOST = "lost"  # the attempt is not ours any more, or not as we knew it


@dataclass(kw_only=True)
class Sending:
    """An attempt on its way: what this process knows of it."""

    flight: Flight
    doubt: bool  # something may have been sent whose answer is not known
    faults: int = 0
    successes_before: int = 0  # the cluster's successes when the first fault was answered
    commit: Future[bool] | None = None  # of the acceptance; False: another has the attempt


class Sender:
    """Sends attempts. Thread-safe; one `Sending` is in one thread at a time."""

    def __init__(self, cluster: Cluster, flights: Flights, seal: Seal) -> None:
        self._cluster = cluster
        self._flights = flights
        self._seal = seal

    def send(self, sending: Sending) -> Progress:
        """Try once. Raises nothing that concerns the cluster."""
        flight = sending.flight
        try:
            if not self._cluster.confirm():
                return Progress.AGAIN
        except BacalhauError as error:
            self._cluster.failed(error)
            return Progress.AGAIN
        try:
            if sending.doubt:
                job = self._find(flight)
                if job is not None:
                    return self._adopt(sending, job)
            body = self._seal.open(flight.body or b"")
            reach("send.before")
            with metrics.submit_seconds.time():
                result = self._cluster.client.jobs.put_job_bytes(body)
            reach("send.after")
            self._cluster.answered(wrote=True)
            return self._accepted(sending, result.job_id)
        except Unsealable as error:
            # A store restored without its key, and the cluster knows nothing of the job.
            return self._end(sending, str(error), retryable=True)
        except (AlreadyThere, Conflict) as error:
            return self._look_up(sending, error)
        except Refused as error:
            return self._refused(sending, error)
        except BacalhauError as error:
            return self._unclear(sending, error)

    def _find(self, flight: Flight) -> Job | None:
        try:
            return self._cluster.client.jobs.get(
                flight.job_name, namespace=flight.namespace or None
            ).job
        except NotFound:
            return None

    def _look_up(self, sending: Sending, why: BacalhauError) -> Progress:
        """The node says that the name is taken: is the job ours?"""
        sending.doubt = True
        try:
            job = self._find(sending.flight)
        except BacalhauError as error:
            return self._unclear(sending, error)
        if job is None:
            # A race: the other request is not committed yet, or never will be.
            _log.info("name taken but not there", job_name=sending.flight.job_name, error=str(why))
            return self._doubted(sending)
        return self._adopt(sending, job)

    def _adopt(self, sending: Sending, job: Job) -> Progress:
        """Take a job of our name as this attempt's, if it is this attempt's."""
        flight = sending.flight
        expected = {
            names.LABEL_RUN: flight.run_id,
            names.LABEL_ATTEMPT: str(flight.number),
            names.LABEL_SPEC: flight.spec_hash,
        }
        if job.version != 1 or any(job.labels.get(k) != v for k, v in expected.items()):
            return self._end(
                sending,
                f"the cluster has another job of the name {flight.job_name} "
                f"({job.id}, version {job.version}): not adopted",
            )
        self._cluster.answered(wrote=True)
        _log.info("job adopted", job_id=job.id, run=flight.run_id, attempt=flight.number)
        return self._accepted(sending, job.id)

    def _accepted(self, sending: Sending, job_id: str) -> Progress:
        flight = sending.flight
        _log.info(
            "job accepted",
            job_id=job_id,
            run=flight.run_id,
            attempt=flight.number,
            trigger=flight.trigger_name,
        )
        sending.commit = self._flights.accepted(flight, job_id)
        return Progress.ACCEPTED

    def _refused(self, sending: Sending, error: Refused) -> Progress:
        if sending.doubt:
            # What was sent before may have been taken all the same.
            try:
                job = self._find(sending.flight)
            except BacalhauError as second:
                return self._unclear(sending, second)
            if job is not None:
                return self._adopt(sending, job)
        self._cluster.answered(wrote=True)
        return self._end(sending, f"the cluster refuses the job: {error.message}")

    def _unclear(self, sending: Sending, error: BacalhauError) -> Progress:
        """Not sent for certain, or sent without an answer: never an attempt used up."""
        if concerns_cluster(error):
            self._cluster.failed(error)
        elif isinstance(error, ServerFault):
            if not sending.faults:
                sending.successes_before = self._cluster.successes
            sending.faults += 1
            others_succeed = self._cluster.successes > sending.successes_before
            if sending.faults >= FAULTS_AT_MOST and others_succeed:
                return self._give_up(sending, error)
        else:
            self._cluster.failed(error)
        sending.doubt |= error.maybe_sent
        return self._doubted(sending) if sending.doubt else Progress.AGAIN

    def _give_up(self, sending: Sending, error: ServerFault) -> Progress:
        try:
            job = self._find(sending.flight)
        except BacalhauError:
            return Progress.AGAIN
        if job is not None:
            return self._adopt(sending, job)
        return self._end(
            sending,
            f"the cluster failed {sending.faults} times on this job while others went well: "
            f"{error.message}",
        )

    def _doubted(self, sending: Sending) -> Progress:
        """Write it down where it is news."""
        flight = sending.flight
        if not flight.doubt or flight.faults != sending.faults:
            if not self._flights.doubted(flight, faults=sending.faults).result():
                return Progress.LOST
            sending.flight = replace(flight, doubt=True, faults=sending.faults)
        return Progress.AGAIN

    def _end(self, sending: Sending, reason: str, *, retryable: bool = False) -> Progress:
        """This attempt can not be sent; unless another may do better, the run is dead. Loudly."""
        flight = sending.flight
        _log.error("attempt refused", run=flight.run_id, attempt=flight.number, reason=reason)
        ending = Ending(state=AttemptState.FAILED, reason=reason, retryable=retryable)
        return self._ended(flight, ending)

    def never_sent(self, sending: Sending, reason: str) -> Progress:
        """End an attempt of which the cluster certainly knows nothing."""
        ending = Ending(state=AttemptState.STOPPED, reason=reason, counted=False)
        return self._ended(sending.flight, ending)

    def _ended(self, flight: Flight, ending: Ending) -> Progress:
        return Progress.DONE if self._flights.ended(flight, ending).result() else Progress.LOST
