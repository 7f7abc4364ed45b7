"""What each path of the API does."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable

from . import errors, selectors, spec
from .api import Handler, Request
from .cluster import VERSION, Cluster, requester
from .difference import difference
from .journal import Journal
from .logs import LogBook, error_message
from .model import Execution, Job, dumps, now_ns
from .publish import Publisher
from .scheduler import Scheduler
from .states import Compute, Json

_SORT_KEYS: dict[str, Callable[[Job], int]] = {
    "": lambda job: job.create_time,
    "created_at": lambda job: job.create_time,
    "modified_at": lambda job: job.modify_time,
}
_DISCARDED = (Compute.BID_REJECTED, Compute.FAILED, Compute.CANCELLED)

JobHandler = Callable[[Request, Job], Awaitable[str]]


class Routes:
    """Answers requests from the journal and hands changes to the scheduler."""

    def __init__(
        self,
        journal: Journal,
        scheduler: Scheduler,
        cluster: Cluster,
        logs: LogBook,
        publisher: Publisher,
        admin: Callable[[Request], Awaitable[str]] | None,
    ) -> None:
        self._journal = journal
        self._scheduler = scheduler
        self._cluster = cluster
        self._logs = logs
        self._publisher = publisher
        self._admin = admin
        self._since = now_ns()
        # With one compute node the orchestrator is the same process, as the simplest real set-up.
        self._apart = len(cluster.nodes) > 1
        self._fixed: dict[tuple[str, str], Handler] = {
            ("PUT", "orchestrator/jobs"): self._submit,
            ("GET", "orchestrator/jobs"): self._list,
            ("PUT", "orchestrator/jobs/diff"): self._diff,
            ("GET", "orchestrator/nodes"): self._nodes,
            ("GET", "agent/alive"): _constant({"Status": "OK"}),
            ("GET", "agent/version"): _constant(VERSION),
            ("GET", "agent/node"): self._agent_node,
            ("GET", "agent/config"): self._agent_config,
            ("GET", "agent/authconfig"): _constant({"Version": "1.0.0", "Config": {}}),
            ("GET", "agent/debug"): _constant({}),
        }
        self._of_job: dict[tuple[str, str], JobHandler] = {
            ("GET", ""): self._get,
            ("DELETE", ""): self._stop,
            ("GET", "history"): self._history,
            ("GET", "executions"): self._executions,
            ("GET", "versions"): self._versions,
            ("GET", "results"): self._results,
            ("PUT", "rerun"): self._rerun,
        }

    def route(self, method: str, segments: list[str]) -> Handler | None:
        """The handler of a path below `/api/v1`, None for one that the API does not have."""
        fixed = self._fixed.get((method, "/".join(segments)))
        if fixed is not None:
            return fixed
        if segments[:2] == ["orchestrator", "jobs"] and len(segments) in (3, 4):
            handler = self._of_job.get((method, "".join(segments[3:])))
            if handler is not None:
                return lambda request: self._with_job(request, handler)
        if segments[:2] == ["orchestrator", "nodes"] and len(segments) == 3 and method == "GET":
            return self._node
        if segments[0] == "dev" and method == "PUT":
            return self._admin
        return None

    async def _with_job(self, request: Request, handler: JobHandler) -> str:
        job = self._journal.find(request.segments[2], request.text("namespace"))
        return await handler(request, job)

    async def _submit(self, request: Request) -> str:
        body = request.json()
        completed, warnings = spec.checked(body.get("Job"))
        job, evaluation = await self._scheduler.submit(completed, force=body.get("Force") is True)
        return dumps({"JobID": job.id, "EvaluationID": evaluation, "Warnings": warnings or None})

    async def _diff(self, request: Request) -> str:
        completed, warnings = spec.checked(request.json().get("Job"))
        job = self._journal.find(completed["Name"], completed["Namespace"])
        known = self._journal.detail(job).spec
        return dumps({"Diff": difference(known, completed), "Warnings": warnings or None})

    async def _get(self, request: Request, job: Job) -> str:
        version = request.number("job_version")
        if version and version != job.version:
            rendered = [
                text
                for text in await self._journal.versions(job)
                if json.loads(text)["Version"] == version
            ]
            if not rendered:
                raise errors.version_not_found(job.id, version)
            parts = [f'"Job":{rendered[0]}']
        else:
            parts = [f'"Job":{job.render(self._journal.body(job, job.version))}']
        wanted = {name.strip() for name in request.text("include").split(",")}
        if "history" in wanted:
            history = ",".join(self._history_of(job, version or job.version))
            parts.append(f'"History":{{"NextToken":"","Items":[{history}]}}')
        if "executions" in wanted:
            executions = self._executions_of(job, version or job.version)
            parts.append(f'"Executions":{{"NextToken":"","Items":[{executions}]}}')
        return f"{{{','.join(parts)}}}"

    def _history_of(self, job: Job, version: int | None) -> list[str]:
        entries = self._journal.detail(job).history
        return [entry for of_version, entry in entries if version in (None, of_version)]

    def _executions_of(self, job: Job, version: int | None, limit: int = 0) -> str:
        found = [
            execution
            for execution in self._journal.detail(job).executions
            if version in (None, execution.job_version)
        ]
        bodies = {e.job_version: self._journal.body(job, e.job_version) for e in found}
        shown = found[:limit] if limit else found
        return ",".join(e.render(bodies[e.job_version]) for e in shown)

    async def _list(self, request: Request) -> str:
        order, reverse, limit, offset = (
            request.text("order_by"),
            request.flag("reverse"),
            request.number("limit"),
            0,
        )
        if token := request.text("next_token"):
            order, reverse, limit, offset = _read_token(token)
        required = [
            requirement
            for text in [",".join(request.query.get("labels", []))]
            for requirement in selectors.parse(text)
        ]
        if order not in _SORT_KEYS:
            raise errors.internal()
        namespace = request.text("namespace")
        found = [
            job
            for job in self._journal.jobs.values()
            if (namespace in ("", "*") or job.namespace == namespace)
            and all(requirement.matches(job.labels) for requirement in required)
        ]
        found.sort(key=_SORT_KEYS[order], reverse=reverse)
        page = found[offset : offset + limit] if limit else found[offset:]
        more = bool(limit) and len(found) > offset + limit
        next_token = _token(order, reverse, limit, offset + limit) if more else ""
        items = ",".join(job.render(self._journal.body(job, job.version)) for job in page)
        return f'{{"NextToken":"{next_token}","Items":[{items}]}}'

    async def _stop(self, request: Request, job: Job) -> str:
        evaluation = self._scheduler.stop(job, request.text("reason"))
        await self._journal.committed()
        return dumps({"EvaluationID": evaluation})

    async def _rerun(self, request: Request, job: Job) -> str:
        body = request.json()
        reason, version = body.get("Reason"), body.get("JobVersion")
        job, evaluation = await self._scheduler.rerun(
            job,
            version if isinstance(version, int) else 0,
            reason if isinstance(reason, str) else "",
        )
        return dumps(
            {
                "EvaluationID": evaluation,
                "JobID": job.id,
                "JobVersion": job.version,
                "Warnings": None,
            }
        )

    async def _history(self, request: Request, job: Job) -> str:
        every = request.flag("all_job_versions")
        version = None if every else request.number("job_version") or job.version
        entries = self._history_of(job, version)
        if kind := request.text("event_type"):
            level = {"job": "JobLevel", "execution": "ExecutionLevel"}.get(kind)
            entries = [
                entry for entry in entries if level is None or json.loads(entry)["Type"] == level
            ]
        if execution_id := request.text("execution_id"):
            entries = [
                entry for entry in entries if json.loads(entry).get("ExecutionID") == execution_id
            ]
        if limit := request.number("limit"):
            entries = entries[:limit]
        return f'{{"NextToken":"","Items":[{",".join(entries)}]}}'

    async def _executions(self, request: Request, job: Job) -> str:
        every = request.flag("all_job_versions")
        version = None if every else request.number("job_version") or job.version
        items = self._executions_of(job, version, request.number("limit"))
        return f'{{"NextToken":"","Items":[{items}]}}'

    async def _versions(self, request: Request, job: Job) -> str:
        return f'{{"NextToken":"","Items":[{",".join(await self._journal.versions(job))}]}}'

    async def _results(self, request: Request, job: Job) -> str:
        published = [
            json.loads(execution.published)
            for execution in self._journal.detail(job).executions
            if execution.compute == Compute.COMPLETED and execution.job_version == job.version
        ]
        items = await asyncio.to_thread(self._publisher.results, published)
        return dumps({"NextToken": "", "Items": items})

    async def _nodes(self, request: Request) -> str:
        shown = [node.render(self._cluster.offer) for node in self._cluster.nodes.values()]
        if self._apart:
            shown.append(requester(self._scheduler.node_id, self._since))
        return dumps({"NextToken": "", "Nodes": shown})

    async def _node(self, request: Request) -> str:
        wanted = request.segments[2]
        for node in self._cluster.nodes.values():
            if node.id == wanted or (len(wanted) >= 10 and node.id.startswith(wanted)):
                return dumps({"Node": node.render(self._cluster.offer)})
        raise errors.node_not_found(wanted)

    async def _agent_node(self, request: Request) -> str:
        if self._apart:
            return dumps(requester(self._scheduler.node_id, self._since)["Info"])
        only = next(iter(self._cluster.nodes.values()))
        return dumps({**only.info(self._cluster.offer), "NodeID": self._scheduler.node_id})

    async def _agent_config(self, request: Request) -> str:
        enabled = {"Enabled": True}
        return dumps({"Config": {"Orchestrator": enabled, "Compute": enabled}})

    async def logs(self, request: Request, deliver: Callable[[str], Awaitable[None]]) -> None:
        """Streams the log of the execution that was asked for, or of the latest one."""
        try:
            job = self._journal.find(request.segments[2], request.text("namespace"))
            execution = self._logged_execution(job, request.text("execution_id"))
        except errors.ApiError as error:
            await deliver(error_message(str(error)))
            return
        async for message in self._logs.stream(execution.id, follow=request.flag("follow")):
            await deliver(message)

    def _logged_execution(self, job: Job, wanted: str) -> Execution:
        executions = self._journal.detail(job).executions
        if wanted:
            found = [execution for execution in executions if execution.id == wanted]
        else:
            found = [e for e in executions if e.compute not in _DISCARDED] or executions
        if not found:
            raise errors.ApiError(500, f"no executions found for job {job.name} with ID {job.id}")
        return max(found, key=lambda execution: execution.modify_time)


def _constant(value: Json) -> Handler:
    text = dumps(value)

    async def answer(request: Request) -> str:
        return text

    return answer


def _token(order: str, reverse: bool, limit: int, offset: int) -> str:
    text = f"{order}:{'Y' if reverse else 'N'}:{limit}:{offset}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[str, bool, int, int]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        order, reverse, limit, offset = text.split(":")
        return order, reverse == "Y", int(limit), int(offset)
    except (binascii.Error, ValueError) as error:
        raise errors.invalid(f"malformed token: invalid paging token: {token}") from error
