"""Placement: a retry goes to another node first, where it was one node that failed."""

from __future__ import annotations

import threading

import structlog

from bacalhau_client import BacalhauClient, BacalhauError
from orchestrator.domain.clock import Clock
from orchestrator.domain.states import AttemptState
from orchestrator.store.reads import Reads
from orchestrator.store.values import Run

_log = structlog.get_logger(__name__)
_KEEP = 30.0  # seconds that the list of nodes is kept


class Placement:
    """Says which node an attempt should leave out. Thread-safe."""

    def __init__(self, client: BacalhauClient, reads: Reads, clock: Clock) -> None:
        self._client = client
        self._reads = reads
        self._clock = clock
        self._lock = threading.Lock()
        self._connected: frozenset[str] = frozenset()
        self._until = 0.0

    def avoid(self, run: Run) -> str:
        """The id of the node on which all attempts of a run have failed so far, if the cluster has
        others; otherwise nothing.

        When no other node can take the job, that attempt has no node, and the next one avoids
        none.
        """
        if not run.attempts:
            return ""
        tried = self._reads.attempts([run.id]).get(run.id, [])
        nodes = {attempt.node_id for attempt in tried if attempt.counted}
        if len(nodes) != 1 or not tried or tried[-1].state is not AttemptState.FAILED:
            return ""
        [node] = nodes
        if not node or tried[-1].node_id != node:
            return ""
        return node if self._nodes() - {node} else ""

    def _nodes(self) -> frozenset[str]:
        """The compute nodes that are connected; none while the cluster does not say."""
        with self._lock:
            now = self._clock.monotonic()
            if now >= self._until:
                self._until = now + _KEEP
                try:
                    self._connected = frozenset(
                        node.info.id
                        for node in self._client.nodes.iterate()
                        if node.info.compute is not None and node.connection.is_connected
                    )
                except BacalhauError as error:
                    _log.debug("nodes cannot be listed", error=str(error))
                    self._connected = frozenset()
            return self._connected
