"""The shapes of answers, for the OpenAPI document. Answers themselves are written by `views`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from orchestrator.domain.states import AttemptState, JobStatus, Origin, Queue, RunState


class ErrorModel(BaseModel):
    """One thing that is wrong with a request."""

    path: str = Field(description="Where; empty for the whole body")
    message: str
    remedy: str = Field(description="What to send instead")
    line: int | None = Field(default=None, description="In a trigger file, from 1")
    column: int | None = None


class ProblemModel(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ErrorModel] | None = None


class AttemptModel(BaseModel):
    """One Bacalhau job that tries to do a run."""

    number: int
    job_name: str
    job_id: str | None
    namespace: str
    state: AttemptState
    exit_code: int | None
    reason: str
    node_id: str
    counted: bool = Field(description="Whether it used up one of the run's attempts")
    created_at: datetime
    submitted_at: datetime | None
    running_at: datetime | None
    ended_at: datetime | None
    stdout: str = Field(description="The first 2 kB, as the node keeps them")
    stderr: str


class RangeModel(BaseModel):
    """A half-open range of positions in a partition."""

    start: str
    end: str | None = Field(description="null: nobody knows yet")


class RunModel(BaseModel):
    """One firing in the ledger."""

    id: str
    trigger: str
    trigger_uid: str
    key: str = Field(description="What the run is for; the same for ever")
    state: RunState
    reason: str
    priority: int
    origin: Origin
    version: int = Field(description="Of the trigger")
    partition: str
    range: RangeModel | None = Field(description="null: outside of the partition's order")
    queue: Queue | None = Field(description="Where a pending run waits")
    created_at: datetime
    due_at: datetime
    not_before: datetime | None = Field(description="When a pending run may start")
    started_at: datetime | None
    ended_at: datetime | None
    tries: int = Field(description="Attempts that count")
    cancel: str | None = Field(description="Why it is to end, once somebody asked")
    discarded: bool = Field(description="Dead, and let go of: by a person, or back at its source")
    released: bool = Field(description="Dead, and holding nothing up in its partition")
    kept: dict[str, Any] | None = Field(description="What the source says of a dead run")
    values: dict[str, Any]
    attempts: list[AttemptModel]


class RunPageModel(BaseModel):
    """A page of runs."""

    items: list[RunModel]
    next: str | None = Field(description="The cursor of the following page")


class TriggerModel(BaseModel):
    """A trigger as lists show it."""

    name: str
    uid: str
    kind: str
    state: str
    note: str
    version: int
    created_at: datetime
    updated_at: datetime
    next_at: datetime | None


class TriggerPageModel(BaseModel):
    """A page of triggers."""

    items: list[TriggerModel]
    next: str | None


class JobResultModel(BaseModel):
    """What the last attempt of a job left."""

    exit_code: int | None
    stdout: str = Field(description="The first 2 kB, as the node keeps them")
    stderr: str


class JobModel(BaseModel):
    """A job that somebody has asked for."""

    id: str = Field(description="Of its run, too: /api/v1/runs/{id} tells more")
    status: JobStatus
    reason: str
    template: str | None = Field(description="null: it came whole")
    parameters: dict[str, Any] = Field(description="Defaults filled in; secret ones masked")
    input: Any = None
    priority: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    result: JobResultModel | None
    callback_host: str | None


class JobPageModel(BaseModel):
    """A page of jobs."""

    items: list[JobModel]
    next: str | None


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "A problem",
        "content": {"application/problem+json": {"schema": ProblemModel.model_json_schema()}},
    }
    # 422 by itself, or the framework would describe it as its own.
    for status in (422, "default")
}
RUN: dict[int | str, dict[str, Any]] = {200: {"model": RunModel}}
RUNS: dict[int | str, dict[str, Any]] = {200: {"model": RunPageModel}}
TRIGGERS: dict[int | str, dict[str, Any]] = {200: {"model": TriggerPageModel}}
JOB: dict[int | str, dict[str, Any]] = {200: {"model": JobModel}}
JOB_TAKEN: dict[int | str, dict[str, Any]] = {202: {"model": JobModel}}
JOBS: dict[int | str, dict[str, Any]] = {200: {"model": JobPageModel}}
