"""What happens to a run after an attempt: a pure decision without I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.domain.clock import MINUTE, SECOND

_NEVER_GIVES_UP_WAIT = 5 * SECOND  # for attempts that do not count: the cluster was busy, not wrong


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often and how long a run is tried again. Times in microseconds."""

    max_attempts: int = 5
    max_age: int | None = None
    initial: int = SECOND
    maximum: int = 5 * MINUTE
    factor: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Again:
    """Try again, not before `not_before`."""

    not_before: int


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """The run is dead; `why` is appended to the attempt's reason."""

    why: str


def backoff(policy: RetryPolicy, tries: int, jitter: Callable[[], float]) -> int:
    """Exponential backoff with full jitter, in microseconds.

    `tries` is how many counted attempts have failed (from 1); `jitter` yields [0, 1).
    """
    # The exponent is bounded so that a large `tries` cannot overflow a float.
    ceiling = min(policy.maximum, policy.initial * policy.factor ** min(tries - 1, 64))
    return int(ceiling * jitter())


def after_failure(
    policy: RetryPolicy,
    *,
    tries: int,
    counted: bool,
    retryable: bool,
    born: int,
    now: int,
    hold_until: int,
    jitter: Callable[[], float],
) -> Again | GiveUp:
    """Decide what follows a failed attempt.

    `tries` counts the failed attempts so far, this one included if `counted`. `born` is when the
    run became due, `hold_until` the earliest instant at which another attempt is safe.
    """
    if not retryable:
        return GiveUp(why="")
    if counted and tries >= policy.max_attempts:
        return GiveUp(why=f"after {tries} of {policy.max_attempts} attempts")
    wait = backoff(policy, max(tries, 1), jitter) if counted else _NEVER_GIVES_UP_WAIT
    not_before = max(now + wait, hold_until)
    if policy.max_age is not None and not_before - born > policy.max_age:
        return GiveUp(why="the run is older than retry.max_age")
    return Again(not_before=not_before)
