"""The inbox: events of sources without order, each in one run at a time.

An event's row is written with its run, before its source is told anything; see `telling` for what
follows. Killed before the commit, nothing has happened, and the source delivers the event again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, literal_column, select, update

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import Origin, Queue, RunState, TriggerState
from orchestrator.store import schema
from orchestrator.store.database import Database, canonical
from orchestrator.store.intake import new_run
from orchestrator.store.lines import hold, promote
from orchestrator.store.schema import inbox, runs, sources, triggers
from orchestrator.store.sources import Source
from orchestrator.store.streams import BROUGHT, How
from orchestrator.store.telling import EventState, chunks
from orchestrator.store.writer import Tx

LINE = "inbox"  # the partition of runs that are in no group
GROUP = "group/"  # and its name before that of a group


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event as it was delivered."""

    id: str
    receipt: str = ""
    at: int = 0
    expires: int = 0  # until then the id is known in any case


@dataclass(frozen=True, kw_only=True)
class EventBatch:
    """What one run is for."""

    events: Sequence[Event]
    group: str = ""
    values: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]] = ()
    at: int


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a source says of all its events."""

    on_intake: bool = False  # acknowledged once they are in the ledger
    returns: bool = False  # those of a dead run go back to the source
    keep_us: int = 0  # how long ids are known after that
    extend_us: int = 0  # how often the source is asked to wait longer; 0: never


@dataclass(frozen=True, kw_only=True)
class TakenIn:
    """What an intake has done: the run of each batch, in their order."""

    run_ids: Sequence[str] = field(default_factory=list[str])


_MINE = inbox.c.trigger_uid == bindparam("b_uid")
_GOES_BACK = (EventState.GIVE_BACK, EventState.RETURNED)
_goes_back = inbox.c.state.in_([literal_column(f"'{state}'") for state in _GOES_BACK])
_RECEIVED = (
    update(inbox)
    .where(_MINE, inbox.c.id == bindparam("b_id"), ~_goes_back)
    .values(
        receipt=bindparam("v_receipt"),
        state=case((inbox.c.state == EventState.DONE, EventState.ACKNOWLEDGE), else_=inbox.c.state),
    )
)
_AGAIN = (
    update(inbox)
    .where(_MINE, inbox.c.id == bindparam("b_id"), _goes_back)
    .values(
        run_id=bindparam("v_run_id"),
        place=bindparam("v_place"),
        state=bindparam("v_state"),
        receipt=bindparam("v_receipt"),
        at=bindparam("v_at"),
        extend_at=bindparam("v_extend_at"),
        expires_at=bindparam("v_expires_at"),
        round=bindparam("v_round"),
    )
)


class Inboxes:
    """The store's side of sources without order."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def known(self, trigger_uid: str, ids: Collection[str]) -> dict[str, EventState]:
        """Those of these ids that are in the inbox."""
        with self._db.read() as conn:
            return {row.id: EventState(row.state) for row in _rows(conn, trigger_uid, ids)}

    def values(self, trigger_uid: str, ids: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """What the runs got that these events are in, as far as the ledger still has them."""
        found: dict[str, Mapping[str, Any]] = {}
        with self._db.read() as conn:
            for chunk in chunks(list(ids)):
                statement = (
                    select(inbox.c.id, runs.c.data)
                    .join(runs, runs.c.id == inbox.c.run_id)
                    .where(inbox.c.trigger_uid == trigger_uid, inbox.c.id.in_(chunk))
                )
                found |= {row.id: json.loads(row.data) for row in conn.execute(statement)}
        return found

    def received(self, trigger_uid: str, events: Sequence[Event]) -> set[str]:
        """Note the new receipts of events that are known; returns the ids of those that are in no
        need of a run."""
        known = self.known(trigger_uid, [event.id for event in events])
        joined = {id_ for id_, state in known.items() if state not in _GOES_BACK}
        rows = [
            {"b_uid": trigger_uid, "b_id": event.id, "v_receipt": event.receipt}
            for event in events
            if event.id in joined and event.receipt
        ]
        if not rows:
            return joined
        over = any(known[id_] is not EventState.HELD for id_ in joined)
        noted = self._db.write(lambda tx: self._receive(tx, rows, tell=over), "inbox")
        # Those whose run has ended meanwhile, and which go back, were delivered for another run.
        late = {row["b_id"] for row, done in zip(rows, noted, strict=True) if not done}
        return joined - late

    def _receive(self, tx: Tx, rows: Sequence[Mapping[str, Any]], *, tell: bool) -> list[bool]:
        if tell:
            tx.notify(Topic.TELL)
        return self._db.dialect.update_many(tx.conn, _RECEIVED, rows)

    def take_in(
        self,
        source: Source,
        batches: Sequence[EventBatch],
        how: How,
        terms: Terms,
        cursor: str | None = None,
    ) -> TakenIn:
        """Let batches be runs, and remember how far the source has looked.

        Raises AlreadyTaken, and changes nothing, where an event has come in meanwhile by another
        way; NotActive where the trigger was paused or deleted meanwhile.
        """
        return self._db.write(
            lambda tx: self._take_in(tx, source, batches, how, terms, cursor), "inbox"
        )

    def _take_in(
        self,
        tx: Tx,
        source: Source,
        batches: Sequence[EventBatch],
        how: How,
        terms: Terms,
        cursor: str | None,
    ) -> TakenIn:
        uid, now = source.trigger_uid, self._db.clock.now()
        places = {line_of(batch.group) for batch in batches}
        hold(tx.conn, [(uid, place) for place in places])
        state = tx.conn.scalar(select(triggers.c.state).where(triggers.c.uid == uid))
        if batches and state != TriggerState.ACTIVE:
            raise NotActive(f"the trigger is {state}")
        ids: list[str] = []
        rounds = {
            row.id: row.round
            for row in _rows(tx.conn, uid, [e.id for b in batches for e in b.events])
        }
        latest = _latest(tx.conn, uid, places)
        for batch in batches:
            place = line_of(batch.group)
            # Within a group runs go by their due times: each later than the one before.
            due_at = latest[place] = max(batch.at, latest.get(place, 0) + 1)
            row = self._run(source, batch, place, rounds, due_at, how, now)
            found, again = None, 0
            while not self._db.dialect.insert_ignore(tx.conn, runs, [row]):
                found = _joinable(tx.conn, row["id"])
                if found is not None:
                    break
                again += 1
                later = {event.id: rounds.get(event.id, 0) + again for event in batch.events}
                row = self._run(source, batch, place, later, due_at, how, now)
            state = EventState.HELD
            if terms.on_intake or found is RunState.SUCCEEDED:
                state = EventState.ACKNOWLEDGE
                tx.notify(Topic.TELL)
            self._put(tx.conn, uid, row["id"], batch, rounds, again, state, terms, now)
            ids.append(row["id"])
        for place in places:
            room = 1 if place != LINE else how.room
            promote(tx, uid, place, room=room, rate=how.rate, now=now)
        if cursor is not None:
            tx.conn.execute(
                update(sources).where(sources.c.trigger_uid == uid).values(cursor=cursor)
            )
        if batches:
            tx.notify(Topic.CHANGED)
        return TakenIn(run_ids=ids)

    def _run(
        self,
        source: Source,
        batch: EventBatch,
        place: str,
        rounds: Mapping[str, int],
        due_at: int,
        how: How,
        now: int,
    ) -> dict[str, Any]:
        data = dict(batch.values)
        if batch.inputs:
            data[BROUGHT] = len(batch.inputs)
        row = new_run(
            self._db.instance,
            source.trigger_uid,
            event_key([(event.id, rounds.get(event.id, 0)) for event in batch.events]),
            version=source.version,
            definition=source.definition,
            origin=Origin.SOURCE,
            partition=place,
            due_at=due_at,
            now=now,
            priority=how.priority,
            data=data,
        )
        return row | {
            "queue": Queue.LINE.value,
            "not_before": now,
            "payload": canonical(list(batch.inputs)) if batch.inputs else None,
        }

    def _put(
        self,
        conn: Connection,
        uid: str,
        run_id: str,
        batch: EventBatch,
        rounds: Mapping[str, int],
        again: int,
        state: EventState,
        terms: Terms,
        now: int,
    ) -> None:
        new: list[dict[str, Any]] = []
        back: list[dict[str, Any]] = []
        for place, event in enumerate(batch.events):
            mine = (
                EventState.DONE if state is EventState.ACKNOWLEDGE and not event.receipt else state
            )
            extended = terms.extend_us and mine is EventState.HELD and event.receipt
            values: dict[str, Any] = {
                "run_id": run_id,
                "place": place,
                "state": mine.value,
                "receipt": event.receipt,
                "at": now,
                "extend_at": now + terms.extend_us if extended else None,
                "expires_at": max(event.expires, now + terms.keep_us),
                "round": rounds.get(event.id, 0) + again,
            }
            if event.id in rounds:
                row = {f"v_{key}": value for key, value in values.items()}
                back.append({"b_uid": uid, "b_id": event.id, **row})
            else:
                more = {"grp": batch.group, "returns": terms.returns, "keep_us": terms.keep_us}
                new.append({"trigger_uid": uid, "id": event.id, **values, **more})
        fresh = self._db.dialect.insert_ignore(conn, inbox, new) == len(new)
        if not fresh or not all(self._db.dialect.update_many(conn, _AGAIN, back)):
            raise AlreadyTaken("an event of this batch is in another run")

    def keep_cursor(self, trigger_uid: str, cursor: str) -> None:
        """How far a source has looked without finding anything new."""
        mine = sources.c.trigger_uid == trigger_uid
        self._db.write(
            lambda tx: tx.conn.execute(update(sources).where(mine).values(cursor=cursor)), "inbox"
        )

    def cursor(self, trigger_uid: str) -> str | None:
        """How far a source has looked."""
        with self._db.read() as conn:
            statement = select(sources.c.cursor).where(sources.c.trigger_uid == trigger_uid)
            return conn.scalar(statement)

    def restart(self, trigger_uid: str) -> None:
        """Begin anew, as was asked for: forget how far the source has looked, and all ids whose
        runs are over."""

        def operation(tx: Tx) -> None:
            mine = sources.c.trigger_uid == trigger_uid
            asked = update(sources).where(mine, sources.c.restart)
            if tx.conn.execute(asked.values(restart=False, cursor=None)).rowcount:
                tx.conn.execute(
                    delete(inbox).where(inbox.c.trigger_uid == trigger_uid, schema.is_known)
                )

        self._db.write(operation, "inbox")

    def open_runs(self, trigger_uid: str) -> int:
        """A trigger's runs that have not ended."""
        with self._db.read() as conn:
            return (
                conn.scalar(
                    select(func.count()).where(
                        runs.c.trigger_uid == trigger_uid, runs.c.ended_at.is_(None)
                    )
                )
                or 0
            )


class AlreadyTaken(Exception):
    """An event came in by another way at the same time."""


class NotActive(Exception):
    """The trigger was paused or deleted since its events were received."""


def line_of(group: str) -> str:
    """The partition in which the runs of a group stand."""
    return f"{GROUP}{group}" if group else LINE


def event_key(events: Sequence[tuple[str, int]]) -> str:
    """The key of a run for events, by their ids and how often each was given back before."""
    named = [id_ if not rounds else f"{id_}~{rounds}" for id_, rounds in events]
    if len(named) == 1 and len(named[0]) <= _MAX_KEY:
        return named[0]
    digest = hashlib.sha256("\0".join(sorted(named)).encode()).hexdigest()[:32]
    return f"{len(named)}/{digest}"


_MAX_KEY = 200


def _rows(conn: Connection, trigger_uid: str, ids: Collection[str]) -> Iterator[Any]:
    for chunk in chunks(list(ids)):
        yield from conn.execute(
            select(inbox.c.id, inbox.c.state, inbox.c.round).where(
                inbox.c.trigger_uid == trigger_uid, inbox.c.id.in_(chunk)
            )
        )


def _latest(conn: Connection, uid: str, places: Collection[str]) -> dict[str, int]:
    """The latest due time of each group's open runs."""
    groups = [place for place in places if place != LINE]
    found: dict[str, int] = {}
    for chunk in chunks(groups):
        statement = (
            select(runs.c.partition, func.max(runs.c.due_at))
            .where(
                runs.c.trigger_uid == uid, runs.c.partition.in_(chunk), runs.c.ended_at.is_(None)
            )
            .group_by(runs.c.partition)
        )
        found |= {row[0]: row[1] for row in conn.execute(statement)}
    return found


def _joinable(conn: Connection, run_id: str) -> RunState | None:
    """The state of a run with the key of a new one, if its events may join it: it goes on, or was
    found on the cluster after a restore. Otherwise its events were forgotten since it ended."""
    row = conn.execute(
        select(runs.c.state, runs.c.origin, runs.c.ended_at).where(runs.c.id == run_id)
    ).one()
    state = RunState(row.state)
    found = row.origin == Origin.RESTORED and state is RunState.SUCCEEDED
    return state if found or row.ended_at is None else None
