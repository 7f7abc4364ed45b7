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
from connectors.abc import Schedule, SettingsError, TimeConnector
from connectors.registry import Registry, UnknownConnectorError
from connectors.streams import StreamConnector

_KEEP_JOBS = 256
_KEEP_CHARS = 64 * 1024  # of each
_KEEP_SHAPES = 256


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """A trigger file without a fault. `job` is whole: the modules it names are read in."""

    file: specs.TriggerFile
    job: Mapping[str, Any]
    job_text: str  # the same as canonical JSON
    connector: TimeConnector | StreamConnector
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
        if not isinstance(connector, TimeConnector | StreamConnector):
            raise TypeError(f"connector {file.kind} has neither due times nor partitions")
        try:
            if isinstance(connector, TimeConnector):
                schedule = connector.schedule(file.settings)
            else:
                connector.check(file.settings)
        except SettingsError as error:
            problems += [file.problem(_path(p.path), p.message, p.remedy) for p in error.problems]
        by_time = isinstance(connector, TimeConnector)
        problems += _policy_problems(file, by_time=by_time)
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


def _policy_problems(file: specs.TriggerFile, *, by_time: bool) -> list[specs.Problem]:
    """Policies that mean nothing for this kind of source."""
    stated, kind = file.policies, file.kind
    problems: list[specs.Problem] = []
    if by_time:
        wrong = {
            "on_dead": stated.on_dead is not None,
            "parallelism": stated.parallelism != 1,
        }
        reason = f"is for sources with partitions; kind {kind} has due times"
        remedy = "Leave it out; `overlap` and `max_in_flight` say how runs stand beside each other"
    else:
        wrong = {
            "overlap": stated.overlap not in (None, "queue"),
            "catch_up": stated.catch_up is not None,
            "catch_up_limit": stated.catch_up_limit is not None,
        }
        reason = f"is for schedules; kind {kind} goes on from its checkpoints"
        remedy = "Leave it out; `parallelism` says how many runs of a partition stand side by side"
    for name, given in wrong.items():
        if given:
            problems.append(file.problem((name,), f"`{name}` {reason}", remedy))
    return problems


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _path(text: str) -> tuple[str | int, ...]:
    """`at[3]` as the path of a problem."""
    parts = filter(None, text.replace("]", "").replace("[", ".").split("."))
    return tuple(int(part) if part.isdecimal() else part for part in parts)
