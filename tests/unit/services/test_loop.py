"""The loop around a service: start, stop, errors."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import ClassVar

from orchestrator.domain.clock import SECOND, SystemClock
from orchestrator.domain.signals import Signals, Topic
from orchestrator.services import loop
from orchestrator.services.loop import Service
from orchestrator.store.errors import Unavailable
from tests.support.waiting import until


class Counting(Service):
    """Counts its rounds; fails in the ones that it is told to."""

    name: ClassVar[str] = "counting"
    topics: ClassVar[Sequence[Topic]] = (Topic.READY,)

    def __init__(self, signals: Signals) -> None:
        super().__init__(SystemClock(), signals)
        self.rounds = 0
        self.recoveries = 0
        self.failures: list[Exception] = []

    def run_once(self) -> int | None:
        self.rounds += 1
        self.recoveries += self.recovering()
        if self.failures:
            raise self.failures.pop(0)
        return None


def test_a_signal_is_a_round() -> None:
    """It looks once at its start and once for each signal of its topics."""
    signals = Signals()
    service = Counting(signals)
    service.start()
    until(lambda: service.rounds == 1, "the first round")
    signals.raise_([Topic.READY])
    until(lambda: service.rounds == 2, "the second round")
    service.stop()
    assert service.rounds == 2


class Preparing(Counting):
    """Has something to do in a while."""

    ahead: ClassVar[float] = 60.0

    def __init__(self, signals: Signals, wait: int) -> None:
        super().__init__(signals)
        self.at = self._clock.now() + wait
        self.prepared: list[int] = []

    def run_once(self) -> int | None:
        super().run_once()
        return self.at

    def prepare(self, at: int) -> None:
        self.prepared.append(at)


def test_preparing() -> None:
    """What is near enough is prepared once in each round; what is far away is not."""
    signals = Signals()
    near, far = Preparing(signals, 30 * SECOND), Preparing(signals, 3600 * SECOND)
    for service in (near, far):
        service.start()
    until(lambda: near.prepared == [near.at], "it is prepared")
    signals.raise_([Topic.READY])
    until(lambda: near.prepared == [near.at, near.at] and far.rounds == 2, "both look again")
    for service in (near, far):
        service.stop()
    assert (near.rounds, far.rounds, far.prepared) == (2, 2, [])


def test_start_and_stop_in_any_order() -> None:
    """Twice, from several threads, stopped before it was started: nothing hangs or runs on."""
    for order in ("ss", "tt", "st", "ts", "sstt", "tsst", "ststst"):
        service = Counting(Signals())
        for step in order:
            (service.start if step == "s" else service.stop)()
        service.stop()
        assert not service.running
    for _ in range(50):
        service = Counting(Signals())
        together = threading.Barrier(4)

        def act(method: str, service: Service = service, barrier: threading.Barrier = together):
            barrier.wait()
            getattr(service, method)()

        threads = [
            threading.Thread(target=act, args=(method,))
            for method in ("start", "stop", "start", "stop")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        service.stop()
        assert not any(thread.is_alive() for thread in threads)
        assert not service.running


def test_an_error_ends_no_loop(monkeypatch) -> None:
    """It goes on after a wait, and reads again what may have been written all the same."""
    monkeypatch.setattr(loop, "_AFTER_ERROR", 0.01)
    service = Counting(Signals())
    service.failures = [ValueError("a"), Unavailable("b"), ValueError("c")]
    service.start()
    until(lambda: service.rounds >= 4, "a round after the errors")
    until(lambda: not service.last_error, "the error is forgotten")
    service.stop()
    assert service.recoveries == 4


def test_an_adoption_is_told_once() -> None:
    """What another orchestrator left is read from the store, once."""
    signals = Signals()
    service = Counting(signals)
    service.start()
    until(lambda: service.rounds == 1, "the first round")
    signals.raise_([Topic.ADOPTED])
    service.wake()
    until(lambda: service.rounds == 2, "the second round")
    service.wake()
    until(lambda: service.rounds == 3, "the third round")
    service.stop()
    assert service.recoveries == 2
