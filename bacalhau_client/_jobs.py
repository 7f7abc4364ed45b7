"""Jobs: submitting, reading, stopping."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from bacalhau_client._build import (
    build_execution,
    build_history_event,
    build_job,
    build_job_info,
    build_page,
    build_spec_config,
)
from bacalhau_client._logs import DEFAULT_MAX_BYTES, LogLine, stream_logs
from bacalhau_client._models import (
    DiffResult,
    Execution,
    HistoryEvent,
    Job,
    JobInfo,
    Page,
    PutResult,
    RerunResult,
    SpecConfig,
    StopResult,
)
from bacalhau_client._pages import collect, walk
from bacalhau_client._parse import Fields
from bacalhau_client._transport import Transport, job_path

Include = Literal["executions", "history"]
Selector = str | Mapping[str, str]

JOBS = "/api/v1/orchestrator/jobs"
DEFAULT_NAMESPACE = "default"


class Jobs:
    """The calls under ``/api/v1/orchestrator/jobs``; reached as ``BacalhauClient.jobs``.

    A job is named by its id or its name (bare name in the namespace). ``namespace=None`` takes
    the client's, ``"*"`` all of them when listing. Every call raises the errors of ``_errors``;
    reads are tried again as the client's RetryPolicy says, writes only when nothing was sent.
    """

    def __init__(self, transport: Transport, namespace: str) -> None:
        self._transport = transport
        self._namespace = namespace

    def put(self, job: Mapping[str, Any]) -> PutResult:
        """Submits a job as ``bacalhau job run`` takes it, in the client's namespace unless it
        names its own. See ``put_job_bytes``; ``TypeError`` for what is not JSON."""
        return self.put_job_bytes(self._encode(job))

    def put_job_bytes(self, body: bytes) -> PutResult:
        """Submits a whole request body, ``{"Job": …}`` as UTF-8 JSON, exactly as it is.

        AlreadyThere and Conflict mean that a job of this name exists or is being made. After an
        error with ``maybe_sent`` the job may exist: look it up by name before sending again.
        """
        return self._transport.write("PUT", JOBS, None, body, _build_put)

    def diff(self, job: Mapping[str, Any]) -> DiffResult:
        """What submitting this job would change. Changes nothing; retried as a read is."""
        body = self._encode(job)
        return self._transport.write("PUT", f"{JOBS}/diff", None, body, _build_diff, safe=True)

    def get(
        self, job: str, *, include: Iterable[Include] = (), namespace: str | None = None
    ) -> JobInfo:
        """A job's newest version, with executions and history of all versions if included.

        Where the node gives only part of them the rest is fetched, so that the lists are whole.
        """
        params = self._params(namespace, include=",".join(include) or None)
        info = self._transport.read(job_path(job), params, build_job_info)
        executions, history = info.executions, info.history
        if executions is not None and executions.next_token:
            executions = collect(
                executions,
                lambda token: self.executions(job, next_token=token, namespace=namespace),
            )
        if history is not None and history.next_token:
            history = collect(
                history, lambda token: self.history(job, next_token=token, namespace=namespace)
            )
        return replace(info, executions=executions, history=history)

    def list(
        self,
        *,
        labels: Selector | None = None,
        limit: int | None = None,
        next_token: str | None = None,
        order_by: Literal["created_at", "modified_at"] | None = None,
        reverse: bool = False,
        namespace: str | None = None,
    ) -> Page[Job]:
        """One page of jobs. ``labels`` is a selector, or the labels that must all be equal.

        The node scans its whole store for every page: don't poll with it. Refused (400) for a
        selector it cannot parse.
        """
        if labels is not None and not isinstance(labels, str):
            labels = ",".join(f"{key}={value}" for key, value in labels.items())
        params = self._params(
            namespace,
            labels=labels or None,
            limit=limit,
            next_token=next_token or None,
            order_by=order_by,
            reverse=reverse or None,
        )
        return self._transport.read(JOBS, params, lambda f: build_page(f, build_job))

    def iterate(
        self,
        *,
        labels: Selector | None = None,
        page_size: int = 100,
        order_by: Literal["created_at", "modified_at"] | None = None,
        reverse: bool = False,
        namespace: str | None = None,
    ) -> Iterator[Job]:
        """All jobs, page by page. Jobs made meanwhile may show twice or not at all."""
        return walk(
            lambda token: self.list(
                labels=labels,
                limit=page_size,
                next_token=token,
                order_by=order_by,
                reverse=reverse,
                namespace=namespace,
            )
        )

    def stop(self, job: str, *, reason: str = "", namespace: str | None = None) -> StopResult:
        """Asks the cluster to stop a job; the task itself ends about a second later.

        Stopping a stopped job does nothing and is no error. CannotStop for one that ended.
        """
        params = self._params(namespace, reason=reason or None)
        return self._transport.write("DELETE", job_path(job), params, None, _build_stop)

    def rerun(
        self,
        job: str,
        *,
        version: int | None = None,
        reason: str = "",
        namespace: str | None = None,
    ) -> RerunResult:
        """Runs a job again as its next version, from its newest or the given one."""
        wanted = {"JobVersion": version, "Reason": reason}
        body = json.dumps({key: value for key, value in wanted.items() if value}).encode()
        params = self._params(namespace)
        return self._transport.write("PUT", job_path(job, "rerun"), params, body, _build_rerun)

    def history(
        self,
        job: str,
        *,
        execution_id: str | None = None,
        event_type: Literal["job", "execution"] | None = None,
        limit: int | None = None,
        next_token: str | None = None,
        namespace: str | None = None,
    ) -> Page[HistoryEvent]:
        """What happened to a job, oldest first."""
        params = self._params(
            namespace,
            execution_id=execution_id,
            event_type=event_type,
            limit=limit,
            next_token=next_token or None,
        )
        path = job_path(job, "history")
        return self._transport.read(path, params, lambda f: build_page(f, build_history_event))

    def executions(
        self,
        job: str,
        *,
        limit: int | None = None,
        next_token: str | None = None,
        order_by: str | None = None,
        reverse: bool = False,
        namespace: str | None = None,
    ) -> Page[Execution]:
        """Every execution of every version of a job."""
        params = self._params(
            namespace,
            limit=limit,
            next_token=next_token or None,
            order_by=order_by,
            reverse=reverse or None,
        )
        path = job_path(job, "executions")
        return self._transport.read(path, params, lambda f: build_page(f, build_execution))

    def results(self, job: str, *, namespace: str | None = None) -> tuple[SpecConfig, ...]:
        """Where a job's results lie. Presigned addresses in them are credentials: don't log."""
        path = job_path(job, "results")
        params = self._params(namespace)
        page = self._transport.read(path, params, lambda f: build_page(f, build_spec_config))
        return tuple(page.items)

    def versions(
        self,
        job: str,
        *,
        limit: int | None = None,
        next_token: str | None = None,
        namespace: str | None = None,
    ) -> Page[Job]:
        """Every version of a job, oldest first."""
        params = self._params(namespace, limit=limit, next_token=next_token or None)
        path = job_path(job, "versions")
        return self._transport.read(path, params, lambda f: build_page(f, build_job))

    def logs(
        self,
        job: str,
        *,
        follow: bool = False,
        execution_id: str | None = None,
        max_bytes: int | None = DEFAULT_MAX_BYTES,
        idle_timeout: float | None = None,
        namespace: str | None = None,
        stop: threading.Event | None = None,
    ) -> Iterator[LogLine]:
        """What a job has printed and, with ``follow``, prints until it ends. See LogLine.

        Nothing is sent before the first line is asked for. LogsTooLong past ``max_bytes`` of
        text (None: no bound); Ambiguous after ``idle_timeout`` seconds without a line (None:
        the read timeout, or no bound with ``follow``). The node ends a finished stream as it
        loses a connection, so the two look the same here. ``stop`` ends it within a second;
        without one, closing the client does.
        """
        params = self._params(namespace, follow=follow or None, execution_id=execution_id)
        if idle_timeout is None and not follow:
            idle_timeout = self._transport.endpoint.read_timeout
        return stream_logs(
            self._transport.endpoint,
            job_path(job, "logs"),
            params,
            stop=self._transport.stop if stop is None else stop,
            max_bytes=max_bytes,
            idle_timeout=idle_timeout,
        )

    def _params(
        self, namespace: str | None, **params: str | int | bool | None
    ) -> dict[str, str | int | bool | None]:
        chosen = self._namespace if namespace is None else namespace
        # the node's own default needs no word, and old nodes know none
        return {**params, "namespace": None if chosen == DEFAULT_NAMESPACE else chosen}

    def _encode(self, job: Mapping[str, Any]) -> bytes:
        if self._namespace != DEFAULT_NAMESPACE and not job.get("Namespace"):
            job = {**job, "Namespace": self._namespace}
        return json.dumps({"Job": job}, ensure_ascii=False, allow_nan=False).encode()


def _build_put(f: Fields) -> PutResult:
    return PutResult(
        job_id=f.needed("JobID"),
        evaluation_id=f.text("EvaluationID"),
        warnings=f.words("Warnings"),
    )


def _build_rerun(f: Fields) -> RerunResult:
    return RerunResult(
        job_id=f.needed("JobID"),
        job_version=f.integer("JobVersion"),
        evaluation_id=f.text("EvaluationID"),
        warnings=f.words("Warnings"),
    )


def _build_diff(f: Fields) -> DiffResult:
    return DiffResult(diff=f.text("Diff"), warnings=f.words("Warnings"))


def _build_stop(f: Fields) -> StopResult:
    return StopResult(evaluation_id=f.text("EvaluationID"))
