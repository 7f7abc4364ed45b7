"""Finds the connectors that are installed: entry points of the group ``orch.connectors``.

A plugin declares, in its own ``pyproject.toml``::

    [project.entry-points."orch.connectors"]
    mysource = "my_package.connector:MyConnector"

What is wrong with one plugin stays with it: it is listed with its error, and everything else
loads.
"""

from __future__ import annotations

import difflib
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import pydantic

from connectors.abc import Connector

GROUP = "orch.connectors"
BUILT_IN = {
    "at": "connectors.cron:AtConnector",
    "cron": "connectors.cron:CronConnector",
    "directory": "connectors.file:DirectoryConnector",
    "file": "connectors.file:FileConnector",
    "job": "connectors.job:JobConnector",
    "kafka": "connectors.kafka:KafkaConnector",
    "kinesis": "connectors.kinesis:KinesisConnector",
    "mqtt": "connectors.mqtt:MqttConnector",
    "s3": "connectors.s3:S3Connector",
    "service": "connectors.service:ServiceKind",
    "sns": "connectors.sns:SnsConnector",
    "sqs": "connectors.sqs:SqsConnector",
    "table": "connectors.table:TableConnector",
    "webhook": "connectors.webhook:WebhookConnector",
}
_SOURCE_CHECKOUT = "source checkout"


class UnknownConnectorError(LookupError):
    """No usable connector of that kind. The message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One entry point that was found. Exactly one of ``connector`` and ``error`` is set."""

    kind: str
    origin: str
    """The distribution and its version (``orch-bacalhau 0.1.0``)."""
    target: str
    """What the entry point names, ``module:Class``."""
    connector: Connector | None = None
    error: str | None = None

    @property
    def version(self) -> str | None:
        return self.connector.version if self.connector else None

    @property
    def summary(self) -> str | None:
        return self.connector.summary if self.connector else None


class Registry:
    """The connectors of this process, by kind."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self._all = tuple(sorted(registrations, key=lambda r: (r.kind, r.origin, r.target)))
        self._usable = {r.kind: r.connector for r in self._all if r.connector is not None}

    @classmethod
    def load(cls, found: Iterable[EntryPoint] | None = None) -> Registry:
        """Imports every plugin once. Never raises because of one.

        ``found`` replaces what is installed. The built-in connectors are there in any case,
        also in a source checkout that was never installed.
        """
        points = list(entry_points(group=GROUP) if found is None else found)
        known = {(p.name, p.value) for p in points}
        points += [
            EntryPoint(name, value, GROUP)
            for name, value in BUILT_IN.items()
            if (name, value) not in known
        ]
        by_kind: dict[str, dict[str, EntryPoint]] = defaultdict(dict)
        for point in points:
            by_kind[point.name].setdefault(point.value, point)
        return cls(r for kind, named in by_kind.items() for r in _of_one_kind(kind, named))

    def __iter__(self) -> Iterator[Registration]:
        """All that was found, usable or not, ordered by kind."""
        return iter(self._all)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that can be used."""
        return tuple(self._usable)

    def get(self, kind: str) -> Connector:
        """The connector of a kind; :class:`UnknownConnectorError` when there is none to use."""
        connector = self._usable.get(kind)
        if connector is not None:
            return connector
        broken = [r for r in self._all if r.kind == kind]
        if broken:
            reasons = "; ".join(f"{r.origin}: {r.error}" for r in broken)
            raise UnknownConnectorError(f"the connector {kind!r} cannot be used: {reasons}")
        near = difflib.get_close_matches(kind, self._usable, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UnknownConnectorError(
            f"no connector {kind!r} is installed: {hint}installed are {', '.join(self._usable)}"
        )


def _of_one_kind(kind: str, named: dict[str, EntryPoint]) -> Iterator[Registration]:
    built_in = BUILT_IN.get(kind)
    for value, point in named.items():
        others = sorted(_origin(p) for v, p in named.items() if v != value)
        if not others or value == built_in:
            yield _load(point)
        else:
            yield Registration(
                kind=kind,
                origin=_origin(point),
                target=value,
                error=f"the kind {kind!r} is also given by {', '.join(others)}; uninstall one",
            )


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else _SOURCE_CHECKOUT


def _load(point: EntryPoint) -> Registration:
    origin = _origin(point)
    try:
        loaded: object = point.load()
        fault = _fault(point.name, loaded)
        if fault is None and inspect.isclass(loaded) and issubclass(loaded, Connector):
            return Registration(
                kind=point.name, origin=origin, target=point.value, connector=loaded()
            )
        error = f"{point.value} {fault}; ask its author to mend it, or uninstall it"
    except (Exception, SystemExit) as problem:  # noqa: BLE001 - a plugin's code may raise anything
        error = f"{point.value} cannot be loaded: {type(problem).__name__}: {problem}"
    return Registration(kind=point.name, origin=origin, target=point.value, error=error)


def _fault(kind: str, loaded: object) -> str | None:
    """What keeps a loaded object from being a connector of this kind, if anything does."""
    if not (inspect.isclass(loaded) and issubclass(loaded, Connector)):
        return "is not a subclass of connectors.abc.Connector"
    if inspect.isabstract(loaded):
        return f"does not define {', '.join(sorted(loaded.__abstractmethods__))}"
    for name in ("kind", "version", "summary", "default_overlap"):
        if not isinstance(getattr(loaded, name, None), str):
            return f"has no text in {name!r}"
    if loaded.kind != kind:
        return f"calls itself {loaded.kind!r}, its entry point {kind!r}"
    model: object = getattr(loaded, "settings_model", None)
    if not (inspect.isclass(model) and issubclass(model, pydantic.BaseModel)):
        return "has no pydantic model in 'settings_model'"
    if model.model_config.get("extra") != "forbid" or not model.model_config.get("frozen"):
        return "has a 'settings_model' that is not frozen or that takes unknown keys"
    return None
