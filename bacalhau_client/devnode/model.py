"""Jobs and executions as the scheduler holds them, and as the API shows them."""

from __future__ import annotations

import json
import random
import string
import time
import uuid
from dataclasses import dataclass, field

from .states import PENDING, TERMINAL_COMPUTE_STATES, TERMINAL_JOB_STATES, Compute, Desired, Json

_random = random.Random()  # noqa: S311 - ids, not secrets

_EMPTY_OUTPUT = (
    '{"Stdout":"","StdoutTruncated":false,"stderr":"","StderrTruncated":false,'
    '"ExitCode":0,"ErrorMsg":""}'
)


def dumps(value: object) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def now_ns() -> int:
    """Nanoseconds since the epoch, as the API's times are."""
    return time.time_ns()


def new_id(prefix: str = "") -> str:
    """A random id: `j-…` for jobs, `e-…` for executions, `n-…` for nodes."""
    # Not secret, so the operating system need not be asked for every one.
    return f"{prefix}{uuid.UUID(int=_random.getrandbits(128), version=4)}"


def new_request_id() -> str:
    """A random `X-Request-Id`."""
    return "".join(_random.choices(string.ascii_letters, k=32))


def timestamp(ns: int) -> str:
    """RFC 3339 in UTC with nine digits, as in history events."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


@dataclass(kw_only=True, slots=True)
class Execution:
    """One try to run a job (or one of its partitions) on one compute node."""

    id: str
    job_id: str
    job_version: int
    eval_id: str
    node_id: str
    namespace: str
    partition: int
    snapshot: str  # the job's state when this was created, as a piece of JSON
    compute: Compute = Compute.NEW
    compute_message: str = ""
    desired: Desired = Desired.PENDING
    desired_message: str = ""
    output: str = _EMPTY_OUTPUT
    published: str = '{"Type":""}'
    revision: int = 1
    create_time: int = field(default_factory=now_ns)
    modify_time: int = field(default_factory=now_ns)

    @property
    def terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self.compute in TERMINAL_COMPUTE_STATES

    def move(self, compute: Compute, message: str, desired: Desired, desired_message: str) -> None:
        """Takes new states; every change counts as one revision."""
        self.compute, self.compute_message = compute, message
        self.desired, self.desired_message = desired, desired_message
        self.revision += 1
        self.modify_time = now_ns()

    def render(self, job_body: str | None) -> str:
        """The API's JSON; `job_body` is the rendered spec of this version, None to omit it."""
        partition = f'"PartitionIndex":{self.partition},' if self.partition else ""
        job = "" if job_body is None else f'"Job":{{{job_body},{self.snapshot}}},'
        return (
            f'{{"ID":"{self.id}","Namespace":{dumps(self.namespace)},"EvalID":"{self.eval_id}",'
            f'"Name":"","NodeID":"{self.node_id}","JobID":"{self.job_id}",{job}'
            f'"JobVersion":{self.job_version},"AllocatedResources":{{"Tasks":{{}}}},'
            f'"DesiredState":{_state(self.desired, self.desired_message)},'
            f'"ComputeState":{_state(self.compute, self.compute_message)},'
            f'"PublishedResult":{self.published},"RunOutput":{self.output},'
            f'"PreviousExecution":"","NextExecution":"","FollowupEvalID":"",{partition}'
            f'"Revision":{self.revision},"CreateTime":{self.create_time},'
            f'"ModifyTime":{self.modify_time}}}'
        )


def _state(state: int, message: str) -> str:
    return (
        f'{{"StateType":{int(state)},"Message":{dumps(message)}}}'
        if message
        else (f'{{"StateType":{int(state)}}}')
    )


@dataclass(kw_only=True, slots=True)
class Job:
    """The latest version of a job, without its spec: that is loaded when it is needed."""

    id: str
    name: str
    namespace: str
    digest: str
    labels: dict[str, str]
    size: int  # bytes of the rendered spec
    state: str = PENDING
    message: str = ""
    version: int = 1
    revision: int = 1
    history: int = 0  # events so far
    create_time: int = field(default_factory=now_ns)
    modify_time: int = field(default_factory=now_ns)

    @property
    def terminal(self) -> bool:
        """Whether this version has ended."""
        return self.state in TERMINAL_JOB_STATES

    def move(self, state: str, message: str = "") -> None:
        """Takes a new state; every change counts as one revision."""
        self.state, self.message = state, message
        self.revision += 1
        self.modify_time = now_ns()

    def render_state(self) -> str:
        """The part of the API's JSON that changes; it follows the spec."""
        state: Json = {"StateType": self.state}
        if self.message:
            state["Message"] = self.message
        return (
            f'"State":{dumps(state)},"Version":{self.version},"Revision":{self.revision},'
            f'"CreateTime":{self.create_time},"ModifyTime":{self.modify_time}'
        )

    def render(self, body: str) -> str:
        """The API's JSON from the rendered spec of this version."""
        return f"{{{body},{self.render_state()}}}"


def render_body(job_id: str, spec: Json) -> str:
    """The part of a job's JSON that never changes, without the braces."""
    return dumps({"ID": job_id, **spec})[1:-1]


def render_event(job_id: str, sequence: int, version: int, event: Json, execution_id: str) -> str:
    """One entry of a job's history."""
    at = timestamp(now_ns())
    entry: Json = {
        "SeqNum": sequence,
        "Type": "ExecutionLevel" if execution_id else "JobLevel",
        "JobID": job_id,
        "JobVersion": version,
    }
    if execution_id:
        entry["ExecutionID"] = execution_id
    details = {"Details": event["Details"]} if "Details" in event else {}
    entry["Event"] = {
        "Message": event["Message"],
        "Topic": event["Topic"],
        "Timestamp": at,
        **details,
    }
    entry["Time"] = at
    return dumps(entry)
