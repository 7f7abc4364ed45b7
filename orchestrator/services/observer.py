"""What the client shows of a job becomes what the domain judges."""

from __future__ import annotations

from bacalhau_client import JobInfo
from orchestrator.domain.outcome import ExecutionView, JobView

_NS_PER_US = 1000


def view(info: JobInfo) -> JobView:
    """The part of a job that decides about its attempt; only its own version's executions."""
    job = info.job
    executions = info.executions.items if info.executions else ()
    return JobView(
        state=job.state.name,
        message=job.state.message,
        count=max(job.count, 1),
        wasm=any(task.engine.type == "wasm" for task in job.tasks),
        executions=[
            ExecutionView(
                id=execution.id,
                node_id=execution.node_id,
                partition=execution.partition_index,
                compute_state=int(execution.compute_state),
                message=execution.compute_message,
                exit_code=execution.run_output.exit_code if execution.run_output else None,
                stdout=execution.run_output.stdout if execution.run_output else "",
                stderr=execution.run_output.stderr if execution.run_output else "",
                error=execution.run_output.error_message if execution.run_output else "",
                created_at=execution.create_time // _NS_PER_US,
            )
            for execution in executions
            if execution.job_version in (job.version, 0)
        ],
    )
