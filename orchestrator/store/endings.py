"""Endings: an attempt that has ended moves its run, its partition and its callbacks at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, select, text, update

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import ENDED, AttemptState, Queue, RunState, TriggerState
from orchestrator.store import schema, trips
from orchestrator.store.copies import LifeEnd, rest
from orchestrator.store.database import Database
from orchestrator.store.follows import AFTER, followers
from orchestrator.store.lines import hold, move_done, promote
from orchestrator.store.outbox import Callback, put
from orchestrator.store.rows import to_attempt, to_run
from orchestrator.store.schema import attempts, runs, triggers
from orchestrator.store.telling import Verdict, can_go_back, settle_events
from orchestrator.store.values import Attempt, Run
from orchestrator.store.writer import Tx


@dataclass(frozen=True, kw_only=True)
class Unsettled:
    """A run that is to move: its attempt has ended, or it waits and somebody wants it to end."""

    run: Run
    attempt: Attempt | None


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """Where a run goes. Either it ends in `state`, or it is pending until `not_before`."""

    unsettled: Unsettled
    state: RunState
    reason: str = ""
    not_before: int = 0
    tries: int = 0
    room: int | None = 1  # the capacity of the run's partition
    rate: float | None = None
    blocks: bool = False  # a dead run holds up those behind it
    released: bool = False  # dead, but nobody need decide: it holds nothing up
    discarded: bool = False  # dead, and nobody need know
    trip_after: int | None = None  # dead runs in a row that pause the trigger
    life: LifeEnd | None = None  # of a service's life: what follows it
    verdict: Verdict | None = None  # what it means for the events of a source without order
    callbacks: Sequence[Callback] = ()


@dataclass(frozen=True, kw_only=True)
class Settled:
    """How many runs have moved, and those whose end has paused their trigger."""

    moved: int
    tripped: Sequence[Run]


class Endings:
    """The store's side of the completer."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def unsettled(self, limit: int) -> list[Unsettled]:
        """Runs to move, those of the longest ended attempts first."""
        joined = select(runs, triggers.c.name.label("trigger_name")).join(
            triggers, triggers.c.uid == runs.c.trigger_uid
        )
        with self._db.read() as conn:
            ended = [
                to_attempt(row)
                for row in conn.execute(
                    select(attempts)
                    .where(schema.is_unsettled, text("NOT attempts.closing"))
                    .order_by(attempts.c.ended_at)
                    .limit(limit)
                ).mappings()
            ]
            theirs = joined.where(runs.c.id.in_([attempt.run_id for attempt in ended]))
            found = {row["id"]: to_run(row) for row in conn.execute(theirs).mappings()}
            waiting = joined.where(schema.wants_cancel, runs.c.state == RunState.PENDING)
            unwanted = [
                Unsettled(run=to_run(row), attempt=None)
                for row in conn.execute(waiting.limit(limit)).mappings()
            ]
        return [Unsettled(run=found[a.run_id], attempt=a) for a in ended] + unwanted

    def can_go_back(self, run_id: str, failed: Sequence[tuple[int, int]]) -> bool:
        """Whether the source would take back all events of these places of a run."""
        with self._db.read() as conn:
            return can_go_back(conn, run_id, failed)

    def settle(self, settlements: Sequence[Settlement]) -> Settled:
        """Move runs. Those that moved meanwhile are left as they are."""
        return self._db.write(lambda tx: self._settle(tx, settlements), "settle")

    def _settle(self, tx: Tx, settlements: Sequence[Settlement]) -> Settled:
        now = self._db.clock.now()
        moved = 0
        tripped: list[Run] = []
        told = False
        succeeded: list[Run] = []
        touched: dict[tuple[str, str], Settlement] = {}
        ending = [s.unsettled.run for s in settlements if s.state in ENDED]
        hold(tx.conn, [(run.trigger_uid, run.partition) for run in ending])
        for settlement in settlements:
            run, verdict = settlement.unsettled.run, settlement.verdict
            partial = verdict.failed if settlement.state is RunState.SUCCEEDED and verdict else ()
            if partial and not can_go_back(tx.conn, run.id, partial):
                continue  # its source was told of one meanwhile: decided anew
            changed = self._move(tx, settlement, now)
            _mark_settled(tx, settlement, changed=changed)
            if not changed:
                continue
            moved += 1
            if settlement.state in ENDED:
                touched[run.trigger_uid, run.partition] = settlement
                if settlement.state is RunState.SUCCEEDED:
                    succeeded.append(run)
                if verdict is not None:
                    if settle_events(tx.conn, run.id, verdict, now):
                        # The source has them all: there is nothing here to decide about.
                        mine = runs.c.id == run.id
                        let_go = update(runs).where(mine).values(released=True, discarded=True)
                        tx.conn.execute(let_go)
                    told = True
                if settlement.life is not None:
                    rest(tx, run, settlement.life, now)
                put(tx, run.id, settlement.callbacks, now)
                if settlement.trip_after is not None and _trips(tx, settlement, now):
                    tripped.append(run)
        _tell_followers(tx, succeeded, now)
        for (uid, partition), settlement in touched.items():
            move_done(tx.conn, uid, partition)
            promote(
                tx,
                uid,
                partition,
                room=settlement.room,
                rate=settlement.rate,
                now=now,
                blocks=settlement.blocks,
            )
        if moved:
            tx.notify(Topic.CHANGED, Topic.READY)
        if told:
            tx.notify(Topic.TELL)
        return Settled(moved=moved, tripped=tripped)

    def _move(self, tx: Tx, settlement: Settlement, now: int) -> bool:
        run, attempt = settlement.unsettled.run, settlement.unsettled.attempt
        ended = settlement.state in ENDED
        queue = Queue.DELAYED if settlement.not_before > now else Queue.READY
        expected = runs.c.state == RunState.PENDING
        if attempt is not None:
            expected = (runs.c.attempts == attempt.number) & schema.in_flight
        return (
            tx.conn.execute(
                update(runs)
                .where(runs.c.id == run.id, runs.c.fence == run.fence, expected)
                .values(
                    state=settlement.state,
                    reason=settlement.reason,
                    tries=settlement.tries,
                    ended_at=now if ended else None,
                    queue=None if ended else queue,
                    not_before=run.not_before if ended else settlement.not_before,
                    owner=None,
                    released=settlement.released,
                    discarded=settlement.discarded,
                    kept=None,
                )
            ).rowcount
            == 1
        )

    def finish_deletions(self) -> int:
        """Let go of triggers that are being deleted and have no open run left."""

        def operation(tx: Tx) -> int:
            is_open = exists().where(
                runs.c.trigger_uid == triggers.c.uid, runs.c.ended_at.is_(None)
            )
            return tx.conn.execute(
                update(triggers)
                .where(schema.is_deleting, ~is_open)
                .values(state=TriggerState.DELETED, updated_at=self._db.clock.now())
            ).rowcount

        return self._db.write(operation, "delete")


