"""Callbacks: what the outbox holds is told to those who asked, at least once."""

from __future__ import annotations

import hashlib
import hmac
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from urllib.parse import urlsplit

import structlog
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orchestrator import metrics
from orchestrator.domain.clock import DAY, HOUR, SECOND, Clock, to_rfc3339
from orchestrator.domain.signals import Signals, Topic
from orchestrator.failpoints import reach
from orchestrator.services.chain import Chain
from orchestrator.services.loop import Service
from orchestrator.services.webhook import Undelivered, post
from orchestrator.store.outbox import Outbox, Pending

_log = structlog.get_logger(__name__)
_INFO = b"orch callbacks v1"
_THREADS = 16
_PER_TARGET = 2  # at once, so that one slow receiver does not hold up the others
_LOOK = 500
_CLAIM = 60 * SECOND  # longer than any delivery takes
_GIVE_UP = DAY
_BACKOFF = SECOND
_BACKOFF_AT_MOST = HOUR


def callback_key(key: bytes) -> bytes:
    """The key that signs callbacks, derived from the store's key file: 32 bytes."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_INFO).derive(key)


def signature(key: bytes, timestamp: str, body: bytes) -> str:
    """`Orch-Signature`: the receiver computes it over `Orch-Timestamp`, a dot and the body."""
    return "v1=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def delivery_id(instance: str, callback: Pending) -> str:
    """The same for every try of one callback, and of no other."""
    parts = (instance, callback.run_id, callback.event, str(callback.id), str(callback.created_at))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def backoff(tries: int, jitter: float) -> int:
    """Microseconds until the next try after `tries` failed ones; `jitter` in [0, 1)."""
    longest = min(_BACKOFF_AT_MOST, _BACKOFF * 2 ** min(tries, 20))
    return int(longest * (0.5 + jitter / 2))


class Callbacks(Service):
    """Delivers. What fails is tried again for a day, then given up, loudly."""

    name: ClassVar[str] = "callbacks"
    topics: ClassVar[Sequence[Topic]] = (Topic.OUTBOX,)

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        outbox: Outbox,
        chain: Chain,
        *,
        instance: str,
        key: bytes,
        allow_private: bool,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(clock, signals)
        self._outbox = outbox
        self._chain = chain
        self._instance = instance
        self._key = key
        self._allow_private = allow_private
        self._jitter = jitter
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="callback")
        self._state = threading.Lock()
        self._busy: Counter[str] = Counter()  # deliveries under way, by target

    def stop(self) -> None:
        """End the loop and the deliveries under way; the others stay in the outbox."""
        super().stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run_once(self) -> int | None:
        """Begin what may be delivered now; returns when there may be more."""
        now = self._clock.now()
        while not self.stopping:
            with self._state:
                busy = self._busy.copy()
            full = [target for target, count in busy.items() if count >= _PER_TARGET]
            chosen = _choose(self._outbox.pending(now, _LOOK, skip=full), busy)
            if not chosen:
                break
            for callback in self._outbox.claim(chosen, now + _CLAIM):
                with self._state:
                    self._busy[callback.target_text] += 1
                self._pool.submit(self._deliver, callback)
        next_at = self._outbox.next_at()
        # What is due and was not chosen waits for a delivery that ends: that wakes us.
        return next_at if next_at is None or next_at > now else None

    def _deliver(self, callback: Pending) -> None:
        target = callback.target_text
        try:
            if not self.stopping:
                self._try(callback)
        except Exception:  # noqa: BLE001  (it stays in the outbox, and its claim ends)
            _log.exception("callback failed", run=callback.run_id)
        finally:
            with self._state:
                self._busy[target] -= 1
                if not self._busy[target]:
                    del self._busy[target]
            self.wake()

    def _try(self, callback: Pending) -> None:
        fields = {"run": callback.run_id, "callback": callback.event, "to": _receiver(callback)}
        try:
            if "after" in callback.target:
                self._chain.arrive(callback)
            elif "trigger" in callback.target:
                self._chain.fire(callback, delivery_id(self._instance, callback))
            else:
                self._post(callback)
        except Undelivered as error:
            self._failed(callback, error, fields)
            return
        reach("callback.delivered")
        self._outbox.delivered(callback)
        metrics.callbacks.labels("delivered").inc()
        _log.info("callback delivered", **fields)

    def _post(self, callback: Pending) -> None:
        body = callback.payload.encode()
        # Seconds, as most libraries that check such signatures expect.
        timestamp = str(self._clock.now() // SECOND)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "orch",
            "Orch-Event": callback.event,
            "Orch-Delivery": delivery_id(self._instance, callback),
            "Orch-Timestamp": timestamp,
            "Orch-Signature": signature(self._key, timestamp, body),
        }
        post(str(callback.target["url"]), body, headers, allow_private=self._allow_private)

    def _failed(self, callback: Pending, error: Undelivered, fields: dict[str, str]) -> None:
        next_at: int | None = self._clock.now() + backoff(callback.tries, self._jitter())
        if error.final or next_at > callback.created_at + _GIVE_UP:
            next_at = None
        self._outbox.failed(callback, str(error)[:1000], next_at)
        metrics.callbacks.labels("given_up" if next_at is None else "failed").inc()
        if next_at is None:
            _log.error("callback given up", error=str(error), tries=callback.tries + 1, **fields)
        else:
            _log.warning(
                "callback not delivered", error=str(error), again_at=to_rfc3339(next_at), **fields
            )


def _choose(pending: Sequence[Pending], busy: Counter[str]) -> list[Pending]:
    """Those that may begin beside what is under way."""
    chosen: list[Pending] = []
    for callback in pending:
        if busy[callback.target_text] < _PER_TARGET and busy.total() < _THREADS:
            busy[callback.target_text] += 1
            chosen.append(callback)
    return chosen


def _receiver(callback: Pending) -> str:
    """Who it is for, without the path of an address: that may be a secret."""
    for kind in ("trigger", "after"):
        if kind in callback.target:
            return str(callback.target[kind])
    return urlsplit(str(callback.target["url"])).netloc
