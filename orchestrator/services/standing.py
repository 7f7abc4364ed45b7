"""Standing: how a source does, as people see it, and how long to wait after what went wrong."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog

from connectors.streams import SourceChanged, SourceRefused, SourceUnavailable
from orchestrator.store.errors import StoreError
from orchestrator.store.sources import Source, Sources, SourceState

_log = structlog.get_logger(__name__)

EXPECTED = (SourceUnavailable, SourceRefused, SourceChanged, StoreError)
"""What a turn may raise; everything else is a fault of the connector."""

_STATES = {
    SourceUnavailable: (SourceState.UNAVAILABLE, 0.5, 30.0),
    SourceRefused: (SourceState.REFUSED, 5.0, 300.0),
    SourceChanged: (SourceState.CHANGED, 15.0, 60.0),
    StoreError: (None, 1.0, 5.0),
}
_BROKEN = (SourceState.BROKEN, 5.0, 300.0)
_DOUBLINGS = 20
_OK = (SourceState.OK, "")


class Standing:
    """One source's. Several parts that use it may each be well or not: the source is well once
    all of them are. Thread-safe."""

    def __init__(self, row: Source, sources: Sources, parts: Sequence[str] = ("",)) -> None:
        self._uid = row.trigger_uid
        self._trigger = row.trigger
        self._sources = sources
        self._lock = threading.Lock()
        self._shown = row.state, row.detail
        self._parts: dict[str, tuple[SourceState, str] | None] = dict.fromkeys(parts)
        self._errors: dict[str, int] = {}

    def well(self, part: str = "") -> None:
        """A turn went well."""
        self._errors.pop(part, None)
        self._note(part, _OK)

    def failed(self, error: Exception, part: str = "") -> float:
        """A turn failed; returns after how many seconds to try again."""
        kind = next((kind for kind in _STATES if isinstance(error, kind)), None)
        state, first, most = _BROKEN if kind is None else _STATES[kind]
        if kind is None:
            _log.error("source failed", trigger=self._trigger, exc_info=error)
        if state is not None:
            detail = str(error) if kind is not None else f"{type(error).__name__}: {error}"
            self._note(part, (state, detail))
        errors = self._errors.get(part, 0)
        self._errors[part] = min(errors + 1, _DOUBLINGS)
        return min(most, first * 2**errors)

    def _note(self, part: str, news: tuple[SourceState, str]) -> None:
        with self._lock:
            self._parts[part] = news
            known = [shown for shown in self._parts.values() if shown is not None]
            worse = [shown for shown in known if shown != _OK]
            shown = worse[0] if worse else _OK
            if shown == self._shown or (not worse and len(known) < len(self._parts)):
                return
            try:
                told = self._sources.tell(self._uid, *shown)
            except StoreError:
                return  # it will be told by the next turn
            self._shown = shown
        if told:
            level = _log.info if shown == _OK else _log.warning
            level("source", trigger=self._trigger, state=shown[0].value, detail=shown[1])
