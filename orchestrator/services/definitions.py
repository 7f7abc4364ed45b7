"""Definitions: what a trigger's version says, read once and kept for as long as it is used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import specs
from orchestrator.domain.catchup import DEFAULT_CATCH_UP, CatchUp
from orchestrator.domain.overlap import Overlap, capacity
from orchestrator.domain.retry import RetryPolicy
from orchestrator.store.inbox import LINE
from orchestrator.store.intake import Admittance
from orchestrator.store.streams import How
from orchestrator.store.triggers import Triggers

_KEEP = 4096


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A trigger's version without its name."""

    kind: str
    settings: Mapping[str, Any]
    policies: specs.Policies
    overlap: Overlap
    template: str  # hash
    stream: bool = False  # its events lie in ordered partitions of a source outside
    queue: bool = False  # its events have no order, and are in the inbox
    service: bool = False  # it has no events: copies of its job always run
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def room(self) -> int | None:
        """How many runs of a partition may be out of the line at once."""
        if self.queue:
            return self.policies.max_in_flight  # without order, nothing else keeps them apart
        return capacity(self.overlap, self.policies.max_in_flight, self.policies.parallelism)

    @cached_property
    def admittance(self) -> Admittance:
        """How firings are taken in."""
        return Admittance(
            overlap=self.overlap,
            priority=self.policies.priority,
            max_in_flight=self.policies.max_in_flight,
            parallelism=self.policies.parallelism,
            rate=self.policies.rate,
        )

    def room_in(self, partition: str) -> int | None:
        """The same of one partition: a group of a source without order has its own order."""
        return 1 if self.queue and partition != LINE else self.room

    @property
    def outside(self) -> bool:
        """Whether its events come from a source outside."""
        return self.stream or self.queue or self.service

    @property
    def blocks(self) -> bool:
        """Whether a dead run of a stream holds up those behind it."""
        return self.stream and self.policies.on_dead != "skip"

    @property
    def how(self) -> How:
        """How runs of a stream are let go."""
        return How(
            room=self.room,
            rate=self.policies.rate,
            blocks=self.blocks,
            priority=self.policies.priority,
        )

    @cached_property
    def catch_up(self) -> CatchUp:
        """How missed due times are treated."""
        window = self.policies.catch_up
        if window is None:
            window = DEFAULT_CATCH_UP
        return CatchUp(
            window=None if window == "none" else window, limit=self.policies.catch_up_limit
        )

    @cached_property
    def retry(self) -> RetryPolicy:
        """How failed attempts are repeated."""
        retry = self.policies.retry
        return RetryPolicy(
            max_attempts=retry.max_attempts,
            max_age=retry.max_age,
            initial=retry.initial,
            maximum=retry.maximum,
            factor=retry.factor,
        )


def to_body(definition: Definition) -> dict[str, Any]:
    """A definition as JSON. What is at its default is left out, so that later versions of orch
    that know more policies read the definitions of earlier ones."""
    body: dict[str, Any] = {
        "kind": definition.kind,
        "settings": definition.settings,
        "policies": _stated(definition.policies),
        "overlap": definition.overlap,
        "template": definition.template,
    }
    if definition.stream:
        body["stream"] = True
    if definition.queue:
        body["queue"] = True
    if definition.service:
        body["service"] = True
    if definition.description:
        body["description"] = definition.description
    if definition.labels:
        body["labels"] = definition.labels
    return body


@lru_cache(maxsize=1024)
def _stated(policies: specs.Policies) -> Mapping[str, Any]:
    default = asdict(specs.Policies())
    return {k: v for k, v in asdict(policies).items() if v != default[k]}


def from_body(body: Mapping[str, Any]) -> Definition:
    """Read what `to_body` wrote."""
    policies = dict(body["policies"])
    if "retry" in policies:
        policies["retry"] = specs.Retry(**policies["retry"])
    for event in ("on_success", "on_failure", "on_abort"):
        if event in policies:
            policies[event] = tuple(specs.Callback(**callback) for callback in policies[event])
    return Definition(
        kind=body["kind"],
        settings=body["settings"],
        policies=specs.Policies(**policies),
        overlap=Overlap(body["overlap"]),
        template=body["template"],
        stream=body.get("stream", False),
        queue=body.get("queue", False),
        service=body.get("service", False),
        description=body.get("description", ""),
        labels=body.get("labels", {}),
    )


class Definitions:
    """A bounded cache over the store. Definitions are immutable, so nothing ever expires."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Definition] = OrderedDict()

    def get(self, digest: str) -> Definition:
        """One definition. Raises KeyError if the store does not have it."""
        return self.get_many([digest])[digest]

    def get_many(self, digests: Sequence[str]) -> dict[str, Definition]:
        """Definitions by their hashes; those not at hand are read in one query."""
        with self._lock:
            found = {d: self._kept[d] for d in set(digests) if d in self._kept}
            for digest in found:
                self._kept.move_to_end(digest)
        missing = [d for d in set(digests) if d not in found]
        if missing:
            for digest, body in self._triggers.definitions(missing).items():
                found[digest] = from_body(body)
            with self._lock:
                for digest in missing:
                    if digest in found:
                        self._kept[digest] = found[digest]
                while len(self._kept) > _KEEP:
                    self._kept.popitem(last=False)
        return found
