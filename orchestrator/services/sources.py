"""Sources: every trigger with a source outside is read, each by itself.

A bounded number of threads serves all sources: a turn of a source that has nothing to do is short.
One that fails waits by itself; one whose call does not come back is let go, said so, and opened
anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import structlog

from connectors.streams import SourceContext, StreamConnector
from orchestrator.domain.clock import SECOND, Clock
from orchestrator.domain.signals import Signal, Signals, Topic
from orchestrator.services.crew import Crew
from orchestrator.services.definitions import Definitions
from orchestrator.services.loop import Service
from orchestrator.services.reader import Reader, Shelf
from orchestrator.store.sources import Source, SourceState
from orchestrator.store.values import Run

_log = structlog.get_logger(__name__)

_LOOK = 10.0  # seconds between two looks for sources that nobody reads
_PACE = 0.02  # seconds between two turns of one source, however much happens


@dataclass(kw_only=True)
class _Seat:
    """A reader and its turn under way."""

    reader: Reader
    due: float = 0.0  # monotonic
    began: float | None = None
    thread: threading.Thread | None = None


class _Relay(Signal):
    """Passes on at once that it was raised."""

    def __init__(self, told: threading.Event, wake: threading.Event, service: Service) -> None:
        super().__init__()
        self._told = told
        self._wanted = wake
        self._service = service

    def raise_(self) -> None:
        self._told.set()
        if self._wanted.is_set():
            self._service.wake()


class SourceService(Service):
    """Opens, turns and closes the readers of this orchestrator's sources."""

    name: ClassVar[str] = "sources"
    topics: ClassVar[Sequence[Topic]] = ()

    def __init__(
        self,
        clock: Clock,
        signals: Signals,
        shelf: Shelf,
        definitions: Definitions,
        connectors: Mapping[str, StreamConnector],
        *,
        owner: str,
        instance: str,
        secrets: Mapping[str, str],
        data_dir: Path,
        threads: int,
        hang_after: float,
    ) -> None:
        super().__init__(clock, signals)
        self._shelf = shelf
        self._definitions = definitions
        self._connectors = connectors
        self._owner = owner
        self._instance = instance
        self._secrets = secrets
        self._data_dir = data_dir
        self._hang_after = hang_after
        self._crew = Crew(threads, "source")
        self._state = threading.Lock()
        self._seats: dict[str, _Seat] = {}
        self._look_at = 0.0
        always, self._some = threading.Event(), threading.Event()
        always.set()
        self._registered, self._changed = threading.Event(), threading.Event()
        self._registered.set()
        self._relays = (
            (_Relay(self._registered, always, self), (Topic.SCHEDULE, Topic.ADOPTED)),
            (_Relay(self._changed, self._some, self), (Topic.CHANGED, Topic.ENDED)),
        )

    def start(self) -> None:
        """Start the loop."""
        for relay, topics in self._relays:
            self._signals.listen(relay, topics)
        super().start()

    def stop(self) -> None:
        """End the loop, the turns under way and the connections."""
        super().stop()
        for relay, _ in self._relays:
            self._signals.forget(relay)
        with self._state:
            seats = list(self._seats.values())
            self._seats.clear()
        for seat in seats:
            seat.reader.stop()
        self._crew.stop()
        for seat in seats:
            seat.reader.close()

    # -- for any thread ---------------------------------------------------------------------

    def lag(self, trigger_uid: str) -> Mapping[str, int]:
        """Events of a trigger that are in no run yet, by partition; empty where nobody knows."""
        with self._state:
            seat = self._seats.get(trigger_uid)
        return {} if seat is None else seat.reader.lag

    def lags(self) -> Mapping[str, Mapping[str, int]]:
        """The same of all triggers that are read here, by their names."""
        with self._state:
            readers = [seat.reader for seat in self._seats.values()]
        return {reader.row.trigger: reader.lag for reader in readers}

    def lost(self, run: Run) -> str | None:
        """Why a run's events cannot be read any more, if that is known."""
        if run.life_us is not None or run.range_start is None or run.payload is not None:
            return None
        with self._state:
            seat = self._seats.get(run.trigger_uid)
        return None if seat is None else seat.reader.lost(run.partition, run.range_start)

    @property
    def threads(self) -> int:
        """Threads that read sources."""
        return self._crew.threads

    # -- the loop ---------------------------------------------------------------------------

    def run_once(self) -> int | None:
        """Begin the turns that are due; returns when the next is."""
        ticks = self._clock.monotonic()
        if self._registered.is_set() or ticks >= self._look_at:
            self._registered.clear()
            self._look_at = ticks + _LOOK
            self._reload()
        changed = self._changed.is_set()
        self._changed.clear()
        self._watch_over(ticks)
        with self._state:
            for seat in self._seats.values():
                if changed:
                    seat.reader.stir()
                    seat.due = min(seat.due, ticks + _PACE)
            due = [s for s in self._seats.values() if s.began is None and s.due <= ticks]
            for seat in due:
                seat.began = ticks
        for seat in due:
            self._crew.submit(lambda seat=seat: self._turn(seat))
        return self._clock.now() + int(max(0.0, self._next() - ticks) * SECOND)

    def _next(self) -> float:
        with self._state:
            free = [seat.due for seat in self._seats.values() if seat.began is None]
            busy = [
                seat.began + self._hang_after
                for seat in self._seats.values()
                if seat.began is not None
            ]
        return min([self._look_at, *free, *busy])

    def _turn(self, seat: _Seat) -> None:
        with self._state:
            seat.thread = threading.current_thread()
            seat.began = self._clock.monotonic()
        pause = seat.reader.turn()
        with self._state:
            seat.began = seat.thread = None
            seat.due = self._clock.monotonic() + max(_PACE, pause)
        self.wake()

    def _reload(self) -> None:
        """Look at the store for sources: new ones, changed ones, those that are gone."""
        rows = self._shelf.sources.all()
        free = [row.trigger_uid for row in rows if row.owner != self._owner]
        if free:
            self._shelf.sources.claim(free)
            rows = self._shelf.sources.all()
        mine = {row.trigger_uid: row for row in rows if row.owner == self._owner}
        with self._state:
            gone = [uid for uid in self._seats if uid not in mine]
            for uid, row in mine.items():
                seat = self._seats.get(uid)
                if seat is None or not seat.reader.fits(row):
                    if seat is not None:
                        gone.append(uid)
                else:
                    seat.reader.tell(row)
                    seat.due = min(seat.due, self._clock.monotonic() + _PACE)
        for uid in gone:
            self._close(uid)
        for uid, row in mine.items():
            with self._state:
                known = uid in self._seats
            if not known:
                self._open(row)
        with self._state:
            some = bool(self._seats)
        self._some.set() if some else self._some.clear()

    def _open(self, row: Source) -> None:
        connector = self._connectors.get(row.kind)
        if connector is None:
            detail = f"there is no connector for the kind {row.kind}: install it, or delete this"
            self._shelf.sources.tell(row.trigger_uid, SourceState.BROKEN, detail)
            return
        context = SourceContext(
            instance=self._instance,
            trigger=row.trigger,
            trigger_uid=row.trigger_uid,
            secrets=self._secrets,
            data_dir=self._data_dir / "sources" / row.trigger_uid,
            stop=threading.Event(),
        )
        try:
            definition = self._definitions.get(row.definition)
            reader = Reader(row, definition, connector, context, self._shelf, self._clock)
        except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything
            _log.exception("source cannot be opened", trigger=row.trigger)
            detail = f"cannot be opened: {type(error).__name__}: {error}"
            self._shelf.sources.tell(row.trigger_uid, SourceState.BROKEN, detail)
            return
        with self._state:
            self._seats[row.trigger_uid] = _Seat(reader=reader)

    def _close(self, trigger_uid: str) -> None:
        with self._state:
            seat = self._seats.pop(trigger_uid, None)
        if seat is None:
            return
        seat.reader.stop()
        self._crew.submit(seat.reader.close)

    def _watch_over(self, ticks: float) -> None:
        """Let go of turns that do not come back."""
        with self._state:
            hanging = [
                (uid, seat)
                for uid, seat in self._seats.items()
                if seat.began is not None
                and seat.thread is not None
                and ticks - seat.began >= self._hang_after
            ]
            for uid, _ in hanging:
                del self._seats[uid]
        for uid, seat in hanging:
            row = seat.reader.row
            detail = f"a call into the connector {row.kind} did not come back; it was begun anew"
            _log.error(
                "source stuck", trigger=row.trigger, seconds=round(ticks - (seat.began or 0))
            )
            seat.reader.stop()
            if seat.thread is not None:
                self._crew.let_go(seat.thread)
            self._shelf.sources.tell(uid, SourceState.STUCK, detail)
            self._registered.set()
            self.wake()
