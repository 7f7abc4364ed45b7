"""What follows a failed attempt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.clock import HOUR, MINUTE, SECOND
from orchestrator.domain.retry import Again, GiveUp, RetryPolicy, after_failure, backoff


def follows(policy: RetryPolicy | None = None, **more: Any) -> Again | GiveUp:
    values: dict[str, Any] = {
        "tries": 1,
        "counted": True,
        "retryable": True,
        "born": 0,
        "now": HOUR,
        "hold_until": 0,
        "jitter": lambda: 0.5,
    }
    return after_failure(policy or RetryPolicy(), **(values | more))


@pytest.mark.parametrize(
    ("tries", "seconds"),
    [(1, 0.5), (2, 1), (3, 2), (4, 4), (10, 150), (10_000, 150)],
)
def test_backoff_grows_to_its_bound(tries: int, seconds: float) -> None:
    """Exponential from `initial` by `factor` up to `max`, a random share of it; never overflows."""
    assert backoff(RetryPolicy(), tries, lambda: 0.5) == seconds * SECOND


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_jitter_is_full(tries: int, share: float) -> None:
    """The wait lies anywhere between nothing and the bound."""
    assert 0 <= backoff(RetryPolicy(), tries, lambda: share) <= 5 * MINUTE


def test_the_last_attempt() -> None:
    """`max_attempts` counts attempts, not retries."""
    assert isinstance(follows(tries=4), Again)
    assert follows(tries=5) == GiveUp(why="after 5 of 5 attempts")
    assert isinstance(follows(RetryPolicy(max_attempts=1), tries=1), GiveUp)


def test_an_attempt_that_does_not_count_is_always_repeated() -> None:
    """However often: the cluster was busy, the job may be good."""
    assert follows(tries=5, counted=False) == Again(not_before=HOUR + 5 * SECOND)
    assert follows(tries=0, counted=False) == Again(not_before=HOUR + 5 * SECOND)


def test_what_is_wrong_stays_wrong() -> None:
    """A job that the cluster refused is not sent again."""
    assert follows(retryable=False) == GiveUp(why="")


def test_a_hold_is_kept() -> None:
    """No attempt before the old task is certainly gone."""
    assert follows(hold_until=2 * HOUR) == Again(not_before=2 * HOUR)


def test_max_age() -> None:
    """A run that would be tried again too late is given up, an attempt that does not count too."""
    policy = RetryPolicy(max_age=HOUR)
    assert follows(policy, born=MINUTE) == Again(not_before=HOUR + SECOND // 2)
    assert isinstance(follows(policy, born=0), GiveUp)
    assert isinstance(follows(policy, born=0, counted=False), GiveUp)
    assert isinstance(follows(policy, born=MINUTE, hold_until=3 * HOUR), GiveUp)
