"""The policies of a trigger: how it overlaps, catches up, retries and gives up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

SECOND = 1_000_000
MINUTE = 60 * SECOND

OVERLAPS = ("skip", "queue", "queue_one", "replace", "allow")
ON_DEAD = ("block", "skip", "bisect")

Overlap = Literal["skip", "queue", "queue_one", "replace", "allow"]
OnDead = Literal["block", "skip", "bisect"]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often and how long a run is tried again. Times in microseconds."""

    max_attempts: int = 5
    max_age: int | None = None
    initial: int = SECOND
    maximum: int = 5 * MINUTE
    factor: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Callback:
    """Who hears of a run's end: a webhook's address, or the trigger whose job is run."""

    url: str | None = None
    trigger: str | None = None


@dataclass(frozen=True, kw_only=True)
class Policies:
    """A trigger's policies; None leaves the choice to the connector. Times in microseconds.

    `timeout` bounds one execution, `queue_timeout` the wait in the cluster's queue: a job's
    TotalTimeout is their sum. `rate` is in runs per second. A higher `priority` goes first.
    `trip_after` dead runs in a row pause the trigger.
    """

    overlap: Overlap | None = None
    catch_up: int | Literal["none"] | None = None
    catch_up_limit: int | None = None
    timeout: int = 5 * MINUTE
    queue_timeout: int = 10 * MINUTE
    stop_grace: int = 15 * SECOND
    retry: Retry = field(default_factory=Retry)
    on_dead: OnDead | None = None
    parallelism: int = 1
    max_in_flight: int | None = None
    trip_after: int | None = None
    rate: float | None = None
    priority: int = 0
    allow_shell_data: bool = False
    allow_static_secrets: bool = False
    paused: bool = False
    on_success: tuple[Callback, ...] = ()
    on_failure: tuple[Callback, ...] = ()
    on_abort: tuple[Callback, ...] = ()
