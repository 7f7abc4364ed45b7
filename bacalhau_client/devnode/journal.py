"""The jobs that the node knows: an index in memory, everything else in the store.

Specs are large (a job may carry its WASM module), so only those of unfinished and recently
finished jobs stay in memory. Not thread-safe: the event loop's thread owns it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import errors, store
from .model import Execution, Job, render_event
from .states import TERMINAL_JOB_STATES, Json
from .store import Statement, Store

_RECENT_JOBS = 1024
_FLUSH_AFTER = 0.01
_SHORT_ID = re.compile(r"j-[0-9a-f]{8}\Z")


@dataclass(kw_only=True, slots=True)
class Detail:
    """What is held of a job beyond its index entry."""

    body: str  # the rendered spec
    spec: Json
    executions: list[Execution] = field(default_factory=list[Execution])
    history: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


class Journal:
    """Finds jobs, notes their changes, and writes them in batches."""

    def __init__(self, kept: Store) -> None:
        self._store = kept
        self.jobs: dict[str, Job] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._details: OrderedDict[str, Detail] = OrderedDict()
        self._dirty_jobs: dict[str, Job] = {}
        self._dirty_executions: dict[str, Execution] = {}
        self._statements: list[Statement] = []
        self._flush_timer: asyncio.TimerHandle | None = None
        self.committing: set[tuple[str, str]] = set()  # names whose first commit is under way
        for job in kept.jobs():
            self._index(job)

    def _index(self, job: Job) -> None:
        self.jobs[job.id] = job
        self._names[job.namespace, job.name] = job.id

    def named(self, name: str, namespace: str) -> Job | None:
        """The job of that name."""
        job_id = self._names.get((namespace, name))
        return None if job_id is None else self.jobs[job_id]

    def find(self, id_or_name: str, namespace: str) -> Job:
        """The job of that id, short id or name; raises ApiError 404."""
        job = self.jobs.get(id_or_name) or self.named(id_or_name, namespace or "default")
        if job is None and _SHORT_ID.match(id_or_name):
            job = next((j for j in self.jobs.values() if j.id.startswith(id_or_name)), None)
        if job is None:
            raise errors.not_found(id_or_name)
        return job

    def add(self, job: Job, body: str, spec: Json) -> None:
        """Takes in a new job, or a new version of one that is known."""
        executions = self.detail(job).executions if job.version > 1 else []
        history = self.detail(job).history if job.version > 1 else []
        self._index(job)
        self._details[job.id] = Detail(body=body, spec=spec, executions=executions, history=history)
        self._details.move_to_end(job.id)
        self._statements.append(store.put_version(job, body))
        self.changed(job)

    def leave_version(self, job: Job) -> None:
        """Keeps the state of a version that another one is about to follow."""
        self._statements.append(store.put_state(job))

    def detail(self, job: Job) -> Detail:
        """The job's spec, executions and history, read from the store where it must be."""
        held = self._details.get(job.id)
        if held is None:
            body = self.body(job, job.version)
            held = Detail(
                body=body,
                spec=json.loads(f"{{{body}}}"),
                executions=self._store.executions(job.id),
                history=[
                    (json.loads(entry)["JobVersion"], entry)
                    for entry in self._store.history(job.id, None)
                ],
            )
            self._details[job.id] = held
        return held

    def body(self, job: Job, version: int) -> str:
        """The rendered spec of a version; raises ApiError 404."""
        held = self._details.get(job.id)
        if held is not None and version == job.version:
            return held.body
        body = self._store.body(job.id, version)
        if body is None:
            raise errors.version_not_found(job.id, version)
        return body

    async def versions(self, job: Job) -> list[str]:
        """All versions as the API shows them."""
        await self.committed()
        return self._store.versions(job.id)

    def changed(self, *things: Job | Execution) -> None:
        """Has the things written at the next opportunity."""
        for thing in things:
            if isinstance(thing, Job):
                self._dirty_jobs[thing.id] = thing
            else:
                self._dirty_executions[thing.id] = thing
        if self._flush_timer is None:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(_FLUSH_AFTER, self._flush)

    def record(self, job: Job, event: Json, execution: Execution | None = None) -> None:
        """Adds an event to the job's history."""
        execution_id = execution.id if execution else ""
        version = execution.job_version if execution else job.version
        job.history += 1
        entry = render_event(job.id, job.history, version, event, execution_id)
        self.detail(job).history.append((version, entry))
        self._statements.append(store.put_event(job.id, job.history, version, execution_id, entry))
        self.changed(job)

    def _flush(self) -> None:
        self._write(None)

    def _write(self, done: asyncio.Future[None] | None) -> None:
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        statements, self._statements = self._statements, []
        for job in self._dirty_jobs.values():
            statements.extend(store.put_job(job))
        statements.extend(store.put_execution(e) for e in self._dirty_executions.values())
        self._dirty_jobs.clear()
        self._dirty_executions.clear()
        self._forget()
        if done is None:
            self._store.submit(statements)
            return
        loop = asyncio.get_running_loop()

        def committed(error: Exception | None) -> None:
            loop.call_soon_threadsafe(_resolve, done, error)

        self._store.submit(statements, committed)

    def _forget(self) -> None:
        """Drops the details of jobs that ended long ago."""
        for _ in range(len(self._details) - _RECENT_JOBS):
            job_id = next(iter(self._details))
            job = self.jobs.get(job_id)
            if job is not None and job.state not in TERMINAL_JOB_STATES:
                self._details.move_to_end(job_id)
            else:
                del self._details[job_id]

    async def committed(self) -> None:
        """Returns when everything noted so far is in the database; raises sqlite3.Error."""
        done = asyncio.get_running_loop().create_future()
        self._write(done)
        await done

    def unfinished(self) -> Iterable[Job]:
        """Jobs that had not ended when the node stopped."""
        return [job for job in self.jobs.values() if not job.terminal]

    async def wipe(self) -> None:
        """Forgets every job, as a node with a new store."""
        await self.committed()
        self._store.wipe()
        for held in (self.jobs, self._names, self._details):
            held.clear()


def _resolve(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
