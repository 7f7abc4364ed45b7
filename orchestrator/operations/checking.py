"""Checks trigger files against the connectors that are installed. Needs no store."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import specs
from connectors.abc import (
    Connector,
    DemandConnector,
    Schedule,
    SettingsError,
    SourceConnector,
    TimeConnector,
)
from connectors.queues import QueueConnector
from connectors.registry import Registry, UnknownConnectorError
from connectors.services import ServiceConnector

_KEEP_JOBS = 256
_KEEP_CHARS = 64 * 1024  # of each
_KEEP_SHAPES = 256


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """A trigger file without a fault. `job` is whole: the modules it names are read in."""

    file: specs.TriggerFile
    job: Mapping[str, Any]
    job_text: str  # the same as canonical JSON
    connector: TimeConnector | SourceConnector | DemandConnector
    schedule: Schedule | None  # of a time connector

    def stated(self) -> dict[str, Any]:
        """The trigger as the API shows it back: what `apply` sends and `diff` compares."""
        return {**self.file.to_json(), "job": self.job}


def settings_of(registry: Registry, kind: str) -> list[str] | None:
    """The names of a connector's settings; None where there is no such connector."""
    try:
        return list(registry.get(kind).settings_model.model_fields)
    except UnknownConnectorError:
        return None


def known_paths(registry: Registry, kind: str) -> specs.KnownPaths:
    """What `${{ }}` may name in a job of this kind."""
    return specs.BASE_PATHS.extended(outside=tuple(registry.get(kind).value_paths))


class FileChecker:
    """Reads and checks trigger files."""

    def __init__(self, registry: Registry, *, max_spec_bytes: int = specs.MAX_SPEC) -> None:
        self._registry = registry
        self._max_spec_bytes = max_spec_bytes
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Hashable, tuple[Mapping[str, Any], str]] = OrderedDict()

    def parse_like(
        self, document: specs.Document, seen: dict[str, specs.TriggerFile]
    ) -> specs.TriggerFile:
        """Read one of many trigger files. Raises SpecError.

        Those that differ in names and settings alone are read once; `seen` is what the
        calls for one request or directory share.
        """
        data = document.data
        kind = data.get("kind")
        known = settings_of(self._registry, kind) if isinstance(kind, str) else None
        if known is None or not specs.is_name(data.get("name")):
            return self.parse(document)
        settings = {key: value for key, value in data.items() if key in known}
        # Where there is no job, the library has one, and the settings say which.
        kept = set(known) if "job" in data else set[str]()
        shape = _canonical({k: v for k, v in data.items() if k != "name" and k not in kept})
        like = seen.get(shape)
        if like is None:
            if len(seen) >= _KEEP_SHAPES:
                seen.clear()
            seen[shape] = self.parse(document)
            return seen[shape]
        of_job = document if like.document is like.head else like.document
        return replace(like, name=data["name"], settings=settings, document=of_job, head=document)

    def parse(self, document: specs.Document) -> specs.TriggerFile:
        """Read a trigger file. Raises SpecError."""
        return specs.parse_trigger(
            document,
            settings=lambda kind: settings_of(self._registry, kind),
            kinds=self._registry.kinds,
            default_job=specs.default_job,
        )

    def wrap(
        self, document: specs.Document, *, kind: str, name: str, values: Mapping[str, Any]
    ) -> specs.TriggerFile:
        """Make a trigger of a plain Bacalhau job. Raises SpecError."""
        return specs.wrap_job(
            document,
            kind=kind,
            name=name,
            values=values,
            settings=lambda kind: settings_of(self._registry, kind),
            kinds=self._registry.kinds,
        )

    def check_file(self, file: specs.TriggerFile, *, base_dir: Path | None) -> CheckedFile:
        """Check everything. Raises SpecError with all problems."""
        problems: list[specs.Problem] = []
        connector = self._registry.get(file.kind)
        schedule: Schedule | None = None
        if not isinstance(connector, TimeConnector | SourceConnector | DemandConnector):
            raise TypeError(f"connector {file.kind} has neither due times nor a source")
        try:
            if isinstance(connector, TimeConnector):
                schedule = connector.schedule(file.settings)
            elif isinstance(connector, DemandConnector):
                connector.demand(file.settings)
            else:
                connector.check(file.settings)
        except SettingsError as error:
            problems += [file.problem(path_of(p.path), p.message, p.remedy) for p in error.problems]
        problems += _policy_problems(file, connector)
        job: Mapping[str, Any] = {}
        text = ""
        try:
            job, text = self._prepare(file, base_dir)
        except specs.SpecError as error:
            problems += error.problems
        if problems:
            raise specs.SpecError(problems)
        return CheckedFile(
            file=file, job=job, job_text=text, connector=connector, schedule=schedule
        )

    def _prepare(
        self, file: specs.TriggerFile, base_dir: Path | None
    ) -> tuple[Mapping[str, Any], str]:
        """The job, whole, and as canonical JSON. Raises SpecError.

        The thousands of triggers of one request or directory mostly share a job: it is checked
        once. One that names files of `base_dir` is not kept: they change.
        """
        given = _canonical(file.job)
        same = (file.kind, file.policies, file.job_dir, given)
        with self._lock:
            found = self._jobs.get(same)
        if found is not None:
            return found
        job = specs.prepare(
            file,
            base_dir=base_dir,
            known=known_paths(self._registry, file.kind),
            max_bytes=self._max_spec_bytes,
        )
        prepared = job, _canonical(job)
        lasts = base_dir is None or file.job_dir is not None or prepared[1] == given
        if lasts and len(prepared[1]) <= _KEEP_CHARS:
            with self._lock:
                self._jobs[same] = prepared
                if len(self._jobs) > _KEEP_JOBS:
                    self._jobs.popitem(last=False)
        return prepared


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """Policies that mean nothing for a family of sources, and what to say of them."""

    policies: frozenset[str]
    reason: str
    remedy: str


