"""Threads that receive: how many, how much, and how they end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from connectors.aws.errors import Throttled
from connectors.aws.polling import AHEAD, Pollers
from connectors.aws.queue import QueueGone, QueueState, Received
from connectors.streams import SourceRefused, SourceUnavailable
from tests.support.sqs import STATE, ScriptedQueue, received
from tests.support.waiting import until


def _nothing(state: QueueState) -> None:
    assert state.created


class Bench:
    """Pollers of a scripted queue."""

    def __init__(self) -> None:
        self.queue = ScriptedQueue()
        self.stop = threading.Event()
        self.taken: list[Received] = []

    def open(self, most: int = 4, visibility: int | None = 60) -> Pollers[str]:
        self.pollers = Pollers(
            self.queue,
            self.stop,
            most=most,
            wait=20,
            visibility=visibility,
            take=self.take,
            check=_nothing,
            name="test",
        )
        return self.pollers

    def take(self, answer: Sequence[Received]) -> Sequence[str]:
        self.taken += answer
        return [one.id for one in answer]

    def fill(self, count: int) -> list[str]:
        new = deque(received() for _ in range(count))
        self.queue.messages += new
        return [one.id for one in new]


@pytest.fixture
def bench() -> Iterator[Bench]:
    it = Bench()
    yield it
    it.queue.release.set()
    it.pollers.close()
    until(lambda: it.pollers.threads == 0, "all threads have ended")


def _all(pollers: Pollers[str], count: int, room: int) -> list[str]:
    found: list[str] = []
    for _ in range(count + 100):
        found += pollers.poll(room, 0.5)
        if len(found) >= count:
            return found
    raise AssertionError(f"{len(found)} of {count}")


def test_everything_comes_once(bench: Bench) -> None:
    """Whatever the number of threads."""
    wanted = bench.fill(1000)
    assert sorted(_all(bench.open(), 1000, 50)) == sorted(wanted)


def test_no_more_is_asked_for_than_there_is_room(bench: Bench) -> None:
    """Neither in one call nor in several at once."""
    bench.fill(100)
    pollers = bench.open()
    assert len(pollers.poll(3, 5)) == 3
    bench.queue.blocks = True
    for _ in range(5):
        pollers.poll(25, 0.02)
        assert bench.queue.outstanding <= 25
    bench.queue.release.set()
    assert max(asked.most for asked in bench.queue.asked) == 10
    assert pollers.poll(0, 0.01) == []


def test_large_messages_are_not_piled_up(bench: Bench) -> None:
    """What lies ready is bounded by its size as well, however much room there is."""
    bench.queue.messages += [received("x" * (AHEAD // 30 + 1)) for _ in range(200)]
    pollers = bench.open(most=1)
    found = len(pollers.poll(20_000, 5))
    until(lambda: len(bench.taken) >= found + 30, "it goes on while nobody asks")
    until(lambda: bench.queue.under_way == 0, "no call is under way")
    assert len(bench.taken) == found + 30
    found += len(_all(pollers, 200 - found, 20_000))
    assert found == 200


def test_threads_follow_what_comes(bench: Bench) -> None:
    """One to begin with, more while answers are full, one when there is nothing."""
    pollers = bench.open(most=3)
    pollers.poll(1000, 0.05)
    assert pollers.threads == 1
    bench.fill(2000)
    seen = [pollers.threads for _ in range(30) if pollers.poll(50, 0.5)]
    assert 1 < max(seen) <= 3
    assert bench.queue.most_under_way <= 3
    until(lambda: (pollers.poll(1000, 0.02), pollers.threads == 1)[1], "one is left")


def test_calls_are_side_by_side_where_there_is_room(bench: Bench) -> None:
    """Room for twenty is two calls, once one has come back full."""
    bench.fill(10)
    pollers = bench.open()
    assert len(pollers.poll(10, 5)) == 10
    bench.queue.blocks = True
    until(lambda: (pollers.poll(20, 0.02), bench.queue.under_way == 2)[1], "two are under way")
    assert bench.queue.outstanding == 20


def test_threads_without_work_are_not_waited_for(bench: Bench) -> None:
    """A call that lasts 20 s holds up neither a poll that is to end nor a shutdown."""
    bench.queue.blocks = True
    pollers = bench.open()
    ended = threading.Event()

    def wait() -> None:
        pollers.poll(10, 60)
        ended.set()

    polling = threading.Thread(target=wait)
    polling.start()
    until(lambda: bench.queue.under_way, "a call is under way")
    bench.stop.set()
    assert ended.wait(10)
    polling.join()
    pollers.close()
    assert bench.queue.under_way == 1
    assert bench.queue.closed == 0, "that call still needs its connection"
    late = bench.fill(2)
    bench.queue.release.set()
    until(lambda: bench.queue.closed, "the queue is closed behind the last call")
    assert bench.taken == []
    assert [(f"m{r[1:]}", s) for r, s in bench.queue.changed] == [(one, 0) for one in late]


def test_close_ends_a_poll(bench: Bench) -> None:
    """Also without the stop signal, and may be called twice."""
    bench.queue.blocks = True
    pollers = bench.open()
    polling = threading.Thread(target=pollers.poll, args=(10, 60))
    polling.start()
    until(lambda: bench.queue.under_way, "a call is under way")
    pollers.close()
    pollers.close()
    polling.join(10)
    assert not polling.is_alive()
    assert pollers.poll(10, 5) == []


def test_what_nobody_took_is_given_back(bench: Bench) -> None:
    """Closing lets others have it at once."""
    bench.fill(10)
    pollers = bench.open()
    assert len(pollers.poll(25, 5)) == 10
    late = bench.fill(15)
    until(lambda: len(bench.taken) == 25, "they were received, and nobody asks for them")
    pollers.close()
    until(lambda: pollers.threads == 0, "all threads have ended")
    assert sorted(bench.queue.changed) == sorted((f"r{one[1:]}", 0) for one in late)


def test_what_lay_here_too_long_is_not_handed_over(bench: Bench) -> None:
    """The queue gives it to others soon: the whole answer goes, so that no group has a gap."""
    bench.fill(10)
    pollers = bench.open(visibility=0)
    assert pollers.poll(10, 0.1) == []
    assert pollers.dropped == 10


@pytest.mark.parametrize(
    "fault", [SourceUnavailable("away"), QueueGone("none"), Throttled("slow"), ZeroDivisionError()]
)
def test_trouble_is_raised_once_and_nothing_is_asked_meanwhile(
    bench: Bench, fault: Exception
) -> None:
    """How often it is tried again is up to whoever polls; also what nobody foresaw is told."""
    bench.queue.faults = [fault]
    wanted = bench.fill(3)
    pollers = bench.open()
    with pytest.raises(type(fault)):
        pollers.poll(10, 5)
    asked = len(bench.queue.asked)
    assert pollers.poll(0, 0.05) == []
    assert len(bench.queue.asked) == asked == 1
    assert sorted(_all(pollers, 3, 10)) == wanted


def test_what_came_is_handed_over_before_trouble_is_raised(bench: Bench) -> None:
    """Nothing lies about while the trigger waits for a better time."""
    bench.fill(10)
    pollers = bench.open(most=1)
    bench.queue.blocks = True
    pollers.poll(20, 0.01)
    until(lambda: bench.queue.under_way, "a call is under way")
    bench.queue.release.set()
    until(lambda: bench.taken, "it is answered")
    bench.queue.faults = [SourceUnavailable("away")]
    assert len(pollers.poll(20, 5)) == 10
    with pytest.raises(SourceUnavailable):
        pollers.poll(20, 5)


def test_an_attempt_is_made_again_until_it_is_answered(bench: Bench) -> None:
    """Of a FIFO queue the same attempt gives the same messages: none is blocked until its time in
    flight is over."""
    bench.queue.faults = [SourceUnavailable("lost"), SourceRefused("no")]
    pollers = bench.open()
    for kind in (SourceUnavailable, SourceRefused):
        with pytest.raises(kind):
            pollers.poll(10, 5)
    bench.fill(1)
    pollers.poll(10, 5)
    attempts = [asked.attempt for asked in bench.queue.asked]
    assert attempts[0] == attempts[1]
    assert attempts[2] not in ("", attempts[1])


def test_the_queue_is_looked_at_again_after_trouble(bench: Bench) -> None:
    """It may be another one by then."""
    pollers = bench.open(visibility=None)
    assert pollers.visibility == 30
    pollers.poll(10, 0.05)
    until(lambda: pollers.state, "it was looked at")
    assert pollers.visibility == 60
    bench.queue.faults = [SourceUnavailable("away")]
    with pytest.raises(SourceUnavailable):
        pollers.poll(10, 5)
    assert pollers.visibility == 60, "what is known counts until then"
    bench.queue.now = replace(STATE, visibility=90)
    until(lambda: (pollers.poll(10, 0.02), pollers.visibility == 90)[1], "it was looked at again")


def test_a_trigger_without_room_knows_what_waits(bench: Bench) -> None:
    """The queue is looked at, and nothing is received."""
    bench.fill(3)
    pollers = bench.open()
    until(lambda: (pollers.poll(0, 0.02), pollers.state)[1], "it was looked at")
    assert pollers.state is not None
    assert pollers.state.waiting == 3
    assert bench.queue.asked == []
