"""Queues: sources without order. One part receives, the other tells the source what became of it.

What is received is gathered into batches, and a batch is a run from one commit on. Only as much is
received as can start: the rest waits at the source, which is made for waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from connectors.payloads import Payloads
from connectors.queues import Delivery, Message, QueueSource
from connectors.streams import SourceContext, SourceError
from orchestrator import metrics
from orchestrator.domain.clock import HOUR, SECOND, Clock
from orchestrator.domain.states import TriggerState
from orchestrator.failpoints import reach
from orchestrator.services.batches import batch_of, checked, event_of
from orchestrator.services.definitions import Definition
from orchestrator.services.gathering import Gatherer, Line
from orchestrator.services.orphans import AGE, Orphans
from orchestrator.services.reader import Shelf
from orchestrator.services.standing import EXPECTED, Standing
from orchestrator.store.inbox import AlreadyTaken, EventBatch, NotActive, Terms
from orchestrator.store.sources import Source
from orchestrator.store.telling import EventState, Told

_log = structlog.get_logger(__name__)

_SWEEP = 30.0  # seconds between two looks for what nobody needs
_AGAIN = 5.0  # seconds until a source is told once more of what it did not take
_FULL = 5.0  # seconds at most without a look while no run can start
_QUIET = 10.0  # seconds at most in which a source that fails is left alone, whatever happens
_IDLE = 30.0
_LAST_TURN = 5.0  # seconds that what is received may take to be in the ledger, once all ends
_PACKED_FOR = HOUR  # then what was packed may soon be an orphan


class QueueWork:
    """A queue that is open, and what its two parts share. `Receiving` and `Reporting` are served
    by the source service like readers of streams."""

    def __init__(
        self,
        row: Source,
        definition: Definition,
        source: QueueSource | None,
        payloads: Payloads,
        context: SourceContext,
        shelf: Shelf,
        clock: Clock,
    ) -> None:
        self.row = row
        self.definition = definition
        self.source = source
        self.payloads = payloads
        self.shelf = shelf
        self.clock = clock
        self.context = context
        parts = [Reporting.name] if source is None else [Receiving.name, Reporting.name]
        self.standing = Standing(row, shelf.sources, parts)
        self.receiving = threading.Lock()
        """Held while something is received that is not in the ledger yet."""
        self.closed = False

    def close(self) -> None:
        """Let go of the source. A turn under way comes to its end first or fails."""
        self.context.stop.set()
        # A source that gives back what is in no run must not do so with what is about to be.
        ended = self.receiving.acquire(timeout=0 if self.closed else _LAST_TURN)
        self.closed = True
        try:
            if self.source is not None:
                self.source.close()
            self.payloads.close()
        except Exception:  # noqa: BLE001 - a plugin's code may raise anything
            _log.exception("source cannot be closed", trigger=self.row.trigger)
        finally:
            if ended:
                self.receiving.release()


class _Part:
    """What both parts of a queue have in common."""

    name = ""
    reports = False

    def __init__(self, work: QueueWork) -> None:
        self.work = work
        self._quiet_until = 0.0

    @property
    def row(self) -> Source:
        """The trigger's source as it is known."""
        return self.work.row

    @property
    def lag(self) -> Mapping[str, int]:
        """Messages that wait at the source."""
        return {}

    def fits(self, row: Source) -> bool:
        """Whether this can go on for a trigger as it is now."""
        known = self.work.row
        return row.definition == known.definition and row.kind == known.kind and not row.restart

    def tell(self, row: Source) -> None:
        """The trigger was paused or resumed."""
        self.work.row = row

    def stir(self) -> bool:
        """Runs have changed; returns whether that is a reason to look at once."""
        return False

    def stop(self) -> None:
        """Cut short what a turn waits for."""
        self.work.context.stop.set()

    def lost(self, partition: str, start: str) -> str | None:
        """Messages are kept with their run."""
        return None

    def close(self) -> None:
        """Let go of the source."""
        self.work.close()

    def turn(self) -> float:
        """Do what there is to do; returns after how many seconds there may be more."""
        clock = self.work.clock
        quiet = self._quiet_until - clock.monotonic()
        if quiet > 0:
            return quiet
        try:
            pause = self._turn()
        except Exception as error:  # noqa: BLE001 - a plugin's code may raise anything
            if isinstance(error, EXPECTED) and self.work.context.stop.is_set():
                return 0.0
            pause = self.work.standing.failed(error, self.name)
            self._quiet_until = clock.monotonic() + min(pause, _QUIET)
            return pause
        self.work.standing.well(self.name)
        return pause

    def _turn(self) -> float:
        raise NotImplementedError


