"""Sources: every trigger with a source outside is read, each by itself.

A bounded number of threads serves all sources: a turn of a source that has nothing to do is short.
One that fails waits by itself; one whose call does not come back is let go, said so, and opened
anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import structlog

from orchestrator.domain.clock import SECOND, Clock
from orchestrator.domain.signals import Signal, Signals, Topic
from orchestrator.services.crew import Crew
from orchestrator.services.definitions import Definitions
from orchestrator.services.loop import Service
from orchestrator.services.opening import NoConnector, Opener, Turner
from orchestrator.services.reader import Reader, Shelf
from orchestrator.store.sources import Source, SourceState
from orchestrator.store.values import Run

_log = structlog.get_logger(__name__)

_LOOK = 10.0  # seconds between two looks for sources that nobody reads
_PACE = 0.02  # seconds between two turns of one source, however much happens
_WAIT = 20.0  # seconds that a source which waits by itself may do so
_ROUND = 20.0  # seconds within which each source has its turn, where there are many
_LEAST_WAIT = 0.2


@dataclass(kw_only=True)
class _Seat:
    """Somebody at a source, and the turn under way."""

    reader: Turner
    due: float = 0.0  # monotonic
    again: bool = False  # it was stirred since its turn began
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
        opener: Opener,
        *,
        owner: str,
        threads: int,
        hang_after: float,
    ) -> None:
        super().__init__(clock, signals)
        self._shelf = shelf
        self._definitions = definitions
        self._opener = opener
        self._owner = owner
        self._threads = threads
        self._hang_after = hang_after
        self._crew = Crew(threads, "source")
        self._state = threading.Lock()
        self._seats: dict[str, list[_Seat]] = {}
        self._look_at = 0.0
        always, self._some = threading.Event(), threading.Event()
        always.set()
        self._registered, self._changed = threading.Event(), threading.Event()
        self._tell = threading.Event()
        self._registered.set()
        self._relays = (
            (_Relay(self._registered, always, self), (Topic.SCHEDULE, Topic.ADOPTED)),
            (_Relay(self._changed, self._some, self), (Topic.CHANGED, Topic.ENDED)),
            (_Relay(self._tell, self._some, self), (Topic.TELL,)),
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
            seats = self._all()
            self._seats.clear()
        for seat in seats:
            seat.reader.stop()
        self._crew.stop()
        for seat in seats:
            seat.reader.close()

    def _all(self) -> list[_Seat]:
        return [seat for seats in self._seats.values() for seat in seats]

    # -- for any thread ---------------------------------------------------------------------

    def lag(self, trigger_uid: str) -> Mapping[str, int]:
        """Events of a trigger that are in no run yet, by partition; empty where nobody knows."""
        with self._state:
            seats = list(self._seats.get(trigger_uid, ()))
        return _lag(seats)

    def troubles(self, trigger_uid: str) -> Mapping[str, str]:
        """Partitions of a trigger that cannot be read now while others can, each with why."""
        with self._state:
            readers = [seat.reader for seat in self._seats.get(trigger_uid, ())]
        return {
            name: why
            for reader in readers
            if isinstance(reader, Reader)
            for name, why in reader.troubles.items()
        }

    def lags(self) -> Mapping[str, Mapping[str, int]]:
        """The same of all triggers that are read here, by their names."""
        with self._state:
            served = list(self._seats.values())
        return {seats[0].reader.row.trigger: _lag(seats) for seats in served if seats}

    def lost(self, run: Run) -> str | None:
        """Why a run's events cannot be read any more, if that is known."""
        if run.life_us is not None or run.range_start is None or run.payload is not None:
            return None
        with self._state:
            seats = self._seats.get(run.trigger_uid)
        return seats[0].reader.lost(run.partition, run.range_start) if seats else None

    @property
    def threads(self) -> int:
        """Threads that read sources."""
        return self._crew.threads

    def _patience(self) -> float:
        """Seconds that one source may wait for its events, so that all have their turn."""
        with self._state:
            waiting = len(self._seats)
        return max(_LEAST_WAIT, min(_WAIT, _ROUND * self._threads / max(1, 2 * waiting)))

    # -- the loop ---------------------------------------------------------------------------

    def run_once(self) -> int | None:
        """Begin the turns that are due; returns when the next is."""
        ticks = self._clock.monotonic()
        if self._registered.is_set() or ticks >= self._look_at:
            self._registered.clear()
            self._look_at = ticks + _LOOK
            self._reload()
        self._stir(ticks)
        self._watch_over(ticks)
        with self._state:
            due = [s for s in self._all() if s.began is None and s.due <= ticks]
            for seat in due:
                seat.began = ticks
        for seat in due:
            self._crew.submit(lambda seat=seat: self._turn(seat))
        return self._clock.now() + int(max(0.0, self._next() - ticks) * SECOND)

    def _stir(self, ticks: float) -> None:
        """Let those look at once who have a reason to."""
        changed, tell = self._changed.is_set(), self._tell.is_set()
        self._changed.clear()
        self._tell.clear()
        waiting = self._shelf.telling.waiting() if tell else set[str]()
        with self._state:
            for uid, seats in self._seats.items():
                for seat in seats:
                    stirred = changed and seat.reader.stir()
                    if stirred or (seat.reader.reports and uid in waiting):
                        seat.again = True
                        seat.due = min(seat.due, ticks + _PACE)

    def _next(self) -> float:
        with self._state:
            seats = self._all()
            free = [seat.due for seat in seats if seat.began is None]
            busy = [seat.began + self._hang_after for seat in seats if seat.began is not None]
        return min([self._look_at, *free, *busy])

    def _turn(self, seat: _Seat) -> None:
        with self._state:
            seat.thread = threading.current_thread()
            seat.began = self._clock.monotonic()
            seat.again = False
        pause = seat.reader.turn()
        with self._state:
            seat.began = seat.thread = None
            # Who was stirred meanwhile looks again.
            seat.due = self._clock.monotonic() + max(_PACE, 0.0 if seat.again else pause)
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
                for seat in self._seats.get(uid, ()):
                    if not seat.reader.fits(row):
                        gone.append(uid)
                        break
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
        try:
            definition = self._definitions.get(row.definition)
            readers = self._opener.open(row, definition, self._patience)
        except NoConnector as error:
            self._shelf.sources.tell(row.trigger_uid, SourceState.BROKEN, str(error))
            return
        except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything
            _log.exception("source cannot be opened", trigger=row.trigger)
            detail = f"cannot be opened: {type(error).__name__}: {error}"
            self._shelf.sources.tell(row.trigger_uid, SourceState.BROKEN, detail)
            return
        with self._state:
            self._seats[row.trigger_uid] = [_Seat(reader=reader) for reader in readers]

    def _close(self, trigger_uid: str) -> None:
        with self._state:
            seats = self._seats.pop(trigger_uid, [])
        for seat in seats:
            seat.reader.stop()
            self._crew.submit(seat.reader.close)

    def _watch_over(self, ticks: float) -> None:
        """Let go of turns that do not come back."""
        with self._state:
            hanging = {
                uid: seat
                for uid, seats in self._seats.items()
                for seat in seats
                if seat.began is not None
                and seat.thread is not None
                and ticks - seat.began >= self._hang_after
            }
            all_of = {uid: self._seats.pop(uid) for uid in hanging}
        for uid, hung in hanging.items():
            row = hung.reader.row
            detail = f"a call into the connector {row.kind} did not come back; it was begun anew"
            _log.error(
                "source stuck", trigger=row.trigger, seconds=round(ticks - (hung.began or 0))
            )
            for seat in all_of[uid]:
                seat.reader.stop()
                if seat.thread is not None:
                    self._crew.let_go(seat.thread)  # of the others, too: nobody watches them now
            # Closing what hangs may hang as well.
            others = [seat for seat in all_of[uid] if seat is not hung]
            threading.Thread(target=_close_all, args=(others,), daemon=True).start()
            self._shelf.sources.tell(uid, SourceState.STUCK, detail)
            self._registered.set()
            self.wake()


def _close_all(seats: Sequence[_Seat]) -> None:
    for seat in seats:
        seat.reader.close()


def _lag(seats: Sequence[_Seat]) -> Mapping[str, int]:
    return {name: count for seat in seats for name, count in seat.reader.lag.items()}
