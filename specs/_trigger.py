"""Trigger files and plain Bacalhau jobs, read into one value.

A trigger file has the connector's own settings and the policies side by side at its top level;
what is not a policy must be a setting of that connector.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from specs._document import Document
from specs._policies import Policies
from specs._policy_reader import POLICY_KEYS, PolicyReader, policies_to_json
from specs._problems import Path, Problem, SpecError, collect, nearest, quoted, suggestion
from specs._schema import JOB
from specs._shapes import describe, is_mapping
from specs._timeouts import merge_timeouts

API_VERSION = "orch/v1"
MAX_NAME = 63

NAME_PATTERN = r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
"""What a trigger's name looks like, as JSON Schema and Python read it."""

_NAME = re.compile(NAME_PATTERN)
_OWN_KEYS = ("apiVersion", "kind", "name", "description", "labels", "job")
_JOB_MARKS = ("Tasks", "Type", "Engine")

Settings = Callable[[str], Collection[str] | None]
"""Gives the names of a connector's settings; None where no such connector exists."""

DefaultJob = Callable[[str, Mapping[str, Any]], tuple[Document, FilePath] | None]
"""Gives the default job of a connector with its settings (below `job` in a document), and the
directory it stands in."""


@dataclass(frozen=True, kw_only=True)
class TriggerFile:
    """A trigger as its file states it; change it by `dataclasses.replace`.

    `settings` are the connector's, as written. `job` is the Bacalhau job with its `${{ }}`; it
    stands at `job_path` in `document`, and local files in it are relative to `job_dir` where that
    is set (a job of the package's own library).
    """

    kind: str
    name: str
    settings: Mapping[str, Any]
    policies: Policies
    job: Mapping[str, Any]
    document: Document = field(compare=False, repr=False)
    head: Document | None = field(default=None, compare=False, repr=False)
    job_path: Path = field(default=("job",), compare=False, repr=False)
    job_dir: FilePath | None = field(default=None, compare=False, repr=False)
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    def problem(self, path: Path, message: str, remedy: str) -> Problem:
        """Make a problem that points at a setting or policy; `head` is where those stand."""
        return (self.head or self.document).problem(path, message, remedy)

    def to_json(self) -> dict[str, Any]:
        """Return the trigger as a file would state it: defaults left out, durations as `5m`."""
        result: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "name": self.name,
            **self.settings,
            **policies_to_json(self.policies),
        }
        if self.description:
            result["description"] = self.description
        if self.labels:
            result["labels"] = dict(self.labels)
        result["job"] = self.job
        return result

    @property
    def content_hash(self) -> str:
        """SHA-256 in hex over what the trigger says; equal files have equal hashes."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def is_name(value: object) -> bool:
    """Whether this can be a trigger's name."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def is_job(document: Document) -> bool:
    """Whether the document is a plain Bacalhau job rather than a trigger file."""
    data = document.data
    if "apiVersion" in data or "kind" in data or "job" in data:
        return False
    return any(mark in data for mark in _JOB_MARKS)


def parse_trigger(
    document: Document,
    *,
    settings: Settings,
    kinds: Collection[str] = (),
    default_job: DefaultJob | None = None,
) -> TriggerFile:
    """Read a trigger file. Raises SpecError with everything that is wrong outside the job.

    `kinds` are the connectors there are, for the message about an unknown one. A file without a
    job gets the one that `default_job` gives for its kind (`specs.default_job`). The job itself
    is checked by `prepare`.
    """
    if is_job(document):
        remedy = "Add apiVersion: orch/v1, kind and name, and move the job below job:"
        raise SpecError(
            [document.problem((), "this is a plain Bacalhau job, not a trigger file", remedy)]
        )
    reader = _Reader(document, settings, tuple(kinds))
    if "job" in document.data:
        source = _JobSource(document.data["job"], document, ("job",), None)
        return reader.read(lambda kind, settings: source)
    return reader.read(lambda kind, settings: _default(default_job, kind, settings))


def wrap_job(
    document: Document,
    *,
    kind: str,
    name: str,
    values: Mapping[str, Any],
    settings: Settings,
    kinds: Collection[str] = (),
) -> TriggerFile:
    """Make a trigger of a plain Bacalhau job. Raises SpecError.

    `values` are the connector's settings and any policies, as a trigger file would hold them.
    """
    if not is_job(document):
        remedy = "Give a Bacalhau job with Type and Tasks, or a trigger file with apiVersion"
        raise SpecError([document.problem((), "this is not a Bacalhau job", remedy)])
    top = {**values, "apiVersion": API_VERSION, "kind": kind, "name": name, "job": document.data}
    reader = _Reader(Document(data=top, file="command line"), settings, tuple(kinds))
    source = _JobSource(document.data, document, (), None)
    return reader.read(lambda kind, settings: source)


