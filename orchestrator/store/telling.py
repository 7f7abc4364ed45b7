"""What sources without order are told of their events, and when.

How a run ends moves its events in the same transaction; whoever reads the source tells it
afterwards, and writes that down. Killed in between, the source is told once more, which changes
nothing there.

    held ─→ acknowledge ─→ done (known until it expires)
         └→ give_back ──→ returned
    done ─→ reopened ────→ acknowledge

An event is reopened when its run is run again after all, and its source told once more how that
ended.

From `give_back` on the next delivery is another firing: the source may deliver before it was
written down that it was told to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    case,
    delete,
    func,
    literal,
    or_,
    select,
    update,
)

from orchestrator.domain.states import RunState
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.schema import inbox, runs, triggers
from orchestrator.store.writer import Tx

_IN_CHUNK = 500
_AT_ONCE = 1000
_RANGES = 200


class EventState(StrEnum):
    """What becomes of an event at its source."""

    HELD = "held"  # its run has not ended
    ACKNOWLEDGE = "acknowledge"  # the source is to forget it
    GIVE_BACK = "give_back"  # the source is to deliver it again
    DONE = "done"  # the source was told; one more delivery is acknowledged at once
    RETURNED = "returned"  # the source was told
    REOPENED = "reopened"  # the source was told, but its run goes on again


@dataclass(frozen=True, kw_only=True)
class Told:
    """An event of which its source is to be told."""

    id: str
    receipt: str
    group: str
    at: int
    state: EventState
    round: int = 0
    run_id: str = ""
    run_state: str = ""  # "" where the run is forgotten
    reason: str = ""
    started_at: int | None = None
    ended_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the end of a run means for its events; `failed` are half-open ranges of places."""

    state: RunState
    failed: Sequence[tuple[int, int]] = ()


_UNTIL = bindparam("v_now", type_=BigInteger) + inbox.c.keep_us
_TOLD = (
    update(inbox)
    .where(
        inbox.c.trigger_uid == bindparam("b_uid"),
        inbox.c.id == bindparam("b_id"),
        inbox.c.receipt == bindparam("b_receipt"),
        inbox.c.state == bindparam("b_state"),
    )
    .values(
        state=bindparam("v_state"),
        extend_at=None,
        expires_at=case((inbox.c.expires_at > _UNTIL, inbox.c.expires_at), else_=_UNTIL),
    )
)
_WITH_RUN = select(
    *(inbox.c.id, inbox.c.receipt, inbox.c.grp, inbox.c.at, inbox.c.state),
    *(inbox.c.round, inbox.c.run_id),
    *(runs.c.state.label("run_state"), runs.c.reason, runs.c.started_at, runs.c.ended_at),
).outerjoin(runs, runs.c.id == inbox.c.run_id)