def _tell_followers(tx: Tx, succeeded: Sequence[Run], now: int) -> None:
    """Leave word for the triggers that wait for these runs' triggers."""
    waiting = followers(tx.conn, (run.trigger_name for run in succeeded)) if succeeded else {}
    if not waiting:
        return
    for run in succeeded:
        said = {
            "run": run.id,
            "trigger": run.trigger_name,
            "key": run.key,
            "origin": run.origin.value,
            "due_at": run.due_at,
        }
        told = [
            Callback(event=AFTER, target={"after": name}, payload=said)
            for name in waiting.get(run.trigger_name, ())
        ]
        put(tx, run.id, told, now)


def _trips(tx: Tx, settlement: Settlement, now: int) -> bool:
    run = settlement.unsettled.run
    if settlement.state is RunState.SUCCEEDED:
        trips.succeeded(tx, run)
    if settlement.state is not RunState.DEAD or settlement.trip_after is None:
        return False
    return trips.died(tx, run, settlement.reason, settlement.trip_after, now)


def _mark_settled(tx: Tx, settlement: Settlement, *, changed: bool) -> None:
    attempt = settlement.unsettled.attempt
    if attempt is None:
        return
    values: dict[str, Any] = {"settled": True}
    if changed and attempt.state is AttemptState.SUCCEEDED and settlement.state is RunState.DEAD:
        # Its job did, but not for all of its events: another attempt may succeed.
        values |= {"state": AttemptState.FAILED, "reason": settlement.reason}
    tx.conn.execute(
        update(attempts)
        .where(
            attempts.c.run_id == attempt.run_id,
            attempts.c.number == attempt.number,
            ~attempts.c.settled,
        )
        .values(**values)
    )
