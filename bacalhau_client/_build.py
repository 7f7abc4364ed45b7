"""From the node's JSON to the values of ``_models`` and ``_nodes``.

Every function takes one JSON object and raises ShapeError where it is not of the API's shape.
"""

from collections.abc import Callable
from typing import TypeVar

from bacalhau_client._models import (
    ComputeState,
    DesiredState,
    Execution,
    HistoryEvent,
    Job,
    JobInfo,
    JobState,
    JobStateType,
    Page,
    RunOutput,
    SpecConfig,
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
from bacalhau_client._parse import Fields, ShapeError

T = TypeVar("T")

_JOB_STATES = {member.value: member for member in JobStateType}


def build_spec_config(f: Fields) -> SpecConfig:
    return SpecConfig(type=f.text("Type"), params=f.mapping("Params"))


def build_task(f: Fields) -> Task:
    timeouts = f.child("Timeouts")
    return Task(
        name=f.text("Name"),
        engine=build_spec_config(f.child("Engine")),
        publisher=build_spec_config(f.child("Publisher")),
        env=f.texts("Env"),
        execution_timeout=timeouts.integer("ExecutionTimeout"),
        queue_timeout=timeouts.integer("QueueTimeout"),
        total_timeout=timeouts.integer("TotalTimeout"),
        raw=f.raw,
    )


def build_job(f: Fields) -> Job:
    state = f.child("State")
    word = state.needed("StateType")
    return Job(
        id=f.needed("ID"),
        name=f.text("Name"),
        namespace=f.text("Namespace"),
        type=f.text("Type"),
        priority=f.integer("Priority"),
        count=f.integer("Count"),
        meta=f.texts("Meta"),
        labels=f.texts("Labels"),
        tasks=f.each("Tasks", build_task),
        state=JobState(
            type=_JOB_STATES.get(word, JobStateType.UNKNOWN),
            name=word,
            message=state.text("Message"),
            details=state.texts("Details"),
        ),
        version=f.integer("Version"),
        revision=f.integer("Revision"),
        create_time=f.integer("CreateTime"),
        modify_time=f.integer("ModifyTime"),
        raw=f.raw,
    )


def build_execution(f: Fields) -> Execution:
    compute = f.child("ComputeState")
    desired = f.child("DesiredState")
    output = f.optional("RunOutput")
    return Execution(
        id=f.needed("ID"),
        namespace=f.text("Namespace"),
        name=f.text("Name"),
        eval_id=f.text("EvalID"),
        node_id=f.text("NodeID"),
        job_id=f.text("JobID"),
        job_version=f.integer("JobVersion"),
        partition_index=f.integer("PartitionIndex"),
        compute_state=ComputeState(compute.integer("StateType")),
        compute_message=compute.text("Message"),
        compute_details=compute.texts("Details"),
        desired_state=DesiredState(desired.integer("StateType")),
        desired_message=desired.text("Message"),
        run_output=None if output is None else build_run_output(output),
        published_result=build_spec_config(f.child("PublishedResult")),
        previous_execution=f.text("PreviousExecution"),
        next_execution=f.text("NextExecution"),
        revision=f.integer("Revision"),
        create_time=f.integer("CreateTime"),
        modify_time=f.integer("ModifyTime"),
    )


def build_run_output(f: Fields) -> RunOutput:
    return RunOutput(
        stdout=f.text("Stdout"),
        stdout_truncated=f.flag("StdoutTruncated"),
        stderr=f.text("stderr"),
        stderr_truncated=f.flag("StderrTruncated"),
        exit_code=f.integer("ExitCode"),
        error_message=f.text("ErrorMsg"),
    )


def build_history_event(f: Fields) -> HistoryEvent:
    event = f.child("Event")
    return HistoryEvent(
        sequence=f.integer("SeqNum"),
        type=f.text("Type"),
        job_id=f.text("JobID"),
        job_version=f.integer("JobVersion"),
        execution_id=f.text("ExecutionID"),
        topic=event.text("Topic"),
        message=event.text("Message"),
        details=event.texts("Details"),
        time=f.time("Time") or event.time("Timestamp"),
    )


def build_job_info(f: Fields) -> JobInfo:
    job = f.optional("Job")
    if job is None:
        raise ShapeError(f"{f.where}.Job: missing")
    executions = f.optional("Executions")
    history = f.optional("History")
    return JobInfo(
        job=build_job(job),
        executions=None if executions is None else build_page(executions, build_execution),
        history=None if history is None else build_page(history, build_history_event),
    )


def build_page(f: Fields, build: Callable[[Fields], T], key: str = "Items") -> Page[T]:
    """A page; an answer without the list's key is no page."""
    if key not in f.raw:
        raise ShapeError(f"{f.where}.{key}: missing")
    return Page(items=f.each(key, build), next_token=f.text("NextToken"))


def build_version(f: Fields) -> Version:
    return Version(
        git_version=f.text("GitVersion"),
        git_commit=f.text("GitCommit"),
        major=f.text("Major"),
        minor=f.text("Minor"),
        build_date=f.text("BuildDate"),
        os=f.text("GOOS"),
        architecture=f.text("GOARCH"),
    )


def build_capacity(f: Fields) -> Capacity:
    return Capacity(
        cpu=f.number("CPU"),
        memory=f.integer("Memory"),
        disk=f.integer("Disk"),
        gpu=f.integer("GPU"),
    )


def build_compute_info(f: Fields) -> ComputeInfo:
    return ComputeInfo(
        engines=f.words("ExecutionEngines"),
        publishers=f.words("Publishers"),
        storage_sources=f.words("StorageSources"),
        max_capacity=build_capacity(f.child("MaxCapacity")),
        available_capacity=build_capacity(f.child("AvailableCapacity")),
        queue_capacity=build_capacity(f.child("QueueCapacity")),
        max_job_requirements=build_capacity(f.child("MaxJobRequirements")),
        running_executions=f.integer("RunningExecutions"),
        enqueued_executions=f.integer("EnqueuedExecutions"),
    )


def build_node_info(f: Fields) -> NodeInfo:
    compute = f.optional("ComputeNodeInfo")
    version = f.optional("BacalhauVersion")
    return NodeInfo(
        id=f.needed("NodeID"),
        type=f.text("NodeType"),
        labels=f.texts("Labels"),
        protocols=f.words("SupportedProtocols"),
        compute=None if compute is None else build_compute_info(compute),
        version=None if version is None else build_version(version),
    )


def build_node(f: Fields) -> Node:
    state = f.child("ConnectionState")
    return Node(
        info=build_node_info(f.child("Info")),
        membership=f.text("Membership"),
        connection=NodeConnection(
            status=state.text("Status") or f.text("Connection"),
            last_heartbeat=state.time("LastHeartbeat"),
            connected_since=state.time("ConnectedSince"),
            disconnected_since=state.time("DisconnectedSince"),
            last_error=state.text("LastError"),
        ),
        raw=f.raw,
    )
