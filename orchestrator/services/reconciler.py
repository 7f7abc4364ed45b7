"""Reconciler: after a restore, one listing of this instance's jobs before anything else.

The backup does not know what was submitted after it was made. The cluster does, for ever: every
job carries its instance, run and attempt. Until they are put back nothing fires and nothing is
dispatched, or what has run would run again.
"""

from __future__ import annotations

import threading
from collections import defaultdict

import structlog

from bacalhau_client import BacalhauClient, BacalhauError, Job
from orchestrator.domain import names
from orchestrator.domain.clock import HOUR, SECOND, from_rfc3339
from orchestrator.store.putback import FoundJob, PutBack

_log = structlog.get_logger(__name__)
_MARGIN = HOUR  # the clocks of cluster and backup may differ
_PAGE = 100
_RETRY = 2.0  # seconds
_GRACE = 15 * SECOND


class Reconciler:
    """Carried out once, before the services start."""

    def __init__(self, client: BacalhauClient, putback: PutBack, instance: str) -> None:
        self._client = client
        self._putback = putback
        self._instance = instance

    @property
    def needed(self) -> bool:
        """Whether this store was restored and not reconciled yet."""
        return self._putback.pending_since() is not None

    def run(self, stop: threading.Event) -> bool:
        """Reconcile, however long the cluster is away. Returns False if stopped before the end."""
        told = ""
        while not stop.is_set():
            try:
                self.reconcile()
            except BacalhauError as error:
                if str(error) != told:
                    told = str(error)
                    _log.warning("restored: waiting for the cluster's jobs", error=told)
                stop.wait(_RETRY)
            else:
                return True
        return False

    def reconcile(self) -> int:
        """Put back what the store does not know; returns how many jobs. Raises BacalhauError."""
        made_at = self._putback.pending_since()
        if made_at is None:
            return 0
        by_run: dict[str, list[FoundJob]] = defaultdict(list)
        for job in self._client.jobs.iterate(
            labels={names.LABEL_INSTANCE: self._instance},
            page_size=_PAGE,
            order_by="created_at",
            reverse=True,
        ):
            if job.create_time // 1000 < made_at - _MARGIN:
                break
            found = read_job(job, self._instance)
            if found is None:
                _log.error("job carries our labels but is not ours", job_id=job.id, name=job.name)
            else:
                by_run[found.run_id].append(found)
        count = 0
        for jobs in by_run.values():
            for found in sorted(jobs, key=lambda job: job.attempt):
                done = self._putback.put_back(found)
                if done is not None:
                    count += 1
                    _log.warning("job put back", job_id=found.job_id, run=found.run_id, what=done)
        self._putback.finish()
        _log.info("restored store reconciled", jobs=count)
        return count


def read_job(job: Job, instance: str) -> FoundJob | None:
    """What a job says of the attempt that it was; None if it does not fit together."""
    parts = names.parse_job_name(job.name)
    task = job.tasks[0] if job.tasks else None
    if parts is None or task is None or parts.instance != instance or job.version != 1:
        return None
    key = task.env.get("ORCH_FIRING_KEY", "")
    run_id = names.run_id(instance, parts.trigger_uid, key)
    if job.labels.get(names.LABEL_RUN) != run_id:
        return None
    try:
        due_at = from_rfc3339(task.env.get("ORCH_FIRING_TIME", ""))
    except ValueError:
        return None
    return FoundJob(
        job_id=job.id,
        job_name=job.name,
        namespace=job.namespace,
        spec_hash=job.labels.get(names.LABEL_SPEC, ""),
        run_id=run_id,
        attempt=parts.attempt,
        trigger_uid=parts.trigger_uid,
        key=key,
        due_at=due_at,
        created_at=job.create_time // 1000,
        execution_us=task.execution_timeout * SECOND,
        total_us=task.total_timeout * SECOND,
        grace_us=_GRACE,
    )