class Receiving(_Part):
    """Receives, gathers, and lets batches be runs."""

    name = "receiving"

    def __init__(
        self,
        work: QueueWork,
        source: QueueSource,
        *,
        max_in_flight: int,
        patience: Callable[[], float],
    ) -> None:
        super().__init__(work)
        self._source = source
        self._gatherer = Gatherer(source.gathering, work.payloads.limit)
        self._runs_at_most = work.definition.policies.max_in_flight or max_in_flight
        self._patience = patience
        self._cursor: str | None = None
        self._full = False
        self._gave_up = False  # what the source has handed over: it begins anew, at its cursor
        self._made: dict[tuple[str, ...], tuple[int, EventBatch]] = {}  # packed when
        self._terms = Terms(
            on_intake=source.acknowledges_on_intake,
            returns=source.returns_dead,
            keep_us=source.remember_for,
            extend_us=source.extend_every,
        )

    @property
    def lag(self) -> Mapping[str, int]:
        """Messages that wait at the source, and those that are in no run yet."""
        waiting = self._source.lag() if self.row.trigger_state is TriggerState.ACTIVE else None
        return {} if waiting is None else {"queue": waiting + self._gatherer.held}

    def fits(self, row: Source) -> bool:
        """Whether this can go on for a trigger as it is now."""
        begins = self._gave_up and row.trigger_state is TriggerState.ACTIVE
        return super().fits(row) and not begins

    def stir(self) -> bool:
        """Runs have ended: there may be room again."""
        return self._full

    def _turn(self) -> float:
        with self.work.receiving:
            return self._received()

    def _received(self) -> float:
        if not self._goes_on or self._gave_up:
            self._give_up()
            return _IDLE
        clock, size = self.work.clock, max(1, self._source.gathering.size)
        room = self._runs_at_most - self.work.shelf.inboxes.open_runs(self.row.trigger_uid)
        wanted = room * size - self._gatherer.held
        self._full = wanted <= 0
        found = 0
        if wanted > 0:
            polled = self._source.poll(wanted, self._wait())
            reach("queue.polled")
            if not self._goes_on:
                self._give_up()
                return _IDLE
            found = len(polled.messages)
            try:
                self._take(polled.messages)
            except Exception:
                self._give_up()
                raise
            self._cursor = polled.cursor if polled.cursor is not None else self._cursor
        if room > 0:
            self._take_in(self._gatherer.take(clock.monotonic(), room))
        if found:
            return 0.0
        due = self._gatherer.due(clock.monotonic())
        if wanted <= 0:  # an ended run wakes us
            return _FULL if room <= 0 or due is None else min(_FULL, due)
        pauses = [self._source.interval, due]
        return min((pause for pause in pauses if pause), default=0.0)

    @property
    def _goes_on(self) -> bool:
        return self.row.trigger_state is TriggerState.ACTIVE and not self.work.closed

    def _wait(self) -> float:
        due = self._gatherer.due(self.work.clock.monotonic())
        if self._source.interval:
            return 0.0
        return self._patience() if due is None else min(due, self._patience())

    def _take(self, messages: Sequence[Message]) -> None:
        """Keep what is new; of the others the new receipts are noted."""
        if not messages:
            return
        events = [event_of(checked(message)) for message in messages]
        known = self.work.shelf.inboxes.received(self.row.trigger_uid, events)
        fresh = [message for message in messages if message.id not in known]
        self._gatherer.add(fresh, self.work.clock.monotonic())

    def _take_in(self, batches: Sequence[Sequence[Line]]) -> None:
        # The cursor says that all before it is in the ledger.
        cursor = self._cursor if self._gatherer.held == sum(map(len, batches)) else None
        if not batches and cursor is None:
            return
        inboxes = self.work.shelf.inboxes
        try:
            made = [self._packed(lines) for lines in batches]
            reach("queue.packed")
            inboxes.take_in(self.row, made, self.work.definition.how, self._terms, cursor)
        except NotActive:
            self._give_up()
            return
        except AlreadyTaken:
            events = [event_of(line.message) for lines in batches for line in lines]
            self._gatherer.put_back(batches, inboxes.received(self.row.trigger_uid, events))
            return
        except Exception:
            self._gatherer.put_back(batches)
            raise
        self._gatherer.taken(batches)
        self._made.clear()
        reach("queue.taken")
        if cursor is not None:
            self._cursor = None
        metrics.firings.inc(len(batches))

    def _packed(self, lines: Sequence[Line]) -> EventBatch:
        """The run of a batch. Not packed anew each time when the store does not take it."""
        ids, now = tuple(line.message.id for line in lines), self.work.clock.now()
        packed_at, batch = self._made.get(ids, (0, None))
        if batch is None or not packed_at <= now <= packed_at + _PACKED_FOR:
            batch = batch_of(self._source.describe, self.work.payloads, lines, now)
            self._made[ids] = now, batch
        events = [event_of(line.message) for line in lines]  # with their newest receipts
        return replace(batch, events=events)

    def _give_up(self) -> None:
        """Forget what is in no run yet, and what the source thinks that we have: opened anew it
        hands that over once more."""
        self._gave_up = True
        self._gatherer.clear()
        self._made.clear()
        self._cursor = None


