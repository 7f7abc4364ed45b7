"""A cluster that answers as a test tells it to, behind the client's own interface."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from bacalhau_client import (
    Answered,
    BacalhauClient,
    BacalhauError,
    JobInfo,
    NotFound,
    PutResult,
    SpecConfig,
)
from bacalhau_client._build import build_job_info
from bacalhau_client._parse import Fields


def answered(kind: type[Answered], status: int, message: str = "no") -> Answered:
    """An error of the node."""
    return kind(message, status=status)


@dataclass
class FakeJob:
    """A job as the cluster keeps it. Times in microseconds."""

    id: str
    name: str
    labels: dict[str, str]
    state: str = "Running"
    message: str = ""
    version: int = 1
    created_at: int = 0
    took: int = 1_000_000
    executions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    task: dict[str, Any] = field(default_factory=dict[str, Any])
    """What its task has beside name and engine."""
    results: list[SpecConfig] = field(default_factory=list[SpecConfig])

    def execution(self, state: int, *, code: int | None = None, **more: Any) -> None:
        """Add an execution: `message`, `node`, `began` (µs), `partition`."""
        entry: dict[str, Any] = {
            "ID": f"e-{len(self.executions)}",
            "NodeID": more.get("node", "n-1"),
            "JobID": self.id,
            "JobVersion": self.version,
            "PartitionIndex": more.get("partition", 0),
            "ComputeState": {"StateType": state, "Message": more.get("message", "")},
            "CreateTime": more.get("began", self.created_at) * 1000,
        }
        if code is not None:
            entry["RunOutput"] = {"ExitCode": code, "Stdout": "out\n", "stderr": "err\n"}
        self.executions.append(entry)

    def complete(self, code: int = 0) -> None:
        """Let it end by itself."""
        self.state = "Completed"
        self.execution(9, code=code)


class ScriptedCluster:
    """What is not scripted is answered as a cluster does that works.

    `script["put"]` and the like hold what the next calls give: an exception, or `None` for the
    usual. A call is carried out before the exception if it is in `after`.
    """

    def __init__(self) -> None:
        self.identity = "cluster-1"
        self.jobs: dict[str, FakeJob] = {}
        self.script: dict[str, deque[BacalhauError | None]] = defaultdict(deque)
        self.after: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self.connected: dict[str, bool] = {}
        self.orchestrator_id = "cluster-1"
        self.deaf = False  # it says yes to a stop, and stops nothing
        self._lock = threading.Lock()
        self.client = cast(
            BacalhauClient,
            SimpleNamespace(
                jobs=SimpleNamespace(
                    put_job_bytes=self._put,
                    get=self._get,
                    stop=self._stop,
                    results=self._results,
                ),
                agent=SimpleNamespace(node=self._node),
                nodes=SimpleNamespace(get=self._node_of),
            ),
        )

    def of(self, *calls: str) -> list[str]:
        """What was asked, in order, of these kinds."""
        with self._lock:
            return [call for call, _ in self.calls if call in calls]

    def _next(self, call: str, subject: str) -> BacalhauError | None:
        with self._lock:
            self.calls.append((call, subject))
            return self.script[call].popleft() if self.script[call] else None

    def _put(self, body: bytes) -> PutResult:
        job = json.loads(body)["Job"]
        error = self._next("put", job["Name"])
        if error is None or "put" in self.after:
            made = FakeJob(id=f"j-{job['Name']}", name=job["Name"], labels=job["Labels"])
            self.jobs[made.id] = self.jobs[made.name] = made
        if error is not None:
            raise error
        return PutResult(job_id=f"j-{job['Name']}", evaluation_id="", warnings=())

    def _known(self, call: str, job: str) -> FakeJob:
        error = self._next(call, job)
        if error is not None:
            raise error
        if job not in self.jobs:
            raise answered(NotFound, 404, "job not found")
        return self.jobs[job]

    def _get(
        self, job: str, *, include: Iterable[str] = (), namespace: str | None = None
    ) -> JobInfo:
        return self._info(self._known("get", job))

    def _info(self, job: FakeJob) -> JobInfo:
        document = {
            "Job": {
                "ID": job.id,
                "Name": job.name,
                "Labels": job.labels,
                "Meta": {"bacalhau.org/orchestrator.id": self.orchestrator_id},
                "Count": 1,
                "Version": job.version,
                "State": {"StateType": job.state, "Message": job.message},
                "Tasks": [{"Name": "main", "Engine": {"Type": "docker"}, **job.task}],
                "CreateTime": job.created_at * 1000,
                "ModifyTime": (job.created_at + job.took) * 1000,
            },
            "Executions": {"Items": job.executions},
        }
        return build_job_info(Fields(document, "scripted"))

    def _results(self, job: str, *, namespace: str | None = None) -> list[SpecConfig]:
        return self._known("results", job).results

    def _stop(self, job: str, *, reason: str = "", namespace: str | None = None) -> None:
        known = self._known("stop", job)
        if not self.deaf:
            known.state = "Stopped"

    def _node(self) -> Any:
        error = self._next("node", "")
        if error is not None:
            raise error
        return SimpleNamespace(id=self.identity)

    def _node_of(self, node_id: str) -> Any:
        error = self._next("nodes", node_id)
        if error is not None:
            raise error
        connected = self.connected.get(node_id, True)
        return SimpleNamespace(connection=SimpleNamespace(is_connected=connected))
