"""A service: `run_once()` apart from the loop that calls it, start and stop in any order."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import structlog

from orchestrator.domain.clock import SECOND, Clock
from orchestrator.domain.signals import Signal, Signals, Topic
from orchestrator.store.errors import Unavailable

_log = structlog.get_logger(__name__)
_AFTER_ERROR = 1.0  # seconds, doubled up to _AFTER_ERRORS
_AFTER_ERRORS = 30.0
_TOO_LATE = 0.02  # seconds before an instant at which nothing is prepared for it any more


class Service(ABC):
    """Something that looks into the store when a signal or the time says so."""

    name: ClassVar[str]
    topics: ClassVar[Sequence[Topic]]
    ahead: ClassVar[float] = 0.0
    """Seconds before the next instant at which `prepare` is called; 0: not at all."""

    def __init__(self, clock: Clock, signals: Signals) -> None:
        self._clock = clock
        self._signals = signals
        self._signal = Signal()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.last_error: str = ""
        self.trouble: str = ""
        """What people should see although the loop goes on."""
        self._adopted = Signal()
        self._adopted_seen = -1

    @abstractmethod
    def run_once(self) -> int | None:
        """Do what there is to do now.

        Returns the instant at which there may be more to do (in the past: at once), or None to
        wait for a signal.
        """

    def prepare(self, at: int) -> None:
        """Do beforehand what can be done for the next instant, µs. Whatever happens until then,
        `run_once` is right without it."""
        return

    def start(self) -> None:
        """Start the loop. A second call changes nothing."""
        with self._lock:
            if self._thread is not None or self._stopping.is_set():
                return
            self._signals.listen(self._signal, self.topics)
            self._signals.listen(self._adopted, [Topic.ADOPTED])
            self._thread = threading.Thread(target=self._loop, name=self.name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the loop after what it does now. May be called twice, and before `start`."""
        self._stopping.set()
        self._signal.raise_()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        self._signals.forget(self._signal)
        self._signals.forget(self._adopted)

    def recovering(self) -> bool:
        """Whether what is under way is to be read from the store: at first, after an adoption, and
        after an error.

        True once for each reason.
        """
        seen = self._adopted.seen()
        changed, self._adopted_seen = seen != self._adopted_seen, seen
        return changed

    def wake(self) -> None:
        """Look again now."""
        self._signal.raise_()

    @property
    def stopping(self) -> bool:
        """Whether the service is to end."""
        return self._stopping.is_set()

    @property
    def running(self) -> bool:
        """Whether the loop goes round."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def _loop(self) -> None:
        errors = 0
        while not self._stopping.is_set():
            seen = self._signal.seen()
            try:
                wake_at = self.run_once()
                if self.ahead and wake_at is not None:
                    self._prepare(wake_at, seen)
                errors, self.last_error = 0, self.trouble
            except Exception as error:  # noqa: BLE001  (a loop of the daemon must not die)
                wait = min(_AFTER_ERRORS, _AFTER_ERROR * 2**errors)
                errors = min(errors + 1, 10)
                self._report(error, wait)
                # What failed may be in the store all the same: a commit whose answer was lost.
                self._adopted_seen = -1
                self._stopping.wait(wait)
                continue
            if wake_at is None:
                self._signal.wait(seen, None)
            elif (remaining := self._until(wake_at)) > 0:
                self._signal.wait(seen, remaining)

    def _until(self, at: int) -> float:
        return (at - self._clock.now()) / SECOND

    def _prepare(self, at: int, seen: int) -> None:
        if (early := self._until(at) - self.ahead) > 0:
            self._signal.wait(seen, early)
        if self._until(at) > _TOO_LATE and self._signal.seen() == seen:
            self.prepare(at)

    def _report(self, error: Exception, wait: float) -> None:
        if str(error) == self.last_error:
            return
        self.last_error = str(error)
        if isinstance(error, Unavailable):
            _log.warning("store unavailable", service=self.name, error=str(error), retry_in=wait)
        else:
            _log.exception("service failed", service=self.name, retry_in=wait)
