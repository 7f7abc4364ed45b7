"""A typed client of Bacalhau's REST API, usable by itself.

::

    with BacalhauClient("http://127.0.0.1:1234") as client:
        put = client.jobs.put({"Name": "hello", "Type": "batch", "Count": 1, "Tasks": [...]})
        info = client.jobs.get(put.job_id, include=("executions",))

Errors are drawn as a tree in ``_errors``. A local node with the same API is in ``devnode``,
which this package does not import.
"""

from bacalhau_client._auth import BasicAuth, BearerAuth
from bacalhau_client._client import BacalhauClient
from bacalhau_client._cluster import Agent, Nodes
from bacalhau_client._errors import (
    AlreadyThere,
    Ambiguous,
    Answered,
    BacalhauError,
    CannotStop,
    Conflict,
    Forbidden,
    GatewayFault,
    LogsTooLong,
    LogStreamFailed,
    MalformedResponse,
    NotFound,
    Refused,
    ServerFault,
    Throttled,
    Unauthorized,
    Unavailable,
    UnexpectedStatus,
    Unreachable,
)
from bacalhau_client._jobs import Jobs
from bacalhau_client._logs import LogLine
from bacalhau_client._models import (
    ComputeState,
    DesiredState,
    DiffResult,
    Execution,
    HistoryEvent,
    Job,
    JobInfo,
    JobState,
    JobStateType,
    Page,
    PutResult,
    RerunResult,
    RunOutput,
    SpecConfig,
    StopResult,
    Task,
)
from bacalhau_client._nodes import (
    Capacity,
    ComputeInfo,
    Node,
    NodeConnection,
    NodeInfo,
    Version,
)
from bacalhau_client._retry import RetryPolicy

__all__ = [
    "Agent",
    "AlreadyThere",
    "Ambiguous",
    "Answered",
    "BacalhauClient",
    "BacalhauError",
    "BasicAuth",
    "BearerAuth",
    "CannotStop",
    "Capacity",
    "ComputeInfo",
    "ComputeState",
    "Conflict",
    "DesiredState",
    "DiffResult",
    "Execution",
    "Forbidden",
    "GatewayFault",
    "HistoryEvent",
    "Job",
    "JobInfo",
    "JobState",
    "JobStateType",
    "Jobs",
    "LogLine",
    "LogStreamFailed",
    "LogsTooLong",
    "MalformedResponse",
    "Node",
    "NodeConnection",
    "NodeInfo",
    "Nodes",
    "NotFound",
    "Page",
    "PutResult",
    "Refused",
    "RerunResult",
    "RetryPolicy",
    "RunOutput",
    "ServerFault",
    "SpecConfig",
    "StopResult",
    "Task",
    "Throttled",
    "Unauthorized",
    "Unavailable",
    "UnexpectedStatus",
    "Unreachable",
    "Version",
]
