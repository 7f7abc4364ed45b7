"""Tending: what a stream's runs need of their source besides being planned.

Lives: their progress is copied into the store, and one that lags without progress is replaced.
Dead runs: halved, kept from expiring, described. Ended runs: the objects they brought are removed,
and so are those of runs that never were.
"""

from __future__ import annotations

import structlog

from connectors.streams import Batch, LifeRef, RunRef, SourceError, StreamSource
from orchestrator.domain.clock import SECOND, Clock, to_rfc3339
from orchestrator.domain.outcome import LOST
from orchestrator.domain.states import RunState, TriggerState
from orchestrator.failpoints import reach
from orchestrator.services.completer import callbacks_of
from orchestrator.services.definitions import Definition
from orchestrator.services.orphans import AGE, Orphans
from orchestrator.store.leftovers import DeadRun, Leftovers
from orchestrator.store.lives import Lives, OpenLife, Reached
from orchestrator.store.outbox import Callback
from orchestrator.store.sources import Source
from orchestrator.store.streams import StreamBatch, Streams

_log = structlog.get_logger(__name__)

_LOOK = 1.0  # seconds between two looks at the progress of lives
_SWEEP = 30.0  # seconds between two looks for objects that nobody needs
_AGAIN = 10.0  # seconds until dead runs are looked after again when that failed
_IDLE = 30.0
_LAST_WORD = 2 * 60 * SECOND  # how long an ended life waits for its last progress


