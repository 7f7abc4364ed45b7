"""Limits, polling, the clock's text form, and signals."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.clock import HOUR, SECOND, SystemClock, from_rfc3339, to_rfc3339
from orchestrator.domain.limits import Pace, Rate, TokenBucket
from orchestrator.domain.polling import DurationEstimate, next_poll
from orchestrator.domain.signals import Signal, Signals, Topic


class TestRate:
    """`rate`: runs per second."""

    @given(st.lists(st.integers(0, 3 * SECOND), max_size=50), st.floats(0.1, 100))
    def test_runs_are_evenly_spaced(self, waits: list[int], per_second: float) -> None:
        """No two reservations are closer than the interval, none is in the past."""
        rate, now, following, last = Rate(per_second=per_second), 0, 0, None
        for wait in waits:
            now += wait
            at, following = rate.reserve(following, now)
            assert at >= now
            assert last is None or at - last >= rate.interval
            last = at


class TestTokenBucket:
    """A budget of requests."""

    def test_burst_and_refill(self) -> None:
        """A full bucket is spent at once, then tokens come by and by, never more than the burst."""
        bucket = TokenBucket(per_second=2, burst=3)
        assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
        assert bucket.wait() == 0.5
        assert bucket.take(0.5)
        assert not bucket.take(0.6)
        assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


class TestPace:
    """How fast to talk to a cluster that pushes back."""

    def test_doubles_up_to_its_bound_and_recovers(self) -> None:
        """Trouble doubles the delay; one clear answer ends it."""
        pace = Pace()
        delays: list[float] = []
        for _ in range(10):
            pace = pace.trouble()
            delays.append(pace.delay)
        assert delays[:4] == [0.25, 0.5, 1.0, 2.0]
        assert delays[-1] == 30.0
        assert pace.success().delay == 0

    def test_retry_after_is_kept_within_reason(self) -> None:
        """The cluster's own wish counts, but a day is not waited for."""
        assert Pace().trouble(3.0).delay == 3.0
        assert Pace().trouble(86400).delay == 30.0
        assert Pace().trouble(-1).delay == 0.25


class TestPolling:
    """When to look at a job again."""

    @given(
        st.integers(0, 10**12),
        st.integers(0, 10 * HOUR),
        st.none() | st.floats(0, 10 * HOUR),
    )
    def test_bounds(self, since: int, age: int, average: float | None) -> None:
        """Never sooner than 50 ms, never later than 15 s, whatever was learnt."""
        now = since + age
        at = next_poll(now, since=since, estimate=DurationEstimate(average=average))
        assert now + 50_000 <= at <= now + 15 * SECOND

    def test_the_end_is_seen_soon(self) -> None:
        """A job of known length is looked at shortly before its end, then often."""
        estimate = DurationEstimate(average=float(4 * SECOND))
        assert next_poll(0, since=0, estimate=estimate) == int(3.6 * SECOND)
        step = next_poll(4 * SECOND, since=0, estimate=estimate) - 4 * SECOND
        assert step <= 0.4 * SECOND

    def test_a_clock_that_stepped_back(self) -> None:
        """A job from the future is polled at the usual pace."""
        assert next_poll(0, since=HOUR, estimate=DurationEstimate()) == 100_000

    def test_learning(self) -> None:
        """The average follows the newest durations."""
        estimate = DurationEstimate().learn(10)
        assert estimate.average == 10
        for _ in range(50):
            estimate = estimate.learn(100)
        assert estimate.average == pytest.approx(100, rel=0.01)


class TestClock:
    """Instants as text."""

    @given(st.integers(-(10**15), 4 * 10**15))
    def test_there_and_back(self, instant: int) -> None:
        """Every instant survives being written and read."""
        assert from_rfc3339(to_rfc3339(instant)) == instant

    @pytest.mark.parametrize(
        ("text", "instant"),
        [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00z", 0),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1969-12-31T23:30:00-00:30", 0),
            ("1970-01-01T00:00:00.1Z", 100_000),
            ("1970-01-01T00:00:00.123456789Z", 123_456),
            (" 1970-01-01T00:00:01Z ", SECOND),
        ],
    )
    def test_forms(self, text: str, instant: int) -> None:
        """RFC 3339 in the forms in which people and programs write it."""
        assert from_rfc3339(text) == instant

    @pytest.mark.parametrize(
        "text",
        ["", "now", "1970-01-01", "1970-01-01T00:00:00", "1970-13-01T00:00:00Z",
         "1970-01-01T25:00:00Z", "1970-01-01T00:00:00+1", "1970-01-01T00:00:00Zx"],
    )  # fmt: skip
    def test_what_is_no_instant(self, text: str) -> None:
        """A time without an offset, or no time at all, is refused."""
        with pytest.raises(ValueError, match=r"RFC 3339|must be in|month|hour"):
            from_rfc3339(text)

    def test_the_system_clock(self) -> None:
        """It gives microseconds since the epoch, UTC."""
        before = datetime.now(UTC).timestamp()
        now = SystemClock().now() / SECOND
        assert before - 1e-3 <= now <= datetime.now(UTC).timestamp() + 1e-3


class TestSignals:
    """Wake-ups between threads."""

    def test_what_is_raised_before_the_wait_is_not_lost(self) -> None:
        """A look that began before the signal ends at once."""
        signal = Signal()
        seen = signal.seen()
        signal.raise_()
        signal.wait(seen, None)

    def test_topics(self) -> None:
        """A listener hears its topics, once per raise, and nothing after it is forgotten."""
        signals, mine, other = Signals(), Signal(), Signal()
        signals.listen(mine, [Topic.READY, Topic.ENDED])
        signals.listen(other, [Topic.CANCEL])
        signals.raise_([Topic.READY, Topic.ENDED])
        assert (mine.seen(), other.seen()) == (1, 0)
        signals.raise_all()
        assert (mine.seen(), other.seen()) == (2, 1)
        signals.forget(mine)
        signals.raise_all()
        assert mine.seen() == 2

    def test_stress(self) -> None:
        """Many threads raise and wait: every waiter comes home, none needs its timeout."""
        signals, total = Signals(), 200
        listeners = [Signal() for _ in range(4)]
        for listener in listeners:
            signals.listen(listener, list(Topic))
        work = threading.Semaphore(0)
        late: list[int] = []

        def wait(signal: Signal) -> None:
            done = 0
            while done < total:
                seen = signal.seen()
                if work.acquire(blocking=False):
                    done += 1
                    continue
                if finished.is_set():
                    return
                signal.wait(seen, 30)
                if signal.seen() == seen:
                    late.append(seen)

        finished = threading.Event()
        waiters = [threading.Thread(target=wait, args=(signal,)) for signal in listeners]

        def raise_some() -> None:
            for _ in range(total):
                work.release()
                signals.raise_([Topic.READY])

        raisers = [threading.Thread(target=raise_some) for _ in range(4)]
        for thread in [*waiters, *raisers]:
            thread.start()
        for thread in raisers:
            thread.join()
        finished.set()
        signals.raise_all()
        for thread in waiters:
            thread.join(60)
        assert not any(thread.is_alive() for thread in waiters)
        assert late == []
