"""The states of runs and attempts, and which of them are ends."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class RunState(StrEnum):
    """Where a firing stands in the ledger."""

    PENDING = "pending"  # waits: for its turn, for a time (`not_before`), or for the dispatcher
    SUBMITTING = "submitting"  # an attempt's bytes are stored; the cluster may or may not have it
    RUNNING = "running"  # the cluster has accepted the attempt's job
    SUCCEEDED = "succeeded"  # an attempt succeeded
    DEAD = "dead"  # given up; kept, shown, redriven by command
    SKIPPED = "skipped"  # never to run; the reason says why (missed, overlap, split, …)
    CANCELLED = "cancelled"  # ended by a person or by `overlap: replace`


OPEN = frozenset({RunState.PENDING, RunState.SUBMITTING, RunState.RUNNING})
IN_FLIGHT = frozenset({RunState.SUBMITTING, RunState.RUNNING})
ENDED = frozenset(RunState) - OPEN


class JobStatus(StrEnum):
    """A run as a program sees it that only wants its job done."""

    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


STATES_OF: Mapping[JobStatus, frozenset[RunState]] = {
    JobStatus.QUEUED: frozenset({RunState.PENDING}),
    JobStatus.RUNNING: IN_FLIGHT,
    JobStatus.SUCCEEDED: frozenset({RunState.SUCCEEDED}),
    JobStatus.FAILED: frozenset({RunState.DEAD, RunState.SKIPPED}),
    JobStatus.CANCELLED: frozenset({RunState.CANCELLED}),
}


class Queue(StrEnum):
    """Where a pending run waits. Anything else has no queue."""

    LINE = "line"  # behind other runs of its partition
    DELAYED = "delayed"  # until `not_before`
    FUTURE = "future"  # until it is due: then it goes in line
    READY = "ready"  # for the dispatcher


class AttemptState(StrEnum):
    """One Bacalhau job's life as the orchestrator knows it."""

    SENDING = "sending"  # its bytes are stored; no clear answer yet
    ACCEPTED = "accepted"  # the cluster has the job
    RUNNING = "running"  # the job was seen running
    SUCCEEDED = "succeeded"  # every partition exited 0
    FAILED = "failed"  # it ended otherwise, or was refused, or lost
    STOPPED = "stopped"  # we stopped it: cancel, deadline, replace


ATTEMPT_LIVE = frozenset({AttemptState.SENDING, AttemptState.ACCEPTED, AttemptState.RUNNING})


class Origin(StrEnum):
    """What asked for a run."""

    SOURCE = "source"  # its connector: a due time, a batch
    MANUAL = "manual"  # `triggers fire`
    BACKFILL = "backfill"  # `triggers backfill`
    JOB = "job"  # a program, over HTTP
    SERVICE = "service"  # a copy of a service that should always run
    RESTORED = "restored"  # found on the cluster after a restore


class TriggerState(StrEnum):
    """Whether a trigger makes new firings."""

    ACTIVE = "active"  # makes firings
    PAUSED = "paused"  # makes none until it is resumed; runs that exist go on
    DELETING = "deleting"  # makes no firings; goes when its last open run has ended
    DELETED = "deleted"  # kept for its ledger; the name is free again