class Tending:
    """Looks after the runs of one source. One thread at a time."""

    def __init__(
        self,
        source: StreamSource,
        streams: Streams,
        lives: Lives,
        leftovers: Leftovers,
        clock: Clock,
    ) -> None:
        self._source = source
        self._streams = streams
        self._lives = lives
        self._leftovers = leftovers
        self._clock = clock
        self._look_at = 0.0
        self._sweep_at = 0.0
        self._dead_at = 0.0
        self._orphans: Orphans | None = None
        self._moved: dict[str, tuple[str, int]] = {}  # run id: position, since when (µs)

    def tend(self, row: Source, definition: Definition, *, news: bool) -> float:
        """Do what there is to do; returns after how many seconds there may be more. `news` says
        that runs have changed since the last call."""
        ticks = self._clock.monotonic()
        again = _IDLE
        if ticks >= self._look_at or news:
            self._look_at = ticks + (_LOOK if self._watch(row) else _IDLE)
        again = min(again, self._look_at - ticks)
        if news or ticks >= self._dead_at:
            try:
                self._dead(row, definition)
                self._dead_at = ticks + _IDLE
            except SourceError as error:
                _log.warning(
                    "dead runs wait for their source", trigger=row.trigger, error=str(error)
                )
                self._dead_at = ticks + _AGAIN
        if ticks >= self._sweep_at:
            self._sweep_at = ticks + _SWEEP
            self._sweep(row)
        return max(0.05, min(again, self._dead_at - ticks, self._sweep_at - ticks))

    # -- lives ------------------------------------------------------------------------------

    def _watch(self, row: Source) -> bool:
        """Copy the progress of lives. Returns whether there are any."""
        lives = self._lives.open(row.trigger_uid)
        self._moved = {k: v for k, v in self._moved.items() if k in {x.run_id for x in lives}}
        asked = [life for life in lives if life.attempt_state is not None]
        if not asked:
            return bool(lives)
        try:
            found = self._source.progress([_ref(life) for life in asked])
        except SourceError:
            self._give_up_on_the_last_word(row, asked)
            raise
        reach("life.read")
        news: list[Reached] = []
        for life in asked:
            progress = found.get(life.run_id)
            position = life.position if progress is None else progress.position
            final = life.closing and life.ended_at is not None
            if final or position != life.position:
                news.append(Reached(life=life, position=position, final=final))
            self._check(row, life, position, None if progress is None else progress.lag)
        if news:
            self._lives.reached(row.trigger_uid, news)
            reach("life.copied")
        return True

    def _check(self, row: Source, life: OpenLife, position: str, lag: int | None) -> None:
        """Replace a life that lags without progress."""
        now = self._clock.now()
        before, since = self._moved.get(life.run_id, ("", now))
        if before != position or not lag or life.running_at is None:
            self._moved[life.run_id] = (position, now)
            return
        stalled = now - max(since, life.running_at)
        if stalled >= life.stall_us and life.stop_reason is None and life.ended_at is None:
            reason = f"stalled: {lag:,} events behind and no progress for {stalled // SECOND} s"
            if self._lives.stop(life, reason):
                _log.warning("life replaced", trigger=row.trigger, run=life.run_id, reason=reason)
            self._moved[life.run_id] = (position, now)

    def _give_up_on_the_last_word(self, row: Source, lives: list[OpenLife]) -> None:
        """The source is away: a life that ended long ago moves on from what is known of it."""
        late = self._clock.now() - _LAST_WORD
        news = [
            Reached(life=life, position=life.position, final=True)
            for life in lives
            if life.closing and life.ended_at is not None and life.ended_at < late
        ]
        if news:
            self._lives.reached(row.trigger_uid, news)

    # -- dead runs --------------------------------------------------------------------------

    def _dead(self, row: Source, definition: Definition) -> None:
        halves = definition.policies.on_dead == "bisect"
        for run in self._leftovers.untended(row.trigger_uid):
            ref = RunRef(
                run_id=run.id,
                partition=run.partition,
                start=run.start,
                end=run.end,
                values=run.data,
                inputs=run.inputs,
            )
            lost = run.reason.startswith(LOST)
            isolated = False
            if halves and run.in_order and not run.released and not lost:
                parts = [_half(part) for part in self._source.split(ref)]
                if parts and self._streams.split(run.id, parts, definition.how):
                    _log.warning("run split", trigger=row.trigger, run=run.id, into=len(parts))
                    continue
                # Of a run found after a restore nobody may know what it was for: a person decides.
                isolated = not parts and bool(run.data)
            self._leftovers.keep(
                run.id,
                {} if lost else self._source.keep(ref),
                release=isolated,
                how=definition.how,
                callbacks=_told(row, definition, run, self._clock.now()) if halves else (),
            )

    # -- objects ----------------------------------------------------------------------------

    def _sweep(self, row: Source) -> None:
        keep = 0 if row.trigger_state is TriggerState.DELETED else self._source.keep_for
        before = self._clock.now() - keep
        while found := self._leftovers.payloads(row.trigger_uid, before):
            try:
                for _, inputs in found:
                    self._source.forget(inputs)
            except SourceError as error:
                _log.warning("objects stay for now", trigger=row.trigger, error=str(error))
                return
            self._leftovers.removed([run_id for run_id, _ in found])
        self._sweep_orphans(row)

    def _sweep_orphans(self, row: Source) -> None:
        payloads = self._source.payloads
        if payloads is None:
            return
        if self._orphans is None:
            self._orphans = Orphans(row.trigger_uid, payloads, self._leftovers)
        now = self._clock.now()
        deleted = row.trigger_state is TriggerState.DELETED
        self._orphans.step(self._clock.monotonic(), now if deleted else now - AGE)


def _ref(life: OpenLife) -> LifeRef:
    return LifeRef(
        partition=life.partition,
        run_id=life.run_id,
        attempt=life.attempt,
        position=life.position,
    )


def _half(part: Batch) -> StreamBatch:
    return StreamBatch(start=part.start, end=part.end, values=part.values, inputs=part.inputs)


def _told(row: Source, definition: Definition, run: DeadRun, now: int) -> list[Callback]:
    return callbacks_of(
        definition,
        "on_failure",
        {
            "run": run.id,
            "trigger": row.trigger,
            "key": run.key,
            "state": RunState.DEAD,
            "reason": run.reason,
            "attempts": run.attempts,
            "due_at": to_rfc3339(run.due_at),
            "ended_at": to_rfc3339(now),
            "values": run.data,
        },
    )
