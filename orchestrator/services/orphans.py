"""Orphans: objects that were written for a run, and that no run refers to.

An object is durable before the commit that makes its run, so whoever dies in between leaves it. Its
name says when it was written. After some hours nobody has it in hand any more: what then is in no
run's inputs is removed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import structlog

from connectors.payloads import Payloads, written_at
from connectors.streams import SourceError, SourceRefused
from orchestrator.domain.clock import HOUR, SECOND
from orchestrator.store.leftovers import Leftovers

AGE = 6 * HOUR
"""How old an object without a run is when it is removed. A batch is packed anew long before."""
_EVERY = AGE / SECOND
_AGAIN = 300.0  # seconds until a store that did not answer is looked at again
_AT_ONCE = 5000  # names

_log = structlog.get_logger(__name__)


class Orphans:
    """Those of one trigger. `step` is for one thread."""

    def __init__(self, trigger_uid: str, payloads: Payloads, leftovers: Leftovers) -> None:
        self._uid = trigger_uid
        self._payloads = payloads
        self._leftovers = leftovers
        self._names: Iterator[str] | None = None
        self._next_at = 0.0

    def step(self, ticks: float, before: int) -> None:
        """Look at some thousand objects that were written before an instant, or at none if all were
        looked at lately. `ticks` are monotonic seconds."""
        if ticks < self._next_at:
            return
        try:
            self._look(ticks, before)
        except SourceError as error:
            _log.warning("orphans stay for now", trigger_uid=self._uid, error=str(error))
            refused = isinstance(error, SourceRefused)
            self._names, self._next_at = None, ticks + (_EVERY if refused else _AGAIN)

    def _look(self, ticks: float, before: int) -> None:
        if self._names is None:
            self._names = self._payloads.stored()
        some = list(itertools.islice(self._names, _AT_ONCE))
        if len(some) < _AT_ONCE:
            self._names, self._next_at = None, ticks + _EVERY
        orphans = {name for name in some if (at := written_at(name)) is not None and at < before}
        if not orphans:
            return
        for inputs in self._leftovers.inputs(self._uid):
            orphans.difference_update(self._payloads.names(inputs))
        for name in orphans:
            self._payloads.remove(name)
        if orphans:
            _log.info("orphans removed", trigger_uid=self._uid, objects=len(orphans))
