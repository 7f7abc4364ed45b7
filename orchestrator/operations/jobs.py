"""Jobs over HTTP: what a program asks for becomes a run of a template, or is refused.

A template is a trigger of a kind whose runs are asked for one by one. A job that comes whole is
checked as a trigger file's is, and runs under the policies of the trigger `jobs`, which is made
when it is first needed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import specs
from connectors.abc import JSON, DemandConnector, Problem, SettingsError
from connectors.registry import Registry
from connectors.times import HORIZON
from orchestrator.domain.clock import MINUTE, Clock, to_rfc3339
from orchestrator.operations.registration import Registrar
from orchestrator.services.definitions import Definition, Definitions, to_body
from orchestrator.store.database import canonical
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.jobs import Jobs, NewJob, check_active
from orchestrator.store.own import CALLBACK, HIDDEN
from orchestrator.store.triggers import Triggers
from orchestrator.store.values import Trigger

WHOLE = "jobs"  # the trigger whose policies hold for jobs that come whole
_KIND = "job"
_ACTOR = "jobs"  # in the trail, for the trigger that nobody registered
MAX_VALUES = 256 * 1024
"""Characters of parameters and input, as JSON."""
_LATE = MINUTE  # a `run_at` that is over by less is meant to be now


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a program asks for. Instants in microseconds."""

    template: str | None = None
    job: Mapping[str, JSON] | None = None
    parameters: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    values: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    """`input`, where there is one."""
    run_at: int | None = None
    priority: int | None = None
    callback_url: str | None = None
    client_key: str | None = None
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class _Template:
    trigger: Trigger
    definition: Definition
    connector: DemandConnector


