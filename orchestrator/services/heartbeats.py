"""Heartbeats as they come over HTTP: proven, not too many, and then in the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from orchestrator import metrics
from orchestrator.domain.clock import Clock
from orchestrator.domain.keeping import BadCheckpoint, written
from orchestrator.domain.limits import TokenBucket
from orchestrator.failpoints import reach
from orchestrator.services.serving import attempt_of
from orchestrator.store.heartbeats import Beat, Heard, Heartbeats, Leave, Unheard

PROGRESS_AT_MOST = 2048
"""Bytes of what a task says of its progress, as JSON."""
_PER_SECOND = 5.0
_BURST = 10.0
_KEEP = 20_000  # runs whose pace is remembered


class NoToken(Exception):
    """The request brings no token of a run."""


class ForeignToken(Exception):
    """The token is not one of this run."""


class TooLarge(Exception):
    """What the task says is too large to be kept."""


class TooMany(Exception):
    """The task says it too often."""


class HeartbeatDesk:
    """Takes heartbeats in. Thread-safe."""

    def __init__(
        self, store: Heartbeats, key: bytes, clock: Clock, known: Callable[[], bool]
    ) -> None:
        """`known` says whether the store holds all runs: not while a restore goes on."""
        self._store = store
        self._key = key
        self._clock = clock
        self._known = known
        self._complete = False
        self._lock = threading.Lock()
        self._pace: OrderedDict[str, TokenBucket] = OrderedDict()

    def beat(
        self,
        run_id: str,
        token: str,
        *,
        execution: str = "",
        progress: Any = None,
        checkpoint: tuple[Any] | None = None,
    ) -> Heard:
        """Take in a heartbeat and wait for its commit; a checkpoint comes wrapped, since null is
        one. Raises NoToken, ForeignToken, TooLarge, TooMany, Leave, Unheard, BadCheckpoint."""
        try:
            attempt = attempt_of(self._key, run_id, token)
        except ValueError as error:
            raise NoToken(str(error)) from error
        if attempt is None:
            raise ForeignToken("this token is of another run")
        self._complete = self._complete or self._known()
        if not self._complete:
            raise Unheard("the orchestrator was restored, and looks for its runs")
        self._check_pace(run_id)
        beat = Beat(
            run_id=run_id,
            attempt=attempt,
            execution=execution,
            progress=_progress(progress),
            checkpoint=None if checkpoint is None else written(checkpoint[0]),
        )
        try:
            heard = self._store.take(beat).result()
        except Leave:
            metrics.heartbeats.labels("refused").inc()
            raise
        reach("heartbeat.taken")
        metrics.heartbeats.labels("taken").inc()
        return heard

    def _check_pace(self, run_id: str) -> None:
        with self._lock:
            bucket = self._pace.pop(run_id, None)
            bucket = bucket or TokenBucket(per_second=_PER_SECOND, burst=_BURST)
            self._pace[run_id] = bucket
            if len(self._pace) > _KEEP:
                self._pace.popitem(last=False)
            if not bucket.take(self._clock.monotonic()):
                raise TooMany(f"more than {_PER_SECOND:g} heartbeats a second")


def _progress(progress: Any) -> str | None:
    if progress is None:
        return None
    try:
        text = written(progress)
    except BadCheckpoint as error:
        raise TooLarge("the progress cannot be kept: send less of it") from error
    if len(text.encode()) > PROGRESS_AT_MOST:
        raise TooLarge(f"the progress has more than {PROGRESS_AT_MOST:,} bytes: send less of it")
    return text