class Telling:
    """The store's side of telling sources."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def waiting(self) -> set[str]:
        """The triggers whose sources are to be told something."""
        with self._db.read() as conn:
            statement = select(inbox.c.trigger_uid).where(schema.is_to_tell).distinct()
            return set(conn.scalars(statement))

    def to_tell(self, trigger_uid: str, skip: int = 0) -> list[Told]:
        """Events of which the source is to be told, some at a time; without about so many that it
        did not take."""
        mine = _WITH_RUN.where(inbox.c.trigger_uid == trigger_uid, schema.is_to_tell)
        return self._told(mine.limit(_AT_ONCE).offset(skip))

    def to_extend(self, trigger_uid: str) -> list[Told]:
        """Events for which the source is to wait longer, some at a time."""
        statement = (
            _WITH_RUN.where(
                inbox.c.trigger_uid == trigger_uid,
                inbox.c.extend_at <= self._db.clock.now(),
                inbox.c.state == EventState.HELD,
            )
            .order_by(inbox.c.extend_at)
            .limit(_AT_ONCE)
        )
        return self._told(statement)

    def _told(self, statement: Any) -> list[Told]:
        with self._db.read() as conn:
            return [
                Told(
                    id=row.id,
                    receipt=row.receipt,
                    group=row.grp,
                    at=row.at,
                    state=EventState(row.state),
                    round=row.round,
                    run_id=row.run_id,
                    run_state=row.run_state or "",
                    reason=row.reason or "",
                    started_at=row.started_at,
                    ended_at=row.ended_at,
                )
                for row in conn.execute(statement)
            ]

    def next_extension(self, trigger_uid: str) -> int | None:
        """When the source is to be asked to wait longer for the first of all."""
        with self._db.read() as conn:
            return conn.scalar(
                select(func.min(inbox.c.extend_at)).where(
                    inbox.c.trigger_uid == trigger_uid, inbox.c.extend_at.is_not(None)
                )
            )

    def told(self, trigger_uid: str, events: Sequence[Told]) -> None:
        """The source was told of these. One that was delivered once more meanwhile has another
        receipt, and is told of again."""
        after = {
            EventState.ACKNOWLEDGE: EventState.DONE.value,
            EventState.GIVE_BACK: EventState.RETURNED.value,
        }
        now = self._db.clock.now()
        rows = [
            {
                "b_uid": trigger_uid,
                "b_id": event.id,
                "b_receipt": event.receipt,
                "b_state": event.state.value,
                "v_state": after[event.state],
                "v_now": now,
            }
            for event in events
        ]
        if rows:
            self._db.write(lambda tx: self._db.dialect.execute_many(tx.conn, _TOLD, rows), "told")

    def extended(
        self, trigger_uid: str, ids: Sequence[str], next_at: int, given_up: Collection[str]
    ) -> None:
        """The source waits longer; for those `given_up` it will not, and they are acknowledged."""

        def operation(tx: Tx) -> None:
            mine = (inbox.c.trigger_uid == trigger_uid) & (inbox.c.state == EventState.HELD)
            for chunk in chunks(ids):
                tx.conn.execute(
                    update(inbox).where(mine, inbox.c.id.in_(chunk)).values(extend_at=next_at)
                )
            for chunk in chunks(list(given_up)):
                tx.conn.execute(
                    update(inbox)
                    .where(mine, inbox.c.id.in_(chunk))
                    .values(state=EventState.ACKNOWLEDGE, extend_at=None)
                )

        self._db.write(operation, "extend")

    def abandoned(self) -> list[str]:
        """Deleted triggers whose events are still known: nobody reads their source any more."""
        known = (
            select(inbox.c.id)
            .where(inbox.c.trigger_uid == triggers.c.uid, schema.is_known)
            .exists()
        )
        with self._db.read() as conn:
            return list(conn.scalars(select(triggers.c.uid).where(schema.is_deleted, known)))

    def forget(self, trigger_uid: str, before: int | None = None) -> int:
        """Forget ids that are known no longer, some at a time; returns how many. With `before` only
        those that had expired by then."""
        now = self._db.clock.now()
        expired = now if before is None else min(before, now)

        def operation(tx: Tx) -> int:
            old = (
                select(inbox.c.id)
                .where(
                    inbox.c.trigger_uid == trigger_uid,
                    schema.is_known,
                    inbox.c.expires_at < expired,
                )
                .limit(_AT_ONCE)
            )
            return tx.conn.execute(
                delete(inbox).where(inbox.c.trigger_uid == trigger_uid, inbox.c.id.in_(old))
            ).rowcount

        return self._db.write(operation, "sweep")


def can_go_back(conn: Connection, run_id: str, failed: Sequence[tuple[int, int]]) -> bool:
    """Whether the source would take back all events of these places of a run: it has not been told
    of any of them, and each was delivered with something to tell it by."""
    merged, found = _merged(failed), 0
    for within in _within(merged):
        statement = select(inbox.c.place).where(
            inbox.c.run_id == run_id,
            inbox.c.state == EventState.HELD,
            inbox.c.receipt != "",
            within,
        )
        found += len(conn.scalars(statement.with_for_update()).all())
    return found == sum(end - first for first, end in merged)


def _within(ranges: Sequence[tuple[int, int]]) -> Iterator[Any]:
    """Conditions that together are met by the places in these ranges: SQLite takes no expression
    that is nested a thousand times, and reads each OR as one more level."""
    for start in range(0, len(ranges), _RANGES):
        some = ranges[start : start + _RANGES]
        yield or_(*(inbox.c.place.between(first, end - 1) for first, end in some))


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((first, end))
    return merged


def settle_events(conn: Connection, run_id: str, verdict: Verdict, now: int) -> bool:
    """Move the events of a run that has ended, in the transaction that ends it. Returns whether
    all of them go back to the source."""
    mine = (inbox.c.run_id == run_id) & (inbox.c.state == EventState.HELD)
    silent = inbox.c.receipt == ""
    good = case((silent, EventState.DONE), else_=EventState.ACKNOWLEDGE)
    back = case((silent, EventState.DONE), else_=EventState.GIVE_BACK)
    until = case(
        (inbox.c.expires_at > inbox.c.keep_us + now, inbox.c.expires_at),
        else_=inbox.c.keep_us + literal(now),
    )

    def move(state: Any, *which: Any) -> None:
        rounds = inbox.c.round + case((state == EventState.GIVE_BACK.value, 1), else_=0)
        values = {"state": state, "round": rounds, "extend_at": None, "expires_at": until}
        conn.execute(update(inbox).where(mine, *which).values(values))

    again = (inbox.c.run_id == run_id) & (inbox.c.state == EventState.REOPENED)
    acknowledged = {"state": EventState.ACKNOWLEDGE, "expires_at": until}
    conn.execute(update(inbox).where(again).values(acknowledged))
    if verdict.state is not RunState.DEAD:
        for within in _within(_merged(verdict.failed)):
            move(back, within)
        move(good)
        return False
    move(case((inbox.c.returns, back), else_=good))
    states = set(conn.scalars(select(inbox.c.state).where(inbox.c.run_id == run_id)))
    return states == {EventState.GIVE_BACK}


def reopen_events(conn: Connection, run_ids: Sequence[str]) -> None:
    """Runs that had ended go on: their events are in them, whatever the source was told."""
    told = (EventState.ACKNOWLEDGE, EventState.DONE)
    for chunk in chunks(run_ids):
        mine = inbox.c.run_id.in_(chunk) & (inbox.c.receipt != "") & inbox.c.state.in_(told)
        conn.execute(update(inbox).where(mine).values(state=EventState.REOPENED))


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Values in pieces that fit into one IN list."""
    for start in range(0, len(values), _IN_CHUNK):
        yield values[start : start + _IN_CHUNK]
