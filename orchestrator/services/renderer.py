"""Renderer: a run's job, filled in and sealed. Done once per attempt, before anything is sent."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import specs
from orchestrator.domain import names
from orchestrator.domain.clock import Clock, to_rfc3339
from orchestrator.services.definitions import Definition, Definitions
from orchestrator.store.claims import Claim
from orchestrator.store.errors import Missing
from orchestrator.store.seal import Seal
from orchestrator.store.triggers import Triggers
from orchestrator.store.values import Run

_KEEP = 512  # compiled templates


class Unrenderable(Exception):
    """A run whose job cannot be made: it is dead, with this reason."""


class Renderer:
    """Thread-safe."""

    def __init__(
        self,
        *,
        instance: str,
        clock: Clock,
        definitions: Definitions,
        triggers: Triggers,
        seal: Seal,
        secrets: Mapping[str, str],
        known_paths: Mapping[str, specs.KnownPaths],
        max_spec_bytes: int,
    ) -> None:
        self._instance = instance
        self._clock = clock
        self._definitions = definitions
        self._triggers = triggers
        self._seal = seal
        self._secrets = secrets
        self._known_paths = known_paths
        self._max_spec_bytes = max_spec_bytes
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[str, str], specs.Template] = OrderedDict()

    def render(self, run: Run) -> Claim:
        """Make the claim for a run's next attempt. Raises Unrenderable."""
        try:
            definition = self._definitions.get(run.definition)
            template = self._template(definition)
        except (KeyError, Missing, ValueError) as error:
            raise Unrenderable(f"the trigger's definition cannot be used: {error}") from error
        number = run.attempts + 1
        policies = definition.policies
        total = policies.queue_timeout + policies.timeout
        name = names.job_name(
            instance=self._instance,
            trigger=run.trigger_name,
            trigger_uid=run.trigger_uid,
            key=run.key,
            attempt=number,
        )
        deadline = to_rfc3339(self._clock.now() + total)
        due = to_rfc3339(run.due_at)
        try:
            rendered = template.render(
                values(run, number, deadline) | {"secret": self._secrets},
                name=name,
                labels=names.labels(instance=self._instance, run=run.id, attempt=number),
                env={
                    "ORCH_TRIGGER": run.trigger_name,
                    "ORCH_RUN_ID": run.id,
                    "ORCH_ATTEMPT": str(number),
                    "ORCH_DEADLINE": deadline,
                    "ORCH_FIRING_KEY": run.key,
                    "ORCH_FIRING_TIME": due,
                },
                timeouts=(policies.timeout, total),
                max_bytes=self._max_spec_bytes,
            )
        except specs.RenderError as error:
            raise Unrenderable(error.reason) from error
        return Claim(
            run=run,
            job_name=name,
            namespace=rendered.namespace,
            spec_hash=rendered.spec_hash,
            body=self._seal.seal(rendered.body),
            execution_us=policies.timeout,
            total_us=total,
            grace_us=policies.stop_grace,
        )

    def _template(self, definition: Definition) -> specs.Template:
        key = (definition.kind, definition.template)
        with self._lock:
            found = self._compiled.get(key)
            if found is not None:
                self._compiled.move_to_end(key)
                return found
        known = self._known_paths.get(definition.kind, specs.BASE_PATHS)
        compiled = specs.compile_template(self._triggers.template(definition.template), known=known)
        with self._lock:
            self._compiled[key] = compiled
            if len(self._compiled) > _KEEP:
                self._compiled.popitem(last=False)
        return compiled


def values(run: Run, attempt: int, deadline: str) -> dict[str, Any]:
    """What `${{ }}` may name, secrets apart; the source's own values stand beside ours."""
    return {
        **run.data,
        "trigger": {"name": run.trigger_name, "uid": run.trigger_uid},
        "firing": {"key": run.key, "time": to_rfc3339(run.due_at)},
        "run": {"id": run.id, "attempt": attempt, "deadline": deadline},
    }
