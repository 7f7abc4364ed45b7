"""What the store hands out. Instants in microseconds; frozen, keyword-only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.domain.states import AttemptState, Origin, Queue, RunState, TriggerState


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A registered source."""

    uid: str
    name: str
    kind: str
    state: TriggerState
    note: str
    version: int
    definition: str  # hash
    created_at: int
    updated_at: int


@dataclass(frozen=True, kw_only=True)
class DuePartition:
    """A partition whose wake time has come, with what is needed to plan it."""

    trigger_uid: str
    trigger_name: str
    kind: str
    version: int
    definition: str
    name: str
    planned: str
    ordinal: int
    epoch: int
    wake_at: int | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One row of the ledger."""

    id: str
    trigger_uid: str
    trigger_name: str
    key: str
    version: int
    definition: str
    origin: Origin
    partition: str
    ordinal: int | None
    range_start: str | None
    range_end: str | None
    state: RunState
    queue: Queue | None
    reason: str
    priority: int
    due_at: int
    created_at: int
    not_before: int
    started_at: int | None
    ended_at: int | None
    attempts: int
    tries: int
    fence: int
    cancel: str | None
    released: bool
    discarded: bool
    data: Mapping[str, Any]
    payload: str | None  # JSON: input sources that are the run's own
    life_us: int | None
    kept: str | None  # JSON: what its source has said of a dead run


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One Bacalhau job that tries to do a run."""

    run_id: str
    number: int
    job_name: str
    job_id: str | None
    namespace: str
    state: AttemptState
    reason: str
    spec_hash: str
    doubt: bool
    faults: int
    exit_code: int | None
    node_id: str
    stdout: str
    stderr: str
    failed: str
    execution_us: int
    total_us: int
    grace_us: int
    created_at: int
    submitted_at: int | None
    running_at: int | None
    ended_at: int | None
    deadline_at: int | None
    stop_reason: str | None
    stopped_at: int | None
    hold_until: int
    counted: bool
    retryable: bool
    settled: bool


@dataclass(frozen=True, kw_only=True)
class Flight:
    """An attempt under way, with what is needed to drive it."""

    run_id: str
    number: int
    fence: int
    trigger_uid: str
    trigger_name: str
    job_name: str
    job_id: str | None
    namespace: str
    state: AttemptState
    body: bytes | None  # sealed
    doubt: bool
    faults: int
    execution_us: int
    total_us: int
    grace_us: int
    lease_us: int | None
    created_at: int
    submitted_at: int | None
    running_at: int | None
    deadline_at: int | None
    stop_reason: str | None
    stopped_at: int | None
    hold_until: int
    cancel: str | None
    spec_hash: str
