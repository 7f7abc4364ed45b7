"""States, messages and history events, in the words of a real node.

The integers are `models.ExecutionStateType` and `models.ExecutionDesiredStateType` of the
node's own API description.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, cast

Json = dict[str, Any]

PENDING = "Pending"
QUEUED = "Queued"
RUNNING = "Running"
COMPLETED = "Completed"
FAILED = "Failed"
STOPPED = "Stopped"
TERMINAL_JOB_STATES = frozenset({COMPLETED, FAILED, STOPPED})


class Compute(IntEnum):
    """What the compute node says of an execution."""

    NEW = 1  # not yet answered for by the compute node
    BID_REJECTED = 4  # the compute node will not run it
    RUNNING = 5  # accepted: running, or waiting in the compute node's own queue
    COMPLETED = 9  # the task ended by itself, with whatever exit code
    FAILED = 10  # it could not be prepared, trapped, timed out or was lost
    CANCELLED = 11  # stopped on request


TERMINAL_COMPUTE_STATES = frozenset(
    {Compute.BID_REJECTED, Compute.COMPLETED, Compute.FAILED, Compute.CANCELLED}
)


class Desired(IntEnum):
    """What the orchestrator wants of an execution."""

    PENDING = 0
    RUNNING = 1
    STOPPED = 2


STOPPED_BY_JOB_STOP = "Execution stop requested because job has been stopped"
STOPPED_BY_LOST_NODE = "Execution stop requested because node has disappeared"
STOPPED_BY_JOB_FAILURE = "Execution stopped due to job failure"
STOPPED_BY_UPDATE = "Execution stopped for job update"
RAN_TWICE = "job already executed on this node more than once"
REJECTED = "job rejected"

SUBMITTED: Json = {"Message": "Job submitted", "Topic": "Submission"}
UPDATED: Json = {"Message": "Job updated", "Topic": "Submission"}
EXECUTION_RUNNING: Json = {"Message": "Running", "Topic": "Execution"}
EXECUTION_COMPLETED: Json = {"Message": "Completed successfully", "Topic": "Execution"}


def short_node_id(node_id: str) -> str:
    """The first part of a node's id, as messages name it: `n-a8b921ad`."""
    return node_id[:10]


def rerun_requested(reason: str) -> Json:
    """The event of a rerun."""
    return {"Message": "Job rerun requested", "Topic": "Submission", "Details": {"Reason": reason}}


def stop_requested(reason: str) -> Json:
    """The event of a stop."""
    return {
        "Message": "Job requested to stop before completion",
        "Topic": "Scheduling",
        "Details": {"Reason": reason},
    }


def state_update(state: str) -> Json:
    """The event of a job that changes its state in the ordinary way."""
    return {"Message": state, "Topic": "State Update", "Details": {"NewState": state}}


def execution_requested(node_id: str) -> Json:
    """The event of an execution that was placed on a node."""
    return {
        "Message": f"Requested execution on {short_node_id(node_id)}",
        "Topic": "Scheduling",
        "Details": {"NodeID": node_id},
    }


def scheduling(message: str) -> Json:
    """The event of a decision by the scheduler that needs no details."""
    return {"Message": message, "Topic": "Scheduling"}


def queued(message: str) -> Json:
    """The event of a job that waits for a node."""
    return {"Message": message, "Topic": "Queueing"}


def not_enough_nodes(message: str, *, requested: int, available: int, suitable: int) -> Json:
    """The event of a job that no node takes; the counts are strings, as a real node sends."""
    return {
        "Message": message,
        "Topic": "Scheduling",
        "Details": {
            "IsError": "true",
            "NodesAvailable": str(available),
            "NodesRequested": str(requested),
            "NodesSuitable": str(suitable),
        },
    }


def job_timed_out(seconds: int) -> Json:
    """The event of a passed TotalTimeout."""
    return {
        "Message": f"Job timed out. Job took longer than {go_duration(seconds)}",
        "Topic": "Job Timeout",
        "Details": {
            "FailsExecution": "true",
            "Hint": "Increase the task timeout or allocate more resources",
            "IsError": "true",
        },
    }


def execution_failed(message: str, topic: str, details: Json | None = None) -> Json:
    """The event of an execution that failed while it was prepared or while it ran."""
    return {"Message": message, "Topic": topic, "Details": {"IsError": "true", **(details or {})}}


def go_duration(seconds: int) -> str:
    """Whole seconds as Go prints a duration: `2s`, `5m0s`, `1h0m0s`."""
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}s"
    return f"{sign}{minutes}m{seconds}s" if minutes else f"{sign}{seconds}s"


def mapping(owner: Json, key: str) -> Json:
    """An object within an object, empty where it is absent or null."""
    return cast("Json", owner.get(key) or {})


def sequence(owner: Json, key: str) -> list[Any]:
    """A list within an object, empty where it is absent or null."""
    return cast("list[Any]", owner.get(key) or [])
