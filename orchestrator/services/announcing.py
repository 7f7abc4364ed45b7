"""Announcing: the state of every run on a broker of MQTT, for those who wait there.

``orch/<instance>/runs/<id>`` holds a retained message with the run's state until it has ended, and
how it ended for a while after that: the broker removes it by itself (message expiry of MQTT 5),
also where nobody is left to do so. At least once: the last message is the state that counts.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import structlog

from connectors.broker.link import Link
from connectors.broker.terms import Outgoing, Terms
from connectors.streams import SourceError
from orchestrator.domain.clock import DAY, SECOND, Clock, to_rfc3339
from orchestrator.domain.signals import Signals, Topic
from orchestrator.failpoints import reach
from orchestrator.services.loop import Service
from orchestrator.store.announcements import Announcements, Untold

_log = structlog.get_logger(__name__)
_LOOK = SECOND  # not each change of a state raises a signal
_AGAIN = SECOND  # doubled up to _AT_MOST
_AT_MOST = 60 * SECOND
_OPEN_FOR = 30 * DAY // SECOND
"""Seconds for which the broker keeps the state of a run that has not ended: what became of it is
told in any case, but by nobody where the store is gone."""
_TEXT = 2048  # characters of a task's output


class Publisher(Protocol):
    """A connection to a broker."""

    @property
    def alive(self) -> bool:
        """Whether it is connected."""
        ...

    def open(self) -> bool:
        """Connect. Raises SourceError."""
        ...

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish; returns once the broker has them. Raises SourceError."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


class Announcing(Service):
    """Publishes what has changed."""

    name: ClassVar[str] = "announcing"
    topics: ClassVar[Sequence[Topic]] = (Topic.CHANGED, Topic.FLIGHT, Topic.ENDED)

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        announcements: Announcements,
        terms: Terms,
        *,
        instance: str,
        keep: int,
    ) -> None:
        """`keep` is for how long the broker keeps how a run has ended, microseconds."""
        super().__init__(clock, signals)
        self._announcements = announcements
        self._terms = terms
        self._root = f"orch/{instance}/runs/"
        self._keep = max(1, keep // SECOND)
        self._ended = threading.Event()
        self._link: Publisher | None = None
        self._failures = 0
        self._not_before = 0

    def stop(self) -> None:
        """End after what is done now; what is untold stays in the store."""
        self._ended.set()
        super().stop()
        self._leave()

    def run_once(self) -> int | None:
        """Tell the broker of what has changed; returns when to look again."""
        now = self._clock.now()
        if now < self._not_before:
            return self._not_before
        while not self.stopping and (found := self._announcements.untold()):
            try:
                self._tell(found)
            except SourceError as error:
                self._leave()  # what it did not answer would be sent again beside what follows
                return self._failed(error)
            reach("announcing.told")
            self._announcements.told(found)
        return self._clock.now() + _LOOK

    def _tell(self, found: list[Untold]) -> None:
        if self._link is None or not self._link.alive:
            self._leave()
            self._link = Link(self._terms, self._ended, name="announcing")
            self._link.open()
        messages = [self._message(one.run_id, one.run) for one in found if one.run is not None]
        self._link.publish(messages)
        if self.trouble:
            _log.info("announcing goes on", broker=str(self._terms.address))
        self._failures, self._not_before, self.trouble = 0, 0, ""

    def _leave(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _message(self, run_id: str, run: Mapping[str, Any]) -> Outgoing:
        said: dict[str, Any] = {
            "id": run_id,
            "trigger": run["trigger"],
            "key": run["key"],
            "state": run["state"],
            "reason": run["reason"],
            "attempt": run["attempts"],
        }
        for name in ("created_at", "due_at", "started_at", "ended_at"):
            said[name] = None if run[name] is None else to_rfc3339(run[name])
        over = run["ended_at"] is not None
        if over and run["attempts"]:
            said["result"] = {
                "exit_code": run["exit_code"],
                "stdout": (run["stdout"] or "")[:_TEXT],
                "stderr": (run["stderr"] or "")[:_TEXT],
            }
        return Outgoing(
            topic=self._root + run_id,
            body=json.dumps(said, ensure_ascii=False).encode(errors="replace"),
            retain=True,
            expiry=self._keep if over else _OPEN_FOR,
        )

    def _failed(self, error: SourceError) -> int:
        wait = min(_AT_MOST, _AGAIN * 2 ** min(self._failures, 10))
        self._failures += 1
        self._not_before = self._clock.now() + wait
        if str(error) != self.trouble:
            self.trouble = str(error)
            _log.warning("runs are not announced", error=str(error))
        return self._not_before
