"""The cluster as the daemon sees it: reachable or not, ours to use or not, the same or another.

Dispatcher, watcher and canceller share one `Cluster`: what one of them learns holds for all.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import structlog

from bacalhau_client import (
    Answered,
    BacalhauClient,
    BacalhauError,
    Forbidden,
    NotFound,
    Throttled,
    Unauthorized,
    Unavailable,
)
from orchestrator.domain.clock import Clock
from orchestrator.domain.limits import Pace
from orchestrator.domain.signals import Signals
from orchestrator.store.database import Database, set_meta
from orchestrator.store.writer import Tx

_log = structlog.get_logger(__name__)

_IDENTITY = "cluster.id"
_BLOCK = "cluster.block"
_ACCEPTED_AT = "cluster.accepted_at"


class ClusterState(StrEnum):
    """What the daemon knows of the cluster."""

    UNKNOWN = "unknown"  # not asked yet
    OK = "ok"
    AWAY = "away"  # does not answer, or asks for less: slow down, go on by itself
    UNAUTHORIZED = "unauthorized"  # 401: not ours to use until the credentials are mended
    FORBIDDEN = "forbidden"  # 403: the credentials lack a capability
    CHANGED = "changed"  # another cluster answers: stand still until `orch cluster accept`
    LOST = "lost"  # it has forgotten jobs of ours in number: likewise


@dataclass(frozen=True, kw_only=True)
class ClusterStatus:
    """A snapshot for people and metrics."""

    state: ClusterState
    detail: str
    since: int
    identity: str | None
    blocked: bool


class Cluster:
    """Thread-safe. Holds no lock while it talks to the cluster or the store."""

    def __init__(
        self, client: BacalhauClient, database: Database, clock: Clock, signals: Signals
    ) -> None:
        self.client = client
        self._db = database
        self._clock = clock
        self._signals = signals
        self._lock = threading.Lock()
        self._pace = Pace()
        self._resume_at = 0.0
        self._state = ClusterState.UNKNOWN
        self._detail = ""
        self._since = clock.now()
        self._identity = database.meta(_IDENTITY)
        self._confirmed = False  # the cluster has said who it is since it was last away
        self._accepted_at = int(database.meta(_ACCEPTED_AT) or 0)
        self._throttled_until = 0.0
        self._successes = 0
        block = database.meta(_BLOCK)
        if block:
            state, _, detail = block.partition(" ")
            self._state, self._detail = ClusterState(state), detail

    @property
    def status(self) -> ClusterStatus:
        """How the cluster stands now."""
        with self._lock:
            return ClusterStatus(
                state=self._state,
                detail=self._detail,
                since=self._since,
                identity=self._identity,
                blocked=self._blocked(),
            )

    @property
    def successes(self) -> int:
        """How many submissions were answered clearly so far."""
        with self._lock:
            return self._successes

    @property
    def accepted_at(self) -> int:
        """When somebody last said that this cluster is ours, whatever it has forgotten; or 0."""
        with self._lock:
            return self._accepted_at

    def _blocked(self) -> bool:
        return self._state in (ClusterState.CHANGED, ClusterState.LOST)

    def pause(self) -> float:
        """Seconds to wait before the next submission: 0 to go on, -1 while blocked."""
        with self._lock:
            if self._blocked():
                return -1.0
            return max(0.0, self._resume_at - self._clock.monotonic())

    def throttled(self) -> float:
        """Seconds for which the cluster has asked to be left alone."""
        with self._lock:
            return max(0.0, self._throttled_until - self._clock.monotonic())

    def answered(self, *, wrote: bool = False) -> None:
        """A request was carried out. Reading is not enough where writing was forbidden."""
        with self._lock:
            if not wrote and (
                self._state is ClusterState.FORBIDDEN
                or self._clock.monotonic() < self._throttled_until
            ):
                return
            self._successes += wrote
            self._pace = self._pace.success()
            self._resume_at = 0.0
            recovered = not self._blocked() and self._state is not ClusterState.OK
            was = self._set(ClusterState.OK, "") if recovered else self._state
        if recovered:
            if was is not ClusterState.UNKNOWN:
                _log.warning("cluster is back", was=was)
            self._signals.raise_all()

    def failed(self, error: BacalhauError) -> None:
        """A request failed for a reason that concerns the cluster, not the job."""
        retry_after = error.retry_after if isinstance(error, Throttled | Unavailable) else None
        state = ClusterState.AWAY
        if isinstance(error, Unauthorized):
            state = ClusterState.UNAUTHORIZED
        elif isinstance(error, Forbidden):
            state = ClusterState.FORBIDDEN
        with self._lock:
            self._confirmed = False
            now = self._clock.monotonic()
            if retry_after is not None:
                self._throttled_until = now + min(retry_after, self._pace.ceiling)
            if now >= self._resume_at:
                # One step back a pause, however many threads hit the same trouble.
                self._pace = self._pace.trouble(retry_after)
                self._resume_at = now + self._pace.delay
            changed = not self._blocked() and self._state is not state
            if changed:
                self._set(state, str(error))
        if changed:
            _log.error("cluster trouble", state=state, error=str(error))

    def _set(self, state: ClusterState, detail: str) -> ClusterState:
        was, self._state, self._detail = self._state, state, detail
        self._since = self._clock.now()
        return was

    # -- identity ---------------------------------------------------------------------------

    def check_identity(self) -> bool:
        """Ask the node who it is. Returns whether it may be used. Raises BacalhauError."""
        node = self.client.agent.node()
        return self.seen_identity(node.id)

    def confirm(self) -> bool:
        """Before something is sent: is this still the cluster that we know?

        Asks only at first and after trouble: what answers then may be another one, to which
        nothing must be sent that the known one may have already. Raises BacalhauError.
        """
        with self._lock:
            if self._confirmed:
                return not self._blocked()
        known = True
        # Credentials that may not ask learn it from every job that is watched.
        with suppress(Forbidden, NotFound):
            known = self.check_identity()
        with self._lock:
            self._confirmed = known
        return known

    def seen_identity(self, identity: str) -> bool:
        """Compare the cluster's identity with the one that is remembered; remember the first."""
        if not identity:
            return True
        with self._lock:
            known = self._identity
            if known is None:
                self._identity = identity
        if known is None:
            self._db.write(lambda tx: set_meta(tx.conn, _IDENTITY, identity), "identity")
            return True
        if known == identity:
            return True
        self.block(
            ClusterState.CHANGED,
            f"another cluster answers ({identity}, before {known}): jobs in doubt may run there "
            "and here. If that is meant, say `orch cluster accept`",
        )
        return False

    def block(self, state: ClusterState, detail: str) -> None:
        """Stop dispatching until `accept`, also over a restart."""
        with self._lock:
            if self._blocked():
                return
            self._set(state, detail)
        self._db.write(lambda tx: set_meta(tx.conn, _BLOCK, f"{state} {detail}"), "block")
        _log.error("dispatching stopped", state=state, detail=detail)

    def accept(self) -> str:
        """Take the cluster that answers now as ours; returns its identity.

        Jobs from before that it does not know are lost from now on, and their runs tried again.
        Raises BacalhauError if it does not answer.
        """
        identity = self.client.agent.node().id
        now = self._clock.now()

        def operation(tx: Tx) -> None:
            set_meta(tx.conn, _IDENTITY, identity)
            set_meta(tx.conn, _BLOCK, None)
            set_meta(tx.conn, _ACCEPTED_AT, str(now))

        self._db.write(operation, "cluster.accept")
        with self._lock:
            self._identity = identity
            self._accepted_at = now
            self._set(ClusterState.OK, "")
        self._signals.raise_all()
        return identity


def concerns_cluster(error: BacalhauError) -> bool:
    """Whether an error says something about the cluster rather than about one job."""
    if isinstance(error, Unauthorized | Forbidden | Throttled | Unavailable):
        return True
    return not isinstance(error, Answered)