_OF_PARTITIONS = frozenset({"on_dead", "parallelism"})
_OF_TIME = frozenset({"overlap", "catch_up", "catch_up_limit"})
_ON_TIME = Foreign(
    policies=_OF_PARTITIONS,
    reason="is for sources with partitions; kind {kind} has due times",
    remedy="Leave it out; `overlap` and `max_in_flight` say how runs stand beside each other",
)
_ON_STREAMS = Foreign(
    policies=_OF_TIME,
    reason="is for schedules; kind {kind} goes on from its checkpoints",
    remedy="Leave it out; `parallelism` says how many runs of a partition stand side by side",
)
_ON_QUEUES = Foreign(
    policies=_OF_TIME | _OF_PARTITIONS,
    reason="is for other sources; messages of kind {kind} have neither due times nor partitions",
    remedy="Leave it out; `max_in_flight` says how many runs stand side by side",
)
_ON_DEMAND = Foreign(
    policies=frozenset({"catch_up", "catch_up_limit"}) | _OF_PARTITIONS,
    reason="is for other sources; runs of kind {kind} are asked for one by one",
    remedy="Leave it out; `max_in_flight` says how many runs stand side by side",
)
_DROPPING = frozenset({"skip", "queue_one", "replace"})
_ON_SERVICES = Foreign(
    policies=_OF_TIME
    | _OF_PARTITIONS
    | {"retry", "timeout", "max_in_flight", "rate", "trip_after"},
    reason="is for work that ends; the copies of a {kind} always run",
    remedy="Leave it out; `copies`, `life` and `backoff` say how they run",
)


def foreign_to(connector: Connector) -> Foreign:
    """The policies that triggers of a kind do not have."""
    if isinstance(connector, TimeConnector):
        return _ON_TIME
    if isinstance(connector, ServiceConnector):
        return _ON_SERVICES
    if isinstance(connector, DemandConnector):
        return _ON_DEMAND
    return _ON_QUEUES if isinstance(connector, QueueConnector) else _ON_STREAMS


def _policy_problems(file: specs.TriggerFile, connector: Connector) -> list[specs.Problem]:
    """Policies that mean nothing for this kind of source."""
    default, foreign = specs.Policies(), foreign_to(connector)
    harmless = {"overlap": {None, connector.default_overlap}}
    problems: list[specs.Problem] = []
    for name in sorted(foreign.policies):
        given = getattr(file.policies, name)
        if given not in harmless.get(name, {getattr(default, name)}):
            reason = foreign.reason.format(kind=file.kind)
            problems.append(file.problem((name,), f"`{name}` {reason}", foreign.remedy))
    if isinstance(connector, DemandConnector) and file.policies.overlap in _DROPPING:
        message = f"`overlap: {file.policies.overlap}` would leave out what somebody has asked for"
        problems.append(file.problem(("overlap",), message, "Write queue, or leave it out"))
    return problems


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def path_of(text: str) -> tuple[str | int, ...]:
    """`at[3]` as the path of a problem."""
    parts = filter(None, text.replace("]", "").replace("[", ".").split("."))
    return tuple(int(part) if part.isdecimal() else part for part in parts)
