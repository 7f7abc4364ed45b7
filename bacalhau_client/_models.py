"""Jobs, executions and their history as values.

Field names are the API's in Python's spelling. ``*_time`` are integers, nanoseconds since the
epoch, 0 where the node gives none; the ``*_at`` properties give the same in UTC, cut to
microseconds, or None. Unknown keys are ignored, missing and null ones take the empty value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Generic, TypeVar

from bacalhau_client._parse import as_datetime

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Part of a list. ``next_token`` is empty on the last page."""

    items: Sequence[T]
    next_token: str = ""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class JobStateType(StrEnum):
    """State of a job. ``Completed`` tells nothing about exit codes: those are in the executions."""

    UNDEFINED = "Undefined"  # never set by a node
    PENDING = "Pending"  # taken, not scheduled yet
    QUEUED = "Queued"  # no node has room or suits at the moment
    RUNNING = "Running"  # at least one execution was accepted by a node
    COMPLETED = "Completed"  # every execution ended, with whatever exit code
    FAILED = "Failed"  # the node gave up
    STOPPED = "Stopped"  # somebody stopped it
    UNKNOWN = "Unknown"  # a word that this client does not know; see JobState.name

    @property
    def is_terminal(self) -> bool:
        """True once the job does not change any more, save by a new version."""
        return self in _TERMINAL


_TERMINAL = frozenset({JobStateType.COMPLETED, JobStateType.FAILED, JobStateType.STOPPED})


def _tolerant(cls: type[IntEnum], value: object) -> Any:
    """A member for an integer that the API did not have when this was written."""
    if not isinstance(value, int):
        return None
    member = int.__new__(cls, value)
    member._name_ = f"UNKNOWN_{value}"
    member._value_ = value
    return member


class ComputeState(IntEnum):
    """State of an execution on its compute node. Unknown integers become ``UNKNOWN_<n>``."""

    UNDEFINED = 0
    NEW = 1
    ASK_FOR_BID = 2
    ASK_FOR_BID_ACCEPTED = 3
    ASK_FOR_BID_REJECTED = 4
    BID_ACCEPTED = 5  # what a running task shows
    RUNNING = 6
    PUBLISHING = 7
    BID_REJECTED = 8
    COMPLETED = 9  # the task ended by itself; its exit code is in the run output
    FAILED = 10
    CANCELLED = 11  # stop requested; the task itself goes about a second later

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return _tolerant(cls, value)

    @property
    def is_terminal(self) -> bool:
        """True once the execution does not change any more."""
        return self in _ENDED


_ENDED = frozenset(
    {
        ComputeState.ASK_FOR_BID_REJECTED,
        ComputeState.BID_REJECTED,
        ComputeState.COMPLETED,
        ComputeState.FAILED,
        ComputeState.CANCELLED,
    }
)


class DesiredState(IntEnum):
    """What the orchestrator wants of an execution. Unknown integers become ``UNKNOWN_<n>``."""

    PENDING = 0
    RUNNING = 1
    STOPPED = 2

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return _tolerant(cls, value)


@dataclass(frozen=True, kw_only=True)
class JobState:
    """``type`` with the node's own word in ``name`` and its message, which may be empty."""

    type: JobStateType
    name: str
    message: str
    details: Mapping[str, str]

    @property
    def is_terminal(self) -> bool:
        return self.type.is_terminal


@dataclass(frozen=True, kw_only=True)
class SpecConfig:
    """A typed part of a spec (engine, publisher, result): its type and its parameters."""

    type: str
    params: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What callers need of a task; the whole of it is ``raw``. Timeouts are in seconds."""

    name: str
    engine: SpecConfig
    publisher: SpecConfig
    env: Mapping[str, str]
    execution_timeout: int
    queue_timeout: int
    total_timeout: int
    raw: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One version of a job as the node stores it; ``raw`` is the node's JSON."""

    id: str
    name: str
    namespace: str
    type: str
    priority: int
    count: int
    meta: Mapping[str, str]
    labels: Mapping[str, str]
    tasks: tuple[Task, ...]
    state: JobState
    version: int
    revision: int
    create_time: int
    modify_time: int
    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def orchestrator_id(self) -> str:
        """The cluster that owns the job (``bacalhau.org/orchestrator.id``), or empty."""
        return self.meta.get("bacalhau.org/orchestrator.id", "")

    @property
    def created_at(self) -> datetime | None:
        return as_datetime(self.create_time)

    @property
    def modified_at(self) -> datetime | None:
        return as_datetime(self.modify_time)


@dataclass(frozen=True, kw_only=True)
class RunOutput:
    """How a task ended. ``stdout`` and ``stderr`` are its first 2,048 bytes.

    ``exit_code`` is -1 for a WASM task that returned, and 0, meaning nothing, for executions
    that were rejected, failed or stopped.
    """

    stdout: str
    stdout_truncated: bool
    stderr: str
    stderr_truncated: bool
    exit_code: int
    error_message: str


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One try of one partition of one job version on one node."""

    id: str
    namespace: str
    name: str
    eval_id: str
    node_id: str
    job_id: str
    job_version: int
    partition_index: int
    compute_state: ComputeState
    compute_message: str
    compute_details: Mapping[str, str]
    desired_state: DesiredState
    desired_message: str
    run_output: RunOutput | None
    published_result: SpecConfig
    previous_execution: str
    next_execution: str
    revision: int
    create_time: int
    modify_time: int

    @property
    def created_at(self) -> datetime | None:
        return as_datetime(self.create_time)

    @property
    def modified_at(self) -> datetime | None:
        return as_datetime(self.modify_time)


@dataclass(frozen=True, kw_only=True)
class HistoryEvent:
    """One line of a job's history. ``type`` is ``JobLevel`` or ``ExecutionLevel``."""

    sequence: int
    type: str
    job_id: str
    job_version: int
    execution_id: str
    topic: str
    message: str
    details: Mapping[str, str]
    time: int

    @property
    def happened_at(self) -> datetime | None:
        return as_datetime(self.time)


@dataclass(frozen=True, kw_only=True)
class JobInfo:
    """A job with what was asked for; ``executions`` and ``history`` are None if not included.

    They hold every version's, oldest first, and the node may give them in pages: a next token
    that is not empty says that there are more.
    """

    job: Job
    executions: Page[Execution] | None
    history: Page[HistoryEvent] | None


@dataclass(frozen=True, kw_only=True)
class PutResult:
    """A job that was taken. ``warnings`` are the node's, for people."""

    job_id: str
    evaluation_id: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RerunResult:
    """The version that a rerun started."""

    job_id: str
    job_version: int
    evaluation_id: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DiffResult:
    """What submitting would change, as text for people; empty where nothing would."""

    diff: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StopResult:
    """The evaluation that carries out a stop."""

    evaluation_id: str