class JobDesk:
    """Takes jobs in."""

    def __init__(
        self,
        *,
        registry: Registry,
        definitions: Definitions,
        triggers: Triggers,
        registrar: Registrar,
        jobs: Jobs,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._definitions = definitions
        self._triggers = triggers
        self._registrar = registrar
        self._jobs = jobs
        self._clock = clock

    def take(self, asked: Asked, actor: str) -> str:
        """Take in one job; returns the id of its run.

        Raises SettingsError and SpecError for what is wrong with it, Conflict for a template that
        is paused and for a client's key that came with another request.
        """
        if asked.client_key is not None:
            # First of all: what has changed since then does not matter to a request sent again.
            known = self._jobs.known(asked.client_key, asked.digest)
            if known is not None:
                return known
        return self._jobs.take_in([self.plan(asked, {})], actor)[0]

    def plan(self, asked: Asked, seen: dict[str | None, Any]) -> NewJob:
        """What would be taken in; `seen` is what the jobs of one request share."""
        problems = [*self._misfits(asked)]
        if problems:
            raise SettingsError(problems)
        name = WHOLE if asked.job is not None else asked.template
        found = seen.get(name)
        if found is None:
            found = seen[name] = self._template(name, whole=asked.job is not None)
        template: _Template = found
        check_active(template.trigger, template.trigger.state)
        if asked.job is not None:
            return self._whole(asked, template)
        data = self._data(asked, template)
        return self._new(asked, template, template.trigger.definition, data)

    # -- what is asked for ------------------------------------------------------------------

    def _misfits(self, asked: Asked) -> Sequence[Problem]:
        problems: list[Problem] = []
        if asked.job is not None:
            for name in ("template", "parameters", *asked.values):
                if getattr(asked, name, None) or name in asked.values:
                    message = f"a whole job has no {name}"
                    problems.append(Problem(name, message, "write the values into the job"))
        if asked.run_at is not None:
            now = self._clock.now()
            if asked.run_at < now - _LATE:
                message = f"{to_rfc3339(asked.run_at)} is over: it is {to_rfc3339(now)}"
                problems.append(Problem("run_at", message, "give a time to come, or none for now"))
            elif asked.run_at >= HORIZON:
                problems.append(Problem("run_at", "is after 8999", "give a time before"))
        if asked.callback_url is not None and not specs.is_web_address(asked.callback_url):
            message = "is not an http or https address"
            remedy = "write it as https://host/path, without a password"
            problems.append(Problem("callback_url", message, remedy))
        size = len(canonical({"parameters": asked.parameters, **asked.values}))
        if size > MAX_VALUES:
            message = f"parameters and input have {size:,} characters"
            remedy = f"send at most {MAX_VALUES:,}; put larger data where the job can read it"
            problems.append(Problem("", message, remedy))
        return problems

    def _template(self, name: str | None, *, whole: bool) -> _Template:
        if name is None:
            trigger = self._triggers.default()
            if trigger is None:
                remedy = "send `template` or `job`; or register a template with `default: true`"
                raise SettingsError([Problem("template", "is missing", remedy)])
        else:
            trigger = self._holder() if whole else self._named(name)
        connector = self._registry.get(trigger.kind)
        if not isinstance(connector, DemandConnector):
            if whole:
                raise Conflict(
                    f"a trigger of kind {trigger.kind} is called {WHOLE!r}, which is the name for "
                    "jobs that come whole: delete it, or register a template instead"
                )
            message = f"{trigger.name!r} is of kind {trigger.kind}: its runs come from its source"
            remedy = "name a trigger of kind job; `orch triggers fire` makes a run of another"
            raise SettingsError([Problem("template", message, remedy)])
        definition = self._definitions.get(trigger.definition)
        return _Template(trigger=trigger, definition=definition, connector=connector)

    def _named(self, name: str) -> Trigger:
        try:
            return self._triggers.get(name)
        except Missing as error:
            remedy = "`orch triggers list` names those that there are"
            raise SettingsError(
                [Problem("template", f"there is no template {name[:100]!r}", remedy)]
            ) from error

    def _holder(self) -> Trigger:
        """The trigger under which whole jobs run."""
        for last in (False, True):
            try:
                return self._triggers.get(WHOLE)
            except Missing:
                if last:
                    raise
            own = {"apiVersion": specs.API_VERSION, "kind": _KIND, "name": WHOLE}
            checker = self._registrar.checker
            description = "Jobs that came whole: its policies hold for all of them"
            document = specs.from_data({**own, "description": description}, file="jobs")
            try:
                self._registrar.register(
                    [checker.check(checker.parse(document), base_dir=None)], _ACTOR
                )
            except Conflict:
                continue  # made meanwhile
        raise Missing(f"there is no trigger {WHOLE!r}")

    # -- what it becomes --------------------------------------------------------------------

    def _data(self, asked: Asked, template: _Template) -> dict[str, Any]:
        settings = template.definition.settings
        try:
            parameters = template.connector.parameters(settings, asked.parameters)
        except SettingsError as error:
            raise SettingsError(
                p._replace(path=f"parameters.{p.path}" if p.path else "parameters")
                for p in error.problems
            ) from error
        data: dict[str, Any] = {**asked.values}
        if parameters:
            data["parameters"] = parameters
        hidden = sorted(template.connector.demand(settings).hidden & parameters.keys())
        return {**data, HIDDEN: hidden} if hidden else data

    def _whole(self, asked: Asked, template: _Template) -> NewJob:
        definition = template.definition
        policies = specs.policies_to_json(definition.policies)
        document = specs.from_data(
            {
                "apiVersion": specs.API_VERSION,
                "kind": definition.kind,
                "name": WHOLE,
                **{k: v for k, v in policies.items() if k != "paused"},
                "job": asked.job,
            },
            file="body",
        )
        checker = self._registrar.checker
        checked = checker.check(checker.parse(document), base_dir=None)
        # A template of its own for each pair, so that both go when no run has them any more.
        hashed = _digest(f"whole\0{template.trigger.definition}\0{checked.job}")
        body = canonical(to_body(replace(definition, template=hashed)))
        new = self._new(asked, template, _digest(body), {})
        return replace(
            new, whole=True, definitions={_digest(body): body}, templates={hashed: checked.job}
        )

    def _new(
        self, asked: Asked, template: _Template, definition: str, data: dict[str, Any]
    ) -> NewJob:
        if asked.callback_url is not None:
            data = {**data, CALLBACK: asked.callback_url}
        how = template.definition.admittance
        if asked.client_key is None:
            key = f"job-{secrets.token_hex(12)}"
        else:
            key = f"job-{hashlib.sha256(asked.client_key.encode()).hexdigest()[:32]}"
        return NewJob(
            trigger=template.trigger,
            definition=definition,
            how=how,
            key=key,
            data=data,
            due_at=asked.run_at,
            priority=how.priority if asked.priority is None else asked.priority,
            client_key=asked.client_key,
            digest=asked.digest,
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
