"""Reader: one trigger's source, read batch by batch into the ledger.

A turn asks the source what there is, takes it in, and tells the source how far everything is done.
Whatever fails in between, the next turn begins again from what the store says.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from connectors.streams import (
    END,
    Batch,
    Place,
    SourceChanged,
    SourceContext,
    SourceUnavailable,
    StreamConnector,
    StreamSource,
    Want,
)
from orchestrator import metrics
from orchestrator.domain.clock import Clock, to_rfc3339
from orchestrator.domain.outcome import LOST
from orchestrator.domain.states import RunState, TriggerState
from orchestrator.failpoints import reach
from orchestrator.services.completer import callbacks_of
from orchestrator.services.definitions import Definition
from orchestrator.services.standing import EXPECTED, Standing
from orchestrator.services.tending import Tending
from orchestrator.store.inbox import Inboxes
from orchestrator.store.leftovers import Leftovers
from orchestrator.store.lives import Lives
from orchestrator.store.sources import Source, Sources, StreamPartition
from orchestrator.store.streams import StreamBatch, Streams
from orchestrator.store.telling import Telling

_log = structlog.get_logger(__name__)

_DISCOVER = 10.0  # seconds between two looks for new partitions
_COMMIT = 1.0  # seconds between two commits of `done` at the source
_PARTITIONS = "partitions"  # the part of a source's standing that is about single ones
_NAMED = 5  # partitions
_WAIT = 0.5  # seconds that a source which waits by itself may do so


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where a reader finds and puts things: the store's side."""

    sources: Sources
    streams: Streams
    lives: Lives
    leftovers: Leftovers
    inboxes: Inboxes
    telling: Telling


