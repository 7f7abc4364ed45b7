"""What the API shows of a service's copies."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.domain.clock import SECOND
from orchestrator.domain.keeping import LOOP
from orchestrator.domain.states import TriggerState
from orchestrator.store.copies import Copy, OpenRun
from orchestrator.store.values import Trigger
from orchestrator.web.deps import Deps
from orchestrator.web.views import when


def copies_of(d: Deps, trigger: Trigger) -> list[dict[str, Any]]:
    """All copies of a service, by their numbers; none for a trigger that is no service."""
    definition = d.definitions.get(trigger.definition)
    if not definition.service:
        return []
    beats = d.plans.beats(definition)
    mine: Mapping[str, list[OpenRun]] = defaultdict(list)
    for run in d.copies.open(trigger.uid):
        mine[run.copy].append(run)
    now = d.clock.now()
    return [
        copy_view(copy, mine[copy.name], trigger, now, beats=beats)
        for copy in d.copies.all(trigger.uid)
    ]


def copy_view(
    copy: Copy, runs: Sequence[OpenRun], trigger: Trigger, now: int, *, beats: bool
) -> dict[str, Any]:
    """One copy. `state` is one of starting, running, replacing, stopping, waiting, crash_loop,
    paused, off."""
    state, detail = _state(copy, runs, trigger, now, beats=beats)
    newest = runs[-1] if runs else None
    return {
        "copy": int(copy.name),
        "state": state,
        "detail": detail,
        "run": None if newest is None else newest.run_id,
        "version": copy.version,
        "lives": copy.lives,
        "failures": copy.failures,
        "next_at": when(copy.next_at) if not runs and copy.next_at > now else None,
        "reason": copy.reason or None,
        "heartbeat_at": when(copy.heartbeat_at),
        "progress": None if copy.progress is None else json.loads(copy.progress),
        "checkpoint": None if copy.checkpoint is None else json.loads(copy.checkpoint),
    }


def _state(
    copy: Copy, runs: Sequence[OpenRun], trigger: Trigger, now: int, *, beats: bool
) -> tuple[str, str]:
    if len(runs) > 1:
        before, after = runs[0].version, runs[-1].version
        leaving = "which leaves" if runs[0].leaves else "which goes on until it is well"
        return "replacing", f"version {after} beside version {before}, {leaving}"
    if runs:
        run = runs[0]
        if run.leaves:
            return "stopping", run.cancel or run.stop_reason or ""
        well = run.runs and (not beats or copy.run_id == run.run_id)
        trouble = f"after: {copy.reason}" if copy.failures else ""
        return ("running", "") if well else ("starting", trouble)
    if not copy.wanted:
        return "off", ""
    if trigger.state is not TriggerState.ACTIVE:
        return "paused", ""
    return _waiting(copy, now)


def _waiting(copy: Copy, now: int) -> tuple[str, str]:
    rest = max(0, max(copy.next_at, copy.hold_until) - now)
    soon = f"next start in {-(-rest // SECOND)} s" if rest else "next start now"
    if copy.failures >= LOOP:
        return "crash_loop", f"crash loop, {copy.reason}, {soon}"
    return "waiting", f"{copy.reason}, {soon}" if copy.reason else soon


def services(d: Deps) -> list[dict[str, Any]]:
    """Every service with its copies."""
    found: list[dict[str, Any]] = []
    for source in d.source_store.all():
        definition = d.definitions.get(source.definition)
        if not definition.service or source.trigger_state is TriggerState.DELETED:
            continue
        trigger = d.triggers.get(source.trigger)
        found.append({"trigger": source.trigger, "copies": copies_of(d, trigger)})
    return found