class Reporting(_Part):
    """Tells the source what became of its messages, and removes what is left of them."""

    name = "reporting"
    reports = True

    def __init__(self, work: QueueWork) -> None:
        super().__init__(work)
        self._sweep_at = 0.0
        self._refused = 0  # events that the source did not take since all were looked through
        leftovers = work.shelf.leftovers
        self._orphans = Orphans(work.row.trigger_uid, work.payloads, leftovers)

    def _turn(self) -> float:
        again = _IDLE
        if self.work.source is not None:
            try:
                again = self._report(self.work.source)
            finally:  # whatever it does not take, it is to wait with the others
                extension = self._extend(self.work.source)
            again = min(again, extension)
        ticks = self.work.clock.monotonic()
        if ticks >= self._sweep_at:
            self._sweep_at = ticks + _SWEEP
            self._sweep()
        return min(again, max(0.05, self._sweep_at - ticks))

    def _report(self, source: QueueSource) -> float:
        telling, uid = self.work.shelf.telling, self.row.trigger_uid
        found = telling.to_tell(uid, self._refused)
        if not found:
            refused, self._refused = self._refused, 0
            return _AGAIN if refused else _IDLE
        done: list[Told] = []
        for state, say in (
            (EventState.ACKNOWLEDGE, source.acknowledge),
            (EventState.GIVE_BACK, source.give_back),
        ):
            mine = [told for told in found if told.state is state]
            if mine:
                reach("queue.tell.before")
                taken = set(say([_delivery(told) for told in mine]))
                reach("queue.tell.after")
                done += [told for told in mine if told.id in taken]
        telling.told(uid, done)
        # Those that it will take may wait behind them.
        self._refused += len(found) - len(done)
        return 0.0

    def _extend(self, source: QueueSource) -> float:
        every = source.extend_every
        if not every:
            return _IDLE
        telling, uid, clock = self.work.shelf.telling, self.row.trigger_uid, self.work.clock
        found = telling.to_extend(uid)
        if found:
            reach("queue.extend.before")
            given_up = source.extend([_delivery(told) for told in found])
            reach("queue.extend.after")
            telling.extended(uid, [told.id for told in found], clock.now() + every, given_up)
            return 0.0
        following = telling.next_extension(uid)
        if following is None:
            return _IDLE
        return max(0.05, (following - clock.now()) / SECOND)

    def _sweep(self) -> None:
        shelf, row = self.work.shelf, self.row
        while shelf.telling.forget(row.trigger_uid, self._forget_before()):
            pass
        deleted = row.trigger_state is TriggerState.DELETED
        before = self.work.clock.now() - (0 if deleted else self.work.payloads.keep_for)
        while found := shelf.leftovers.payloads(row.trigger_uid, before):
            try:
                for _, inputs in found:
                    self.work.payloads.forget(inputs)
            except SourceError as error:
                _log.warning("objects stay for now", trigger=row.trigger, error=str(error))
                return
            shelf.leftovers.removed([run_id for run_id, _ in found])
        now = self.work.clock.now()
        self._orphans.step(self.work.clock.monotonic(), now if deleted else now - AGE)

    def _forget_before(self) -> int | None:
        source, uid = self.work.source, self.row.trigger_uid
        return None if source is None else source.forget_before(self.work.shelf.inboxes.cursor(uid))


def _delivery(told: Told) -> Delivery:
    return Delivery(
        id=told.id,
        receipt=told.receipt,
        group=told.group,
        at=told.at,
        round=told.round,
        run_id=told.run_id if told.run_state else "",
        state=told.run_state,
        reason=told.reason,
        started_at=told.started_at,
        ended_at=told.ended_at,
    )
