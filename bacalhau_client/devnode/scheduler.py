"""Decides what happens to jobs: where they run, how often, when they have ended.

Everything here runs on the event loop's thread. Decisions are noted in the journal as they are
made; what compute nodes do comes from `compute`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from . import errors, states
from .cluster import Cluster, Node
from .compute import ComputeNodes
from .executors import Stop, TaskFailed
from .journal import Journal
from .model import Execution, Job, new_id, now_ns, render_body
from .runner import BidRejected, Ended, Outcome
from .spec import digest, task_of
from .states import Compute, Desired, Json

_NS = 1_000_000_000
_TIMEOUT_SLACK = 0.2
"""TotalTimeout is looked at a little late, as on a real node: an execution whose own timeout
ends at the same moment gets to say so first."""


class Scheduler:
    """Places batch jobs on compute nodes until they have ended."""

    def __init__(
        self, journal: Journal, cluster: Cluster, compute: ComputeNodes, node_id: str, instance: str
    ) -> None:
        self._journal = journal
        self._cluster = cluster
        self._compute = compute
        self.node_id = node_id
        self._instance = instance
        self._timers: dict[str, asyncio.TimerHandle] = {}
        compute.connect(
            on_answer=self._answered, on_end=self._ended, on_lost=self._lost, on_back=self._retry
        )

    def recover(self, unfinished: Sequence[Execution]) -> None:
        """Takes up the jobs that had not ended when the node stopped.

        Their tasks died with it, so what was running counts as an execution on a lost node.
        """
        for job in self._journal.unfinished():
            detail = self._journal.detail(job)
            for execution in detail.executions:
                if execution.terminal or execution.job_version != job.version:
                    continue
                if execution.compute == Compute.NEW:
                    self._compute.send(execution)
                else:
                    self._fail_lost(job, execution)
            self._watch_total_timeout(job)
            self._evaluate(job)
        for execution in unfinished:
            if execution.job_id not in self._journal.jobs:
                continue
            job = self._journal.jobs[execution.job_id]
            if job.terminal or execution.job_version != job.version:
                self._cancel(job, [execution], states.STOPPED_BY_JOB_STOP)

    async def submit(self, spec: Json, *, force: bool) -> tuple[Job, str]:
        """Takes a job in, durably; returns it with the id of the evaluation."""
        name, namespace = spec["Name"], spec["Namespace"]
        if (namespace, name) in self._journal.committing:
            raise errors.name_in_use(name, namespace)
        known = self._journal.named(name, namespace) if name else None
        fingerprint = digest(spec)
        if known is not None and known.digest == fingerprint and not force:
            raise errors.no_changes(name, known.id)
        if known is not None:
            return await self._start_version(known, spec, fingerprint, states.UPDATED)
        job_id = new_id("j-")
        spec["Name"] = name or job_id
        body = self._body(job_id, spec)
        job = Job(
            id=job_id,
            name=spec["Name"],
            namespace=namespace,
            digest=fingerprint,
            labels=spec["Labels"],
            size=len(body.encode()),
        )
        self._journal.add(job, body, spec)
        self._journal.record(job, states.SUBMITTED)
        return job, await self._begin(job)

    async def rerun(self, job: Job, version: int, reason: str) -> tuple[Job, str]:
        """Runs a version again, as a new one."""
        if job.state in (states.PENDING, states.QUEUED):
            raise errors.ApiError(
                500,
                f"cannot rerun job in state {job.state}",
                Hint="try to use the job run command instead of the job rerun command",
            )
        body = self._journal.body(job, version or job.version)
        spec: Json = json.loads(f"{{{body}}}")
        spec.pop("ID")
        return await self._start_version(
            job, spec, digest(spec), states.rerun_requested(reason or "job rerun")
        )

    async def _start_version(
        self, job: Job, spec: Json, fingerprint: str, event: Json
    ) -> tuple[Job, str]:
        detail = self._journal.detail(job)
        running = [execution for execution in detail.executions if not execution.terminal]
        self._cancel(job, running, states.STOPPED_BY_UPDATE)
        body = self._body(job.id, spec)
        self._journal.leave_version(job)
        job.version += 1
        job.digest, job.labels, job.size = fingerprint, spec["Labels"], len(body.encode())
        job.move(states.PENDING)
        self._journal.add(job, body, spec)
        self._journal.record(job, event)
        return job, await self._begin(job)

    def _body(self, job_id: str, spec: Json) -> str:
        spec["Meta"] = {
            **spec["Meta"],
            "bacalhau.org/orchestrator.id": self.node_id,
            "bacalhau.org/requester.id": self.node_id,
            "bacalhau.org/server.instance.id": self._instance,
        }
        return render_body(job_id, spec)

    async def _begin(self, job: Job) -> str:
        key = (job.namespace, job.name)
        self._journal.committing.add(key)
        try:
            await self._journal.committed()
        finally:
            self._journal.committing.discard(key)
        evaluation = new_id()
        if not job.terminal:
            self._watch_total_timeout(job)
            asyncio.get_running_loop().call_soon(self._evaluate, job, evaluation)
        return evaluation

    def stop(self, job: Job, reason: str) -> str:
        """Stops a job; returns the id of the evaluation, empty where it was stopped before."""
        if job.state == states.STOPPED:
            return ""
        if job.state == states.COMPLETED:
            raise errors.ApiError(500, f"cannot stop job in state {job.state}")
        if job.terminal:
            raise errors.conflict(
                f"job {job.id} is in terminal state {job.state} and cannot transition to Stopped"
            )
        job.move(states.STOPPED)
        self._journal.record(job, states.stop_requested(reason))
        executions = self._journal.detail(job).executions
        self._cancel(job, executions, states.STOPPED_BY_JOB_STOP)
        self._compute.deliver_all()
        return new_id()

    def _evaluate(self, job: Job, evaluation: str = "") -> None:
        """Brings a job one step on, from whatever its executions look like now."""
        if job.terminal:
            return
        spec = self._journal.detail(job).spec
        if spec["Type"] != "batch":
            self._fail(job, states.scheduling(f"this dev node runs no jobs of type {spec['Type']}"))
            return
        executions = self._of_version(job)
        done = {e.partition for e in executions if e.compute == Compute.COMPLETED}
        active = {e.partition for e in executions if not e.terminal}
        missing = [p for p in range(spec["Count"]) if p not in done | active]
        if missing:
            timed_out = self._out_of_time(job, spec)
            self._place(job, spec, missing, evaluation or new_id(), timed_out=timed_out)
        elif len(done) >= spec["Count"]:
            job.move(states.COMPLETED)
            self._journal.record(job, states.state_update(states.COMPLETED))

    def _of_version(self, job: Job) -> list[Execution]:
        executions = self._journal.detail(job).executions
        return [execution for execution in executions if execution.job_version == job.version]

    def _place(
        self, job: Job, spec: Json, missing: list[int], evaluation: str, *, timed_out: bool
    ) -> None:
        match = self._cluster.match(spec, self._of_version(job))
        if len(match.suitable) < len(missing):
            message = match.shortage(len(missing))
            if timed_out:
                self._time_out(job, spec)
            elif now_ns() < job.create_time + _timeout_ns(spec, "QueueTimeout"):
                self._queue(job, f"Job queued. {message}")
            else:
                event = states.not_enough_nodes(
                    message,
                    requested=len(missing),
                    available=match.available,
                    suitable=len(match.suitable),
                )
                self._fail(job, event)
            return
        placed = [
            self._execution(job, evaluation, node, partition)
            for node, partition in zip(match.suitable, missing, strict=False)
        ]
        if timed_out:
            # A real node plans the next execution in the same step that ends the job.
            self._time_out(job, spec)
            self._announce(job, placed)
            for execution in placed:
                execution.revision += 1
            self._cancel(job, placed, states.STOPPED_BY_JOB_STOP)
            return
        self._announce(job, placed)
        for execution in placed:
            self._compute.send(execution)
        self._compute.deliver_all()

    def _execution(self, job: Job, evaluation: str, node: Node, partition: int) -> Execution:
        return Execution(
            id=new_id("e-"),
            job_id=job.id,
            job_version=job.version,
            eval_id=evaluation,
            node_id=node.id,
            namespace=job.namespace,
            partition=partition,
            snapshot=job.render_state(),
        )

    def _announce(self, job: Job, placed: list[Execution]) -> None:
        for execution in placed:
            self._journal.detail(job).executions.append(execution)
            self._journal.changed(execution)
            self._journal.record(job, states.execution_requested(execution.node_id), execution)

    def _queue(self, job: Job, message: str) -> None:
        if job.state == states.QUEUED:
            return
        job.move(states.QUEUED, message)
        self._journal.record(job, states.queued(message))

    def _fail(self, job: Job, event: Json) -> None:
        job.move(states.FAILED, event["Message"])
        self._journal.record(job, event)
        self._cancel(job, self._of_version(job), states.STOPPED_BY_JOB_FAILURE)

    def _cancel(self, job: Job, executions: Sequence[Execution], message: str) -> None:
        for execution in executions:
            if execution.terminal:
                continue
            execution.move(Compute.CANCELLED, message, Desired.STOPPED, message)
            self._journal.changed(execution)
            self._journal.record(job, states.scheduling(message), execution)
            self._compute.stop(execution, Stop.REQUESTED)

    def _watch_total_timeout(self, job: Job) -> None:
        spec = self._journal.detail(job).spec
        total = task_of(spec)["Timeouts"].get("TotalTimeout", 0)
        if not total:
            return
        left = (job.create_time - now_ns()) / _NS + total + _TIMEOUT_SLACK
        if earlier := self._timers.pop(job.id, None):
            earlier.cancel()
        loop = asyncio.get_running_loop()
        self._timers[job.id] = loop.call_later(max(0.0, left), self._total_timeout, job)

    def _total_timeout(self, job: Job) -> None:
        self._timers.pop(job.id, None)
        if not job.terminal:
            self._time_out(job, self._journal.detail(job).spec)
            self._compute.deliver_all()

    @staticmethod
    def _out_of_time(job: Job, spec: Json) -> bool:
        total = _timeout_ns(spec, "TotalTimeout")
        return bool(total) and now_ns() >= job.create_time + total

    def _time_out(self, job: Job, spec: Json) -> None:
        self._fail(job, states.job_timed_out(task_of(spec)["Timeouts"]["TotalTimeout"]))

    def _answered(self, execution: Execution, refusal: BidRejected | TaskFailed | None) -> bool:
        """A compute node's answer to a bid; whether the execution may go on."""
        job = self._journal.jobs.get(execution.job_id)
        if job is None or execution.terminal:
            return False
        self._journal.changed(execution)
        if refusal is None:
            execution.revision += 1
            execution.move(Compute.RUNNING, "Running", Desired.RUNNING, "Running")
            if job.state != states.RUNNING:
                job.move(states.RUNNING)
                self._journal.record(job, states.state_update(states.RUNNING))
            self._journal.record(job, states.EXECUTION_RUNNING, execution)
            return True
        if isinstance(refusal, BidRejected):
            message = f"rejected bid: {refusal}"
            execution.move(Compute.BID_REJECTED, message, Desired.STOPPED, "bid rejected")
            event: Json = {"Message": message, "Topic": "Exec Scanning"}
        else:
            message = refusal.message
            execution.move(Compute.FAILED, message, Desired.STOPPED, "execution failed")
            event = states.execution_failed(message, "Exec Scanning", refusal.details)
        self._journal.record(job, event, execution)
        self._evaluate(job)
        return False

    def _ended(self, execution: Execution, outcome: Outcome) -> None:
        """A task has ended on its compute node."""
        job = self._journal.jobs.get(execution.job_id)
        if job is None or execution.terminal:
            return
        if isinstance(outcome, Ended):
            execution.output, execution.published = outcome.output, outcome.published
            execution.move(Compute.COMPLETED, "Running", Desired.STOPPED, "execution completed")
            event = states.EXECUTION_COMPLETED
        else:
            execution.move(Compute.FAILED, outcome.message, Desired.STOPPED, "execution failed")
            event = outcome.event
        self._journal.changed(execution)
        self._journal.record(job, event, execution)
        self._evaluate(job)

    def _lost(self, executions: Sequence[Execution]) -> None:
        """A compute node is gone."""
        for execution in executions:
            job = self._journal.jobs.get(execution.job_id)
            if job is not None and not execution.terminal:
                self._fail_lost(job, execution)
                self._evaluate(job)

    def _fail_lost(self, job: Job, execution: Execution) -> None:
        message = states.STOPPED_BY_LOST_NODE
        execution.move(Compute.FAILED, message, Desired.STOPPED, message)
        self._journal.changed(execution)
        self._journal.record(job, states.scheduling(message), execution)

    def _retry(self) -> None:
        """A compute node is back: what was queued for want of one may fit now."""
        for job in self._journal.unfinished():
            if job.state == states.QUEUED:
                self._evaluate(job)

    def stop_all(self) -> None:
        """Stops every job that has not ended."""
        for job in self._journal.unfinished():
            self.stop(job, "")

    def close(self) -> None:
        """Stops all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


def _timeout_ns(spec: Json, name: str) -> int:
    return int(task_of(spec)["Timeouts"].get(name, 0)) * _NS
