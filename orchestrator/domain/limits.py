"""Rates and concurrency: pure arithmetic, the callers keep the state."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from orchestrator.domain.clock import SECOND


@dataclass(frozen=True, kw_only=True)
class Rate:
    """At most `per_second` runs, evenly: the generic cell rate algorithm without a burst."""

    per_second: float

    @property
    def interval(self) -> int:
        """Microseconds between two runs."""
        return max(1, round(SECOND / self.per_second))

    def reserve(self, earliest: int, now: int) -> tuple[int, int]:
        """Reserve a run. Returns its instant, and the next reservation's earliest instant."""
        at = max(earliest, now)
        return at, at + self.interval


@dataclass(kw_only=True)
class TokenBucket:
    """A budget of requests per second on a monotonic clock. Not thread-safe."""

    per_second: float
    burst: float
    _tokens: float = field(init=False)
    _at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._tokens = self.burst

    def take(self, now: float) -> bool:
        """Take a token if there is one. `now` in monotonic seconds."""
        if self._at is not None:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self) -> float:
        """Seconds until the next token."""
        return max(0.0, (1 - self._tokens) / self.per_second)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast to talk to a cluster that pushes back: halve on trouble, recover step by step.

    `delay` is the pause in seconds after trouble; 0 means full speed.
    """

    delay: float = 0.0
    floor: float = 0.25
    ceiling: float = 30.0

    def trouble(self, retry_after: float | None = None) -> Pace:
        """The cluster is away or asks for less."""
        delay = min(self.ceiling, max(self.floor, self.delay * 2))
        if retry_after is not None:
            delay = min(self.ceiling, max(delay, retry_after))
        return replace(self, delay=delay)

    def success(self) -> Pace:
        """The cluster has answered clearly."""
        return replace(self, delay=0.0) if self.delay else self
