"""What the API shows of the store's values. The names here are a contract: scripts rely on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import specs
from connectors.abc import TimeConnector
from connectors.registry import Registry, UnknownConnectorError
from orchestrator.domain.clock import to_rfc3339
from orchestrator.domain.states import STATES_OF, RunState
from orchestrator.operations.resuming import Resumed
from orchestrator.services.definitions import Definition
from orchestrator.store.own import CALLBACK, shown_values
from orchestrator.store.reads import Page, PartitionView
from orchestrator.store.sources import Source
from orchestrator.store.tokens import Token
from orchestrator.store.values import Attempt, Run, Trigger

_STATUS = {state: status for status, states in STATES_OF.items() for state in states}


def when(instant: int | None) -> str | None:
    """An instant for people and programs."""
    return None if instant is None else to_rfc3339(instant)


def page(items: Sequence[Mapping[str, Any]], following: str | None) -> dict[str, Any]:
    """A list as every endpoint gives it."""
    return {"items": items, "next": following}


def run(row: Run, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """A run with its attempts. `values` is what a job's `${{ }}` can name of its event."""
    return {
        "id": row.id,
        "trigger": row.trigger_name,
        "trigger_uid": row.trigger_uid,
        "key": row.key,
        "state": row.state,
        "reason": row.reason,
        "priority": row.priority,
        "origin": row.origin,
        "version": row.version,
        "partition": row.partition,
        "range": _range(row),
        "queue": row.queue,
        "created_at": when(row.created_at),
        "due_at": when(row.due_at),
        "not_before": when(row.not_before) if row.state is RunState.PENDING else None,
        "started_at": when(row.started_at),
        "ended_at": when(row.ended_at),
        "tries": row.tries,
        "cancel": row.cancel,
        "discarded": row.discarded,
        "released": row.released,
        "kept": json.loads(row.kept) if row.kept else None,
        "values": {**shown_values(row.data), "firing": {"key": row.key, "time": when(row.due_at)}},
        "attempts": [attempt(a) for a in attempts],
    }


def _range(row: Run) -> dict[str, str | None] | None:
    """The half-open range of positions that a run stands for."""
    if row.range_start is None:
        return None
    return {"start": row.range_start, "end": row.range_end}


def attempt(row: Attempt) -> dict[str, Any]:
    """One Bacalhau job of a run."""
    return {
        "number": row.number,
        "job_name": row.job_name,
        "job_id": row.job_id,
        "namespace": row.namespace,
        "state": row.state,
        "exit_code": row.exit_code,
        "reason": row.reason,
        "node_id": row.node_id,
        "counted": row.counted,
        "created_at": when(row.created_at),
        "submitted_at": when(row.submitted_at),
        "running_at": when(row.running_at),
        "ended_at": when(row.ended_at),
        "stdout": row.stdout,
        "stderr": row.stderr,
    }


def runs(found: Page[Run], attempts: Mapping[str, Sequence[Attempt]]) -> dict[str, Any]:
    """A page of runs."""
    return page([run(row, attempts[row.id]) for row in found.items], found.next)


def job(row: Run, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """A run as the one sees it who asked for it."""
    values = shown_values(row.data)
    reason = row.reason
    if row.cancel is not None and row.ended_at is None:
        reason = f"is being cancelled: {row.cancel}"
    shown: dict[str, Any] = {
        "id": row.id,
        "status": _STATUS[row.state],
        "reason": reason,
        "template": None if row.version == 0 else row.trigger_name,
        "parameters": values.get("parameters", {}),
        "priority": row.priority,
        "created_at": when(row.created_at),
        "run_at": when(row.due_at),
        "started_at": when(row.started_at),
        "ended_at": when(row.ended_at),
        "attempts": row.attempts,
        "result": None,
        "callback_host": urlsplit(str(row.data[CALLBACK])).netloc if CALLBACK in row.data else None,
    }
    if "input" in values:
        shown["input"] = values["input"]
    if row.ended_at is not None and attempts:
        last = attempts[-1]
        shown["result"] = {
            "exit_code": last.exit_code,
            "stdout": last.stdout,
            "stderr": last.stderr,
        }
    return shown


def trigger(row: Trigger, next_at: int | None) -> dict[str, Any]:
    """A trigger as lists show it."""
    return {
        "name": row.name,
        "uid": row.uid,
        "kind": row.kind,
        "state": row.state,
        "note": row.note,
        "version": row.version,
        "created_at": when(row.created_at),
        "updated_at": when(row.updated_at),
        "next_at": when(next_at),
    }


def resumed(done: Resumed) -> dict[str, Any]:
    """A trigger that makes firings again, and what came due in its pause."""
    passed = done.passed
    return {
        **trigger(done.trigger, done.next_at),
        "passed": None
        if passed is None
        else {"count": passed.count, "more": passed.more, "caught_up": passed.caught_up},
    }


def document(name: str, definition: Definition, job: Mapping[str, Any]) -> dict[str, Any]:
    """A trigger as its file would state it."""
    stated: dict[str, Any] = {
        "apiVersion": specs.API_VERSION,
        "kind": definition.kind,
        "name": name,
    }
    if definition.description:
        stated["description"] = definition.description
    if definition.labels:
        stated["labels"] = dict(definition.labels)
    return {
        **stated,
        **definition.settings,
        **specs.policies_to_json(definition.policies),
        "job": job,
    }


def policies(definition: Definition) -> dict[str, Any]:
    """The policies that hold, defaults written out. Durations as in a trigger file."""
    stated = definition.policies
    retry, catch_up = definition.retry, definition.catch_up
    return {
        "overlap": definition.overlap,
        "catch_up": "none" if catch_up.window is None else specs.format_duration(catch_up.window),
        "catch_up_limit": catch_up.limit,
        "timeout": specs.format_duration(stated.timeout),
        "queue_timeout": specs.format_duration(stated.queue_timeout),
        "stop_grace": specs.format_duration(stated.stop_grace),
        "retry": {
            "max_attempts": retry.max_attempts,
            "max_age": None if retry.max_age is None else specs.format_duration(retry.max_age),
            "backoff": {
                "initial": specs.format_duration(retry.initial),
                "max": specs.format_duration(retry.maximum),
                "factor": retry.factor,
            },
        },
        "on_dead": stated.on_dead,
        "parallelism": stated.parallelism,
        "max_in_flight": stated.max_in_flight,
        "trip_after": stated.trip_after,
        "rate": stated.rate,
        "priority": stated.priority,
        "allow_shell_data": stated.allow_shell_data,
        "allow_static_secrets": stated.allow_static_secrets,
        "callbacks": {
            event: [{"url": c.url} if c.url else {"trigger": c.trigger} for c in callbacks]
            for event, callbacks in (
                ("on_success", stated.on_success),
                ("on_failure", stated.on_failure),
                ("on_abort", stated.on_abort),
            )
        },
    }


def partition(
    row: PartitionView, *, by_time: bool, lag: int | None = None, trouble: str | None = None
) -> dict[str, Any]:
    """A partition's checkpoints. Those of a schedule are due times; null: nothing is to come.

    `lag` is how many events of a source are in no run yet, as far as that is known; `trouble` why
    it cannot be read now while others can.
    """
    show = _due_time if by_time else str
    return {
        "partition": row.name,
        "planned": None if row.planned is None else show(row.planned),
        "done": None if row.done is None else show(row.done),
        "base": None if row.base is None else show(row.base),
        "runs": row.ordinal // row.stride,
        "lag": lag,
        "trouble": trouble,
        "next_at": when(row.wake_at),
    }


def source(row: Source, lag: int | None) -> dict[str, Any]:
    """How the orchestrator gets on with a source."""
    return {
        "trigger": row.trigger,
        "kind": row.kind,
        "state": row.state,
        "detail": row.detail or None,
        "since": when(row.since),
        "identity": row.identity,
        "orchestrator": row.owner,
        "restart_asked": row.restart,
        "lag": lag,
    }


def _due_time(checkpoint: str) -> str:
    return to_rfc3339(int(checkpoint)) if checkpoint.lstrip("-").isdecimal() else checkpoint


def by_time(registry: Registry, kind: str) -> bool:
    """Whether a kind's checkpoints are due times."""
    try:
        return isinstance(registry.get(kind), TimeConnector)
    except UnknownConnectorError:
        return False


def token(row: Token) -> dict[str, Any]:
    """A token without its secret."""
    return {
        "name": row.name,
        "role": row.role.value,
        "created_at": when(row.created_at),
        "expires_at": when(row.expires_at),
    }