class Reader:
    """Reads one source. One thread at a time calls `turn`; the rest may be called by any."""

    reports = False

    def __init__(
        self,
        row: Source,
        definition: Definition,
        connector: StreamConnector,
        context: SourceContext,
        shelf: Shelf,
        clock: Clock,
    ) -> None:
        self.row = row
        self.definition = definition
        self._shelf = shelf
        self._clock = clock
        self._context = context
        self._standing = Standing(row, shelf.sources, ("", _PARTITIONS))
        self._source: StreamSource = connector.open(definition.settings, context)
        self._tending = Tending(self._source, shelf.streams, shelf.lives, shelf.leftovers, clock)
        self._dirty = True
        self._places: list[StreamPartition] = []
        self._discover_at = 0.0
        self._commit_at = 0.0
        self._committed: dict[str, str] = {}
        self._until: dict[str, str] | None = None  # None: not looked yet

    # -- for any thread ---------------------------------------------------------------------

    def fits(self, row: Source) -> bool:
        """Whether this reader can go on for a trigger as it is now."""
        return row.definition == self.row.definition and row.kind == self.row.kind

    def tell(self, row: Source) -> None:
        """The trigger was paused, resumed, asked to begin anew: go on from what the store says."""
        self.row = row
        self._dirty = True

    def stop(self) -> None:
        """Cut short what a turn waits for."""
        self._context.stop.set()

    def stir(self) -> bool:
        """Runs have changed: look at the store again, at once."""
        self._dirty = True
        return True

    @property
    def lag(self) -> Mapping[str, int]:
        """Events that are in no run yet, by partition; nothing while nobody looks."""
        return self._source.lag() if self.row.trigger_state is TriggerState.ACTIVE else {}

    @property
    def troubles(self) -> Mapping[str, str]:
        """Why single partitions cannot be read now while others can."""
        return self._source.troubles() if self.row.trigger_state is TriggerState.ACTIVE else {}

    def lost(self, partition: str, start: str) -> str | None:
        """Why a range cannot be read any more, if that is known."""
        if not self._source.gone(partition, start):
            return None
        oldest = self._source.starts().get(partition)
        return f"{LOST}: {partition} has nothing at {start} any more" + (
            f", its oldest is {oldest}" if oldest is not None else ""
        )

    def close(self) -> None:
        """Let go of the source. A turn under way comes to its end first or fails."""
        self.stop()
        try:
            self._source.close()
        except Exception:  # noqa: BLE001 - a plugin's code may raise anything
            _log.exception("source cannot be closed", trigger=self.row.trigger)

    # -- a turn -----------------------------------------------------------------------------

    def turn(self) -> float:
        """Do what there is to do; returns after how many seconds there may be more."""
        try:
            pause = self._turn()
        except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything
            if isinstance(error, EXPECTED):
                if self._context.stop.is_set():
                    return 0.0
                self._discover_at = 0.0
                self._dirty = True
            return self._standing.failed(error)
        self._standing.well()
        troubles = self.troubles
        if troubles:
            self._standing.failed(SourceUnavailable(_told(troubles)), _PARTITIONS)
        else:
            self._standing.well(_PARTITIONS)
        return pause

    def _turn(self) -> float:
        row, ticks = self.row, self._clock.monotonic()
        due = ticks >= self._discover_at or row.restart or self._source.stale
        if row.trigger_state is TriggerState.ACTIVE and due:
            self._discover()
            self._discover_at = ticks + _DISCOVER
        news, self._dirty = self._dirty, False
        if news:
            self._places = self._shelf.sources.partitions(row.trigger_uid)
        self._let_go()
        again = self._source.interval
        if row.trigger_state is TriggerState.ACTIVE and self._read():
            self._dirty = True
            again = 0.0
        else:
            again = min(again or _WAIT, _DISCOVER)
        self._commit()
        return min(again, self._tending.tend(self.row, self.definition, news=news))

    def _discover(self) -> None:
        row = self.row
        known = {} if row.restart else {p.name: _place(p) for p in self._fresh()}
        found = self._source.discover(known)
        if row.restart:
            self._shelf.sources.restart(row.trigger_uid, found.identity, found.partitions)
        elif row.identity is not None and row.identity != found.identity:
            raise SourceChanged(
                f"the source that was registered is gone and another has its name (it was "
                f"{row.identity}, now it is {found.identity}): positions mean nothing there. "
                f"Pause the trigger and say `orch checkpoints restart {row.trigger} --reason …`"
            )
        else:
            if found.over:
                self._shelf.leftovers.retire(row.trigger_uid, found.over)
            new = {n: at for n, at in found.partitions.items() if n not in known}
            if row.identity is not None and not new:
                return
            self._shelf.sources.found(row.trigger_uid, found.identity, new)
        self.row = self._shelf.sources.get(row.trigger_uid) or row
        self._dirty = True

    def _fresh(self) -> Sequence[StreamPartition]:
        return self._shelf.sources.partitions(self.row.trigger_uid)

    def _let_go(self) -> None:
        """Let runs in line become ready where what held them up has gone by a command."""
        how = self.definition.how
        room = how.room or 1
        held = [
            p.name
            for p in self._places
            if p.in_line and not (how.blocks and p.blocked) and p.open_runs - p.in_line < room
        ]
        if held and self._shelf.streams.promote(self.row.trigger_uid, held, how):
            self._dirty = True

    def _read(self) -> bool:
        """Ask the source for batches and take them in. Returns whether there may be more."""
        if self._until is None or self._until:
            self._absorb()
        places = {p.name: p for p in self._places if p.planned is not None}
        wants = [self._want(place) for place in places.values()]
        batches = self._source.poll(wants, 0.0 if self._source.interval else _WAIT)
        if not batches:
            return False
        planned: dict[StreamPartition, list[StreamBatch]] = defaultdict(list)
        rooms = {want.partition: want for want in wants}
        for batch in batches:
            want = rooms.get(batch.partition)
            mine = planned[places[batch.partition]] if want is not None else None
            expected = None
            if want is not None:
                expected = mine[-1].end if mine else want.position
            if want is None or mine is None or batch.start != expected:
                raise ValueError(
                    f"the connector gave a batch of {batch.partition} that begins at "
                    f"{batch.start}, where {expected} was asked for"
                )
            mine.append(self._batch(batch))
        reach("stream.polled")
        taken = self._shelf.streams.take_in(self.row, planned, self.definition.how)
        reach("stream.taken")
        metrics.firings.inc(sum(len(b) for p, b in planned.items() if p.name in taken))
        return True

    def _want(self, place: StreamPartition) -> Want:
        how = self.definition.how
        room = 2 * (how.room or 1) - place.open_runs
        if how.blocks and place.blocked:
            room = 0
        return Want(
            partition=place.name,
            position=place.planned or END,
            room=max(0, room),
            idle=place.open_runs == 0 and not (how.blocks and place.blocked),
            until=(self._until or {}).get(place.name),
            generation=place.generation,
        )

    def _batch(self, batch: Batch) -> StreamBatch:
        common: dict[str, Any] = {
            "start": batch.start,
            "end": batch.end,
            "values": batch.values,
            "inputs": batch.inputs,
        }
        if batch.life is not None:
            return StreamBatch(
                **common, life_us=batch.life.duration, stall_us=batch.life.stall_after
            )
        if batch.outcome == "run":
            return StreamBatch(**common)
        if batch.outcome == "skipped":
            return StreamBatch(**common, state=RunState.SKIPPED, reason=batch.reason or "filtered")
        reason = f"{LOST}: {batch.reason}"
        goes_on = self.definition.settings.get("on_lost") == "continue"
        _log.error(
            "lost range",
            trigger=self.row.trigger,
            partition=batch.partition,
            start=batch.start,
            end=batch.end,
            reason=batch.reason,
        )
        return StreamBatch(
            **common,
            state=RunState.DEAD,
            reason=reason,
            released=goes_on,
            callbacks=callbacks_of(
                self.definition,
                "on_failure",
                {
                    "trigger": self.row.trigger,
                    "state": RunState.DEAD,
                    "reason": reason,
                    "attempts": 0,
                    "ended_at": to_rfc3339(self._clock.now()),
                    "values": batch.values,
                },
            ),
        )

    def _absorb(self) -> None:
        """After a restore: runs that were found on the cluster take their places first."""
        until: dict[str, str] = {}
        loose = self._shelf.streams.has_loose(self.row.trigger_uid)
        if loose and self._source.follows:
            _log.warning(
                "runs found after a restore have no place among lives: their events come again",
                trigger=self.row.trigger,
                partitions=sorted(loose),
            )
            loose = set[str]()
        for name in loose:
            given = functools.partial(self._source.given, name)
            further = self._shelf.streams.absorb(self.row.trigger_uid, name, given)
            if further is not None:
                until[name] = further
        if until or self._until:
            self._places = list(self._fresh())
        self._until = until

    def _commit(self) -> None:
        """Tell the source how far everything is done, now and then."""
        ticks = self._clock.monotonic()
        if ticks < self._commit_at:
            return
        done = {p.name: p.done for p in self._places if p.done is not None}
        news = {name: at for name, at in done.items() if self._committed.get(name) != at}
        if news:
            self._source.commit(news)
            self._committed |= news
            self._commit_at = ticks + _COMMIT


def _place(partition: StreamPartition) -> Place:
    return Place(planned=partition.planned or END, done=partition.done or END)


def _told(troubles: Mapping[str, str]) -> str:
    words = [f"{name}: {why}" for name, why in sorted(troubles.items())[:_NAMED]]
    more = f" and {len(troubles) - _NAMED:,} more" if len(troubles) > _NAMED else ""
    return "; ".join(words) + more + " (the other partitions go on)"
