"""The contract of connectors whose jobs should always run.

There are no events: what is wanted is that a number of *copies* of a job is there. Each job of a
copy lives for a while and is followed by the next one; a copy is told apart by its name, from
``"0"`` on. Whoever runs a service begins lives, watches them by the heartbeats that their tasks
send, and keeps the checkpoint that they report for the next life. Nothing here does I/O.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from connectors.abc import JSON, SourceConnector

Update: TypeAlias = Literal["start_first", "stop_first"]


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long a copy waits whose lives end too soon. Times in microseconds."""

    initial: int
    max: int
    healthy_after: int
    """A life that lasted so long counts as a good one, however it ended."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How many copies there are, by what waits for them."""

    min: int
    max: int
    on: Literal["lag", "rate"]
    """``lag``: events and runs of that trigger that wait. ``rate``: its runs of the last minute, a
    second."""
    of: str
    """The trigger whose lag or rate counts."""
    target: float
    """How much of it is for one copy."""
    down_after: int
    """For how long fewer must be enough before there are fewer, microseconds."""


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """What is wanted of a service. Times in microseconds."""

    copies: int
    """How many, where `scale` does not decide."""
    life: int
    """How long one job of a copy lives at most."""
    heartbeat: int | None
    """How often its task says that it is well; None: it says nothing."""
    lease: int
    """How long it may be silent, and how long it goes on unheard."""
    update: Update
    """What comes first when the trigger's file has changed."""
    backoff: Backoff
    scale: Scale | None = None
    values: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    """What ``${{ service.… }}`` may name beside what every copy has."""


class ServiceConnector(SourceConnector):
    """A connector whose jobs should always run."""

    @abstractmethod
    def plan(self, settings: Mapping[str, JSON]) -> ServicePlan:
        """What these settings ask for. Raises :class:`connectors.abc.SettingsError`."""
