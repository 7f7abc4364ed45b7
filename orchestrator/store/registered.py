"""What registration hands to the store: triggers, changes of them, and what is to be called off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.store.follows import Edge


@dataclass(frozen=True, kw_only=True)
class NewPartition:
    """Where a partition of a trigger begins."""

    name: str
    planned: str | None
    wake_at: int | None


@dataclass(frozen=True, kw_only=True)
class NewTrigger:
    """A trigger as it is registered. `definition` and `job` are canonical JSON."""

    name: str
    kind: str
    definition_hash: str
    definition: str
    template_hash: str
    job: str
    uid: str
    partitions: Sequence[NewPartition]
    outside: bool = False  # it has a source outside
    paused: bool = False
    edges: Sequence[Edge] = ()  # what it sets off, and what it waits for
    default: bool = False  # it takes jobs that name no template


@dataclass(frozen=True, kw_only=True)
class Change:
    """A new version of a trigger. `partitions` is set where its source or times change."""

    definition_hash: str
    definition: str
    template_hash: str
    job: str
    partitions: Sequence[NewPartition] | None = None
    restart: bool = False  # begin anew in another source
    edges: Sequence[Edge] = ()
    default: bool = False


@dataclass(frozen=True, kw_only=True)
class Appointment:
    """A due time to come of a trigger that lists its own."""

    key: str
    due_at: int
    data: Mapping[str, Any]