@dataclass(frozen=True)
class _JobSource:
    job: object
    document: Document
    path: Path
    directory: FilePath | None
    only: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The settings that it works with, where others do not."""


def _default(
    default_job: DefaultJob | None, kind: str, settings: Mapping[str, Any]
) -> _JobSource | None:
    found = default_job(kind, settings) if default_job is not None and kind else None
    if found is None:
        return None
    document, directory = found
    only = document.data.get("only", {})
    return _JobSource(document.data["job"], document, ("job",), directory, only)


class _Reader:
    """Reads the parts of a trigger file and collects what is wrong with them."""

    def __init__(self, document: Document, settings: Settings, kinds: tuple[str, ...]) -> None:
        self.document = document
        self.data = document.data
        self.lookup = settings
        self.kinds = kinds
        self.problems: list[Problem] = []

    def add(self, path: Path, message: str, remedy: str) -> None:
        collect(self.problems, self.document.problem(path, message, remedy))

    def read(self, find_job: Callable[[str, Mapping[str, Any]], _JobSource | None]) -> TriggerFile:
        """Read all of it. Raises SpecError with every problem."""
        self.version()
        kind = self.kind()
        name = self.name()
        settings = self.settings_of(kind)
        policies = PolicyReader(self.document, self.problems).read()
        description = self.description()
        labels = self.labels()
        source = find_job(kind, settings)
        if source is None:
            self.add((), "job is missing", "Add job: with a Bacalhau job below it")
            raise SpecError(self.problems)
        for key, value in source.only.items():
            given = settings.get(key, value)
            if given != value:
                message = f"the default job does not work with {key} {quoted(given)}"
                self.add((key,), message, f"Write {key}: {value}, or add job: with one that does")
        job = source.job
        if not is_mapping(job):
            message = f"must be a Bacalhau job, not {describe(job)}"
            self.add(source.path, message, "Write Type, Tasks and the rest of the job below it")
            raise SpecError(self.problems)

        def report(path: Path, message: str, remedy: str) -> None:
            place = source.document.problem((*source.path, *path), message, remedy)
            collect(self.problems, place)

        policies = merge_timeouts(policies, job, self.data.keys(), report)
        if self.problems:
            raise SpecError(self.problems)
        return TriggerFile(
            kind=kind,
            name=name,
            settings=settings,
            policies=policies,
            job=job,
            document=source.document,
            head=self.document,
            job_path=source.path,
            job_dir=source.directory,
            description=description,
            labels=labels,
        )

    def version(self) -> None:
        given = self.data.get("apiVersion")
        if given == API_VERSION:
            return
        if "apiVersion" not in self.data:
            self.add((), "apiVersion is missing", f"Add apiVersion: {API_VERSION}")
        else:
            message = f"unknown version {quoted(given)}"
            self.add(("apiVersion",), message, f"Write apiVersion: {API_VERSION}")

    def kind(self) -> str:
        given = self.data.get("kind")
        if "kind" not in self.data:
            known = ", ".join(sorted(self.kinds)) or "cron"
            self.add((), "kind is missing", f"Add kind: with a connector's name ({known})")
        elif not isinstance(given, str):
            self.add(("kind",), f"must be text, not {describe(given)}", "Write kind: cron")
        elif self.lookup(given) is None:
            message = f"there is no connector {quoted(given)}"
            self.add(("kind",), message, suggestion(given, self.kinds))
        else:
            return given
        return ""

    def name(self) -> str:
        given = self.data.get("name")
        if "name" not in self.data:
            self.add((), "name is missing", "Add name: with a name such as nightly-report")
        elif not isinstance(given, str) or not is_name(given):
            message = f"{quoted(given)} cannot be a trigger's name"
            remedy = (
                f"Use 1 to {MAX_NAME} letters, digits, dots, dashes and underscores, "
                "a letter or digit first and last"
            )
            self.add(("name",), message, remedy)
        else:
            return given
        return ""

    def settings_of(self, kind: str) -> dict[str, Any]:
        names = self.lookup(kind) if kind else None
        result: dict[str, Any] = {}
        for key, value in self.data.items():
            if key in POLICY_KEYS or key in _OWN_KEYS:
                continue
            if names is None:
                continue
            if key in names:
                result[key] = value
            else:
                self.unknown(key, names)
        return result

    def unknown(self, key: str, names: Collection[str]) -> None:
        known = (*names, *POLICY_KEYS, *_OWN_KEYS)
        remedy = suggestion(key, known)
        if key in JOB.keys and nearest(key, _OWN_KEYS) is None:
            remedy = "It is a key of the job: move it below job:"
        self.add((key,), f"unknown key {quoted(key)}", remedy)

    def description(self) -> str:
        given = self.data.get("description", "")
        if isinstance(given, str) and len(given) <= 4096:
            return given
        self.add(("description",), "must be text of at most 4,096 characters", "Shorten it")
        return ""

    def labels(self) -> dict[str, str]:
        given = self.data.get("labels", {})
        result: dict[str, str] = {}
        if not is_mapping(given):
            message = f"must be a mapping, not {describe(given)}"
            self.add(("labels",), message, "Write NAME: value below it")
            return result
        for key, value in given.items():
            if not isinstance(value, str):
                message = f"must be text, not {describe(value)}"
                self.add(("labels", key), message, "Put the value in quotes")
            elif key.startswith("orch."):
                message = "labels that start with orch. are the orchestrator's own"
                self.add(("labels", key), message, "Choose another prefix")
            else:
                result[key] = value
        return result
