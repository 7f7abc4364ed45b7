"""Renderer: a run's job, filled in and sealed. Done once per attempt, before anything is sent."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import specs
from orchestrator.domain import names
from orchestrator.domain.clock import HOUR, MINUTE, Clock, to_rfc3339
from orchestrator.domain.outcome import EXIT_LOST
from orchestrator.domain.states import Origin
from orchestrator.services.definitions import Definition, Definitions
from orchestrator.services.serving import NoPlan, Teller, Told
from orchestrator.store.claims import Claim
from orchestrator.store.errors import Missing
from orchestrator.store.seal import Seal
from orchestrator.store.streams import BROUGHT
from orchestrator.store.triggers import Triggers
from orchestrator.store.values import Run

_KEEP = 512  # compiled templates
_PLACED_WITHIN = HOUR  # of a run that a restore has found, by the source that it came from
_LIFE_GRACE = MINUTE  # a long-lived consumer leaves by its deadline; this is for those that don't


class Unrenderable(Exception):
    """A run whose job cannot be made: it is dead, with this reason.

    `exit_code` is what the task would have said, where that is known beforehand.
    """

    def __init__(self, reason: str, *, exit_code: int | None = None) -> None:
        self.exit_code = exit_code
        super().__init__(reason)


class Early(Exception):
    """A run whose job cannot be made yet, for this reason: it is looked at again a little later."""


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
        lost: Callable[[Run], str | None] = lambda _: None,
        avoid: Callable[[Run], str] = lambda _: "",
        teller: Teller | None = None,
    ) -> None:
        """`lost` says why the events of a run are gone from their source, if that is known;
        `avoid` names the node that its next attempt should leave out."""
        self._instance = instance
        self._clock = clock
        self._definitions = definitions
        self._triggers = triggers
        self._seal = seal
        self._secrets = secrets
        self._known_paths = known_paths
        self._max_spec_bytes = max_spec_bytes
        self._lost = lost
        self._avoid = avoid
        self._teller = teller
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[str, str], specs.Template] = OrderedDict()

    def render(self, run: Run) -> Claim:
        """Make the claim for a run's next attempt. Raises Unrenderable, or Early."""
        try:
            definition = self._definitions.get(run.definition)
            template = self._template(definition)
        except (KeyError, Missing, ValueError) as error:
            raise Unrenderable(f"the trigger's definition cannot be used: {error}") from error
        gone = self._lost(run) if definition.stream else None
        if gone is not None:
            raise Unrenderable(gone, exit_code=EXIT_LOST)
        if definition.stream and run.origin is Origin.RESTORED and not run.data:
            waited = self._clock.now() - run.created_at
            if run.range_start is not None and run.ordinal is None and waited < _PLACED_WITHIN:
                raise Early(
                    "found on the cluster after a restore: tried again once its source has been "
                    "read again, which says what its job is given"
                )
            raise Unrenderable(
                "this run was found on the cluster after a restore, and what its job was given is "
                "not known: set the checkpoint back to read its events again, and discard it"
            )
        number = run.attempts + 1
        policies = definition.policies
        told = self._told(run, definition, number)
        timeout = policies.timeout if run.life_us is None else run.life_us + _LIFE_GRACE
        if told is not None:
            # Before it the keeper stops what does not leave: the cluster would begin it anew.
            timeout += policies.stop_grace
        total = policies.queue_timeout + timeout
        name = names.job_name(
            instance=self._instance,
            trigger=run.trigger_name,
            trigger_uid=run.trigger_uid,
            key=run.key,
            attempt=number,
        )
        deadline = to_rfc3339(self._clock.now() + (run.life_us or total))
        due = to_rfc3339(run.due_at)
        try:
            rendered = template.render(
                values(run, number, deadline, told) | {"secret": self._secrets},
                name=name,
                labels=names.labels(instance=self._instance, run=run.id, attempt=number),
                env={
                    "ORCH_TRIGGER": run.trigger_name,
                    "ORCH_RUN_ID": run.id,
                    "ORCH_ATTEMPT": str(number),
                    "ORCH_DEADLINE": deadline,
                    "ORCH_FIRING_KEY": run.key,
                    "ORCH_FIRING_TIME": due,
                    **({} if told is None else told.env),
                },
                timeouts=(timeout, total),
                inputs=_inputs(run),
                avoid_node="" if template.placed else self._avoid(run),
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
            execution_us=timeout,
            total_us=total,
            grace_us=policies.stop_grace,
            lease_us=None if told is None else told.lease_us,
        )

    def _told(self, run: Run, definition: Definition, attempt: int) -> Told | None:
        """What a service's life gets beside what every run has. Raises Unrenderable."""
        if not definition.service or self._teller is None:
            return None
        try:
            return self._teller.tell(run, definition, attempt)
        except NoPlan as error:
            raise Unrenderable(str(error)) from error

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


def _inputs(run: Run) -> list[dict[str, Any]]:
    """Input sources that the run has brought along. Raises Unrenderable if they are gone."""
    inputs: list[dict[str, Any]] = json.loads(run.payload) if run.payload else []
    if run.data.get(BROUGHT, 0) != len(inputs):
        raise Unrenderable(
            "the batch that was stored for this run has been removed after `keep`: set the "
            "checkpoint back to read it again from its source, if that still has it"
        )
    return inputs


def _resumed(run: Run) -> dict[str, Any]:
    """The source's own values; a long-lived consumer begins where its progress ends."""
    data = {key: value for key, value in run.data.items() if key != BROUGHT}
    if run.life_us is None or run.range_end is None:
        return data
    root = next(iter(data))
    begun = data[root]["start"]
    position = int(run.range_end) if isinstance(begun, int) else run.range_end
    return {**data, root: {**data[root], "start": position}}


def values(run: Run, attempt: int, deadline: str, told: Told | None = None) -> dict[str, Any]:
    """What `${{ }}` may name, secrets apart; the source's own values stand beside ours."""
    named = {
        **_resumed(run),
        "trigger": {"name": run.trigger_name, "uid": run.trigger_uid},
        "firing": {"key": run.key, "time": to_rfc3339(run.due_at)},
        "run": {"id": run.id, "attempt": attempt, "deadline": deadline},
    }
    if told is not None:
        named["service"] = told.service
        named["run"]["token"] = told.token
    return named
