"""Timeouts may stand in the trigger or in the job. The trigger's win; a job's are taken over
where the trigger has none, and must agree where it has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from specs._durations import format_duration
from specs._policies import SECOND, Policies
from specs._problems import Path
from specs._shapes import items, mapping

NAMES = ("ExecutionTimeout", "QueueTimeout", "TotalTimeout")
_MAX_SECONDS = 30 * 24 * 60 * 60


def merge_timeouts(
    policies: Policies,
    job: Mapping[str, Any],
    given: Collection[str],
    report: Callable[[Path, str, str], None],
) -> Policies:
    """Return the policies with the job's own timeouts taken over.

    `given` are the policies that the trigger states. Contradictions are reported with paths
    relative to the job. Values of a wrong type are left to the job's validation.
    """
    tasks = items(job.get("Tasks"))
    if len(tasks) != 1:
        return policies
    timeouts = mapping(mapping(tasks[0]).get("Timeouts"))
    path: Path = ("Tasks", 0, "Timeouts")
    execution, queue, total = (_seconds(timeouts.get(name)) for name in NAMES)
    for name, seconds in zip(NAMES, (execution, queue, total), strict=True):
        if seconds > _MAX_SECONDS:
            report((*path, name), f"{seconds} s is more than 30 days", "Write a shorter one")
            return policies
    if total and execution + queue > total:
        message = f"is less than ExecutionTimeout and QueueTimeout together ({execution + queue} s)"
        report((*path, "TotalTimeout"), message, "Leave it out: it is set from the other two")
        return policies

    timeout = policies.timeout
    if execution and "timeout" not in given:
        timeout = execution * SECOND
    elif execution and execution * SECOND != timeout:
        message = f"contradicts the trigger's timeout, {format_duration(timeout)}"
        report((*path, "ExecutionTimeout"), message, "Remove one of the two")
    elif total and "timeout" not in given:
        timeout = min(timeout, total * SECOND)

    allowance = policies.queue_timeout
    if "queue_timeout" in given:
        if queue * SECOND > allowance:
            message = f"is longer than the trigger's queue_timeout, {format_duration(allowance)}"
            report((*path, "QueueTimeout"), message, "Remove one of the two")
        if total and total * SECOND != timeout + allowance:
            message = (
                "contradicts the trigger's timeout and queue_timeout, "
                f"{format_duration(timeout + allowance)} together"
            )
            report((*path, "TotalTimeout"), message, "Leave it out: it is set from the other two")
    elif total:
        allowance = total * SECOND - timeout
        if allowance < 0:
            message = f"is less than the trigger's timeout, {format_duration(timeout)}"
            report((*path, "TotalTimeout"), message, "Leave it out: it is set from the trigger")
            return policies
    elif queue:
        allowance = queue * SECOND
    return replace(policies, timeout=timeout, queue_timeout=allowance)


def _seconds(value: object) -> int:
    usable = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if usable and isinstance(value, int) else 0
