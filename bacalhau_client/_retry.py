"""Which failures are tried again here, and how long that may take.

Only what cannot do harm: a read after anything that may pass, a write only when it certainly was
not sent. Everything else is the caller's decision, who alone knows how to look a job up first.
"""

import threading
from dataclasses import dataclass

import tenacity

from bacalhau_client._errors import (
    Ambiguous,
    MalformedResponse,
    Throttled,
    Unavailable,
    Unreachable,
)


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Bounds of the tries of one call.

    ``attempts`` counts the first one too (1: no retry). No pause is begun that would end
    ``max_elapsed`` seconds or more after the call's start. Pauses are random between 0 and a
    bound that doubles from ``initial`` to ``maximum`` seconds, and at least the ``Retry-After``
    of a 429 or 503.
    """

    attempts: int = 4
    max_elapsed: float = 20.0
    initial: float = 0.1
    maximum: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("retry policy: attempts must be at least 1, which means no retry")
        if self.max_elapsed < 0 or self.initial <= 0 or self.maximum < self.initial:
            raise ValueError("retry policy: 0 <= max_elapsed and 0 < initial <= maximum must hold")


def is_safe_for_reads(error: BaseException) -> bool:
    """True for failures of a read that may pass by themselves."""
    if isinstance(error, MalformedResponse):
        return False
    return isinstance(error, Unreachable | Ambiguous | Throttled | Unavailable)


def is_safe_for_writes(error: BaseException) -> bool:
    """True for failures of a write that certainly left the node untouched."""
    return isinstance(error, Unreachable)


def build_retrying(policy: RetryPolicy, stop: threading.Event, *, reads: bool) -> tenacity.Retrying:
    """A reusable, thread-safe retrying caller that ends early, with the last error, on ``stop``."""
    jitter = tenacity.wait_random_exponential(multiplier=policy.initial, max=policy.maximum)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after if isinstance(error, Throttled | Unavailable) else None
        return max(jitter(state), asked or 0.0)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_safe_for_reads if reads else is_safe_for_writes),
        wait=wait,
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(policy.attempts),
            tenacity.stop_before_delay(policy.max_elapsed),
            tenacity.stop_when_event_set(stop),
        ),
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )
