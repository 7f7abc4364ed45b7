"""Judge a Bacalhau job: does it still run, has it succeeded, why has it failed.

The job's own state is not the answer: a task that exits 3 leaves its job `Completed`
(FACTS: only the executions' `RunOutput.ExitCode` tells).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

COMPUTE_COMPLETED = 9
EXIT_LOST = 64
"""With this a task says that the events it was to read are gone from their source."""
LOST = "lost range"  # how the reason of such a run begins
_TERMINAL = frozenset({"Completed", "Failed", "Stopped"})
# ComputeState values of an execution that a node took on (recordings: 5 while it runs, then 9, 10
# or 11); the others are bids.
_STARTED = frozenset({5, 6, 7, COMPUTE_COMPLETED, 10, 11})
_NO_NODES = re.compile(r"not enough nodes to run job\. requested: \d+, available: 0\b")
_TIMED_OUT = re.compile(r"execution timed out after ([0-9.hmsµu]+)", re.IGNORECASE)
_UNIT = re.compile(r"(?<=\d)(?=[a-zµ])")
NODE_GONE = "node has disappeared"


class Verdict(Enum):
    """What an observation of a job means for its attempt."""

    WAITING = "waiting"  # not started
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, kw_only=True)
class ExecutionView:
    """The part of an execution that matters here. Times in microseconds."""

    id: str
    node_id: str = ""
    partition: int = 0
    compute_state: int = 0
    message: str = ""
    exit_code: int | None = None  # None: the execution has no RunOutput
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    created_at: int = 0


@dataclass(frozen=True, kw_only=True)
class JobView:
    """The part of a job that matters here."""

    state: str
    message: str = ""
    count: int = 1
    wasm: bool = False
    executions: Sequence[ExecutionView] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A verdict with everything that a person wants to know about it."""

    verdict: Verdict
    reason: str = ""
    exit_code: int | None = None
    node_id: str = ""
    stdout: str = ""
    stderr: str = ""
    counts: bool = True  # False: the cluster was busy or empty, no attempt is used up
    node_lost: bool = False  # the task may still run on a node that is cut off
    execution_started: int = 0


def _last_by_partition(executions: Sequence[ExecutionView]) -> dict[int, ExecutionView]:
    last: dict[int, ExecutionView] = {}
    for execution in sorted(executions, key=lambda e: e.created_at):
        last[execution.partition] = execution
    return last


def _human(message: str) -> str:
    """Bring the node's words into the form that the ledger shows."""
    message = message.strip()
    timed_out = _TIMED_OUT.search(message)
    if timed_out:
        return f"execution timed out after {_UNIT.sub(' ', timed_out[1])}"
    return message


def _failure(job: JobView) -> tuple[str, ExecutionView | None]:
    """The reason and the execution that shows it; executions speak before the job."""
    newest = sorted(job.executions, key=lambda e: e.created_at, reverse=True)
    for execution in newest:
        if execution.compute_state in (10, 4) and execution.message:
            return _human(execution.message), execution
        if execution.exit_code is not None and execution.error:
            return _human(execution.error), execution
    for execution in newest:
        if execution.compute_state not in (COMPUTE_COMPLETED, 11) and execution.message:
            return _human(execution.message), execution
    return _human(job.message) or f"the job ended as {job.state}", newest[0] if newest else None


def _judge_completed(job: JobView) -> Outcome:
    last = _last_by_partition(job.executions)
    accepted = {0, -1} if job.wasm else {0}
    shown: ExecutionView | None = None
    for index in range(job.count):
        execution = last.get(index)
        where = f" (partition {index} of {job.count})" if job.count > 1 else ""
        if execution is None:
            return Outcome(
                verdict=Verdict.FAILED,
                reason=f"the node keeps no execution{where}",
            )
        if execution.compute_state != COMPUTE_COMPLETED or execution.exit_code is None:
            reason = _human(execution.message) or "the execution did not complete"
            if execution.compute_state == COMPUTE_COMPLETED:
                reason = "the execution has no output record"
            return _of(execution, Verdict.FAILED, reason + where)
        if execution.exit_code not in accepted:
            text = f"exit {execution.exit_code}{where}"
            if execution.error:
                text += f": {execution.error}"
            return _of(execution, Verdict.FAILED, text)
        shown = shown or execution
    if shown is None:
        return Outcome(verdict=Verdict.FAILED, reason="the job has no executions")
    return _of(shown, Verdict.SUCCEEDED, "")


def _of(execution: ExecutionView, verdict: Verdict, reason: str) -> Outcome:
    return Outcome(
        verdict=verdict,
        reason=reason,
        exit_code=execution.exit_code if execution.compute_state == COMPUTE_COMPLETED else None,
        node_id=execution.node_id,
        stdout=execution.stdout,
        stderr=execution.stderr,
    )


def judge(job: JobView) -> Outcome:
    """Judge a job as the API shows it.

    `Completed` succeeds only if for every partition index the last execution is in ComputeState 9
    and has exit code 0 (or -1 with the WASM engine); a missing RunOutput is a failure.
    """
    started = [e for e in job.executions if e.compute_state in _STARTED]
    if job.state not in _TERMINAL:
        live = max(started, key=lambda e: e.created_at, default=None)
        running = live is not None or job.state == "Running"
        return Outcome(
            verdict=Verdict.RUNNING if running else Verdict.WAITING,
            reason="" if running else _human(job.message),
            node_id=live.node_id if live else "",
            execution_started=live.created_at if live else 0,
        )
    node_lost = any(NODE_GONE in e.message for e in job.executions)
    began = max((e.created_at for e in started), default=0)
    if job.state == "Completed":
        return replace(_judge_completed(job), node_lost=node_lost, execution_started=began)
    reason, execution = _failure(job)
    waited = job.message.startswith("Job timed out") and not started
    if waited:
        reason = f"waited in the cluster's queue and never ran: {job.message}"
    return Outcome(
        verdict=Verdict.STOPPED if job.state == "Stopped" else Verdict.FAILED,
        reason=reason,
        counts=not waited and not _NO_NODES.match(job.message),
        node_id=execution.node_id if execution else "",
        stdout=execution.stdout if execution else "",
        stderr=execution.stderr if execution else "",
        node_lost=node_lost,
        execution_started=began,
    )
