"""When to ask for a job again: soon after it should have ended, rarely before."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.clock import SECOND

_SOONEST = 50_000  # µs between two looks at one job
_LATEST = 15 * SECOND
_WEIGHT = 0.3  # of the newest duration in the average


@dataclass(frozen=True, kw_only=True)
class DurationEstimate:
    """How long a trigger's jobs take from acceptance to end: moving average, microseconds."""

    average: float | None = None

    def learn(self, duration: int) -> DurationEstimate:
        """Take in another job's duration."""
        if self.average is None:
            return DurationEstimate(average=float(duration))
        return DurationEstimate(average=self.average + _WEIGHT * (duration - self.average))


def next_poll(now: int, *, since: int, estimate: DurationEstimate) -> int:
    """The instant of the next look at a job that was accepted at `since`.

    A job of unknown length is looked at after a quarter of its age again, so that its end is seen
    at most a quarter late; one of known length shortly before and then often around its end.
    """
    age = max(0, now - since)
    if estimate.average is not None:
        expected = int(estimate.average * 0.9)
        if age < expected:
            return now + min(_LATEST, max(_SOONEST, expected - age))
        # Past its usual end: a tenth of that length, then a quarter of its age.
        step = int(min(estimate.average * 0.1, age * 0.25))
        if age > 2 * estimate.average:
            step = age // 4
        return now + min(_LATEST, max(_SOONEST, step))
    return now + min(_LATEST, max(2 * _SOONEST, age // 4))
