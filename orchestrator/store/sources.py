"""Sources: which orchestrator reads which, how it gets on with them, where partitions begin.

Several orchestrators may share a store; each source is read by one of them, so that connections
and buffers are not doubled. Correctness does not rest on that: whatever two of them plan, the
conditional update of the partition lets one of them in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update

from orchestrator.domain.signals import Topic
from orchestrator.domain.states import Origin, Queue, RunState, TriggerState
from orchestrator.store import schema, trail
from orchestrator.store.database import Database
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.intake import new_run
from orchestrator.store.lines import hold, move_done
from orchestrator.store.schema import inbox, orchestrators, partitions, runs, sources, triggers
from orchestrator.store.writer import Tx

STRIDE = 1 << 20
"""Between the ordinals of two runs of a stream: a run may be halved twenty times in its place."""

_TELL_FOR = 600_000_000  # µs for which a deleted trigger's source is told what became of its events
MOVED = "checkpoint"  # the reason of the run that bridges a jump by command


class SourceState(StrEnum):
    """How the orchestrator gets on with a source."""

    NEW = "new"  # not reached yet
    OK = "ok"  # answers
    UNAVAILABLE = "unavailable"  # does not answer; tried again soon
    REFUSED = "refused"  # says no; tried again now and then
    CHANGED = "changed"  # another one under the same name; a person must decide
    STUCK = "stuck"  # a call into the connector does not come back
    BROKEN = "broken"  # the connector failed in a way that it should not


@dataclass(frozen=True, kw_only=True)
class Source:
    """A trigger with a source outside."""

    trigger_uid: str
    trigger: str
    kind: str
    trigger_state: TriggerState
    version: int
    definition: str  # hash
    identity: str | None
    state: SourceState
    detail: str
    since: int
    owner: str | None
    restart: bool


@dataclass(frozen=True, kw_only=True)
class StreamPartition:
    """A partition of a stream as it stands, with its runs that have not ended."""

    name: str
    planned: str | None
    done: str | None
    ordinal: int
    epoch: int
    generation: int
    open_runs: int
    in_line: int
    blocked: bool


# Every source has its trigger. Said as an outer join, SQLite begins with the sources, of which
# there are few, and not with a million triggers.
_SOURCE = select(
    sources.c.trigger_uid,
    triggers.c.name.label("trigger"),
    triggers.c.kind,
    triggers.c.state.label("trigger_state"),
    triggers.c.version,
    triggers.c.definition,
    sources.c.identity,
    sources.c.state,
    sources.c.detail,
    sources.c.since,
    sources.c.owner,
    sources.c.restart,
).outerjoin(triggers, triggers.c.uid == sources.c.trigger_uid)


class Sources:
    """The store's side of reading sources, for one orchestrator."""

    def __init__(self, database: Database, owner: str) -> None:
        self._db = database
        self._owner = owner

    def all(self) -> list[Source]:
        """The sources that somebody has to look after: of triggers that are not deleted, whose
        runs have left objects behind, or that are still to be told of their events."""
        leftover = (
            select(runs.c.id)
            .where(runs.c.trigger_uid == sources.c.trigger_uid, schema.has_payload)
            .exists()
        )
        # A source that cannot be told within a while delivers again, and nobody is there.
        lately = triggers.c.updated_at > self._db.clock.now() - _TELL_FOR
        untold = (
            select(inbox.c.id)
            .where(inbox.c.trigger_uid == sources.c.trigger_uid, schema.is_to_tell)
            .exists()
        )
        here = triggers.c.state != TriggerState.DELETED
        statement = _SOURCE.where(or_(here, leftover, and_(lately, untold)))
        with self._db.read() as conn:
            return [_source(row) for row in conn.execute(statement).mappings()]

    def get(self, trigger_uid: str) -> Source | None:
        """One source; None for a trigger that has none."""
        with self._db.read() as conn:
            statement = _SOURCE.where(sources.c.trigger_uid == trigger_uid)
            row = conn.execute(statement).mappings().first()
        return None if row is None else _source(row)

    def claim(self, trigger_uids: Sequence[str]) -> None:
        """Take the sources that no living orchestrator reads."""

        def operation(tx: Tx) -> None:
            now = self._db.dialect.now(tx.conn)
            alive = select(orchestrators.c.id).where(orchestrators.c.lease_until > now)
            tx.conn.execute(
                update(sources)
                .where(
                    sources.c.trigger_uid.in_(list(trigger_uids)),
                    or_(sources.c.owner.is_(None), sources.c.owner.not_in(alive)),
                )
                .values(owner=self._owner)
            )

        self._db.write(operation, "source")

    def tell(self, trigger_uid: str, state: SourceState, detail: str = "") -> bool:
        """Write how a source does. Returns whether that is news."""

        def operation(tx: Tx) -> bool:
            changed = tx.conn.execute(
                update(sources)
                .where(
                    sources.c.trigger_uid == trigger_uid,
                    or_(sources.c.state != state, sources.c.detail != detail),
                )
                .values(state=state, detail=detail, since=self._db.clock.now())
            ).rowcount
            if changed:
                tx.notify(Topic.CHANGED)
            return changed == 1

        return self._db.write(operation, "source")

    def partitions(self, trigger_uid: str) -> list[StreamPartition]:
        """A trigger's partitions and how many runs of each are open."""
        with self._db.read() as conn:
            open_runs = {
                row.partition: (row[1], row[2])
                for row in conn.execute(
                    select(
                        runs.c.partition,
                        func.count(),
                        func.count().filter(runs.c.queue == Queue.LINE),
                    )
                    .where(runs.c.trigger_uid == trigger_uid, runs.c.ended_at.is_(None))
                    .group_by(runs.c.partition)
                )
            }
            blocked = set(
                conn.scalars(
                    select(runs.c.partition)
                    .where(
                        runs.c.trigger_uid == trigger_uid,
                        schema.is_dead,
                        ~runs.c.released,
                        runs.c.ordinal.is_not(None),
                    )
                    .distinct()
                )
            )
            rows = conn.execute(
                select(partitions).where(partitions.c.trigger_uid == trigger_uid)
            ).mappings()
            return [
                StreamPartition(
                    name=row["name"],
                    planned=row["planned"],
                    done=row["done"],
                    ordinal=row["ordinal"],
                    epoch=row["epoch"],
                    generation=row["generation"],
                    open_runs=open_runs.get(row["name"], (0, 0))[0],
                    in_line=open_runs.get(row["name"], (0, 0))[1],
                    blocked=row["name"] in blocked,
                )
                for row in rows
            ]

    def found(self, trigger_uid: str, identity: str, new: Mapping[str, str]) -> None:
        """Partitions that came up, and where each begins; the source's identity at first."""

        def operation(tx: Tx) -> None:
            tx.conn.execute(
                update(sources)
                .where(sources.c.trigger_uid == trigger_uid, sources.c.identity.is_(None))
                .values(identity=identity)
            )
            self._db.dialect.insert_ignore(
                tx.conn, partitions, [_partition(trigger_uid, *item) for item in new.items()]
            )

        self._db.write(operation, "partitions")

    def restart(self, trigger_uid: str, identity: str, begin: Mapping[str, str]) -> None:
        """Begin anew, as was asked for: every partition goes on from where `begin` says.

        Partitions that are gone are closed; what lay between is in the ledger as skipped.
        """

        def operation(tx: Tx) -> None:
            asked = tx.conn.execute(
                update(sources)
                .where(sources.c.trigger_uid == trigger_uid, sources.c.restart)
                .values(restart=False, identity=identity)
            ).rowcount
            if not asked:
                return
            known = list(
                tx.conn.scalars(
                    select(partitions.c.name).where(partitions.c.trigger_uid == trigger_uid)
                )
            )
            for name in known:
                self._jump(tx, trigger_uid, name, begin.get(name), "restarted")
            new = [_partition(trigger_uid, *i) for i in begin.items() if i[0] not in known]
            self._db.dialect.insert_ignore(tx.conn, partitions, new)

        self._db.write(operation, "partitions")

    def ask_restart(self, name: str, reason: str, actor: str) -> None:
        """Let a paused trigger begin anew where its settings say. Raises Missing, Conflict."""

        def operation(tx: Tx) -> None:
            uid = self._paused(tx, name)
            tx.conn.execute(
                update(sources).where(sources.c.trigger_uid == uid).values(restart=True)
            )
            now = self._db.clock.now()
            trail.write(tx, actor, "checkpoint restart", name, {"reason": reason}, now)
            tx.notify(Topic.SCHEDULE)

        self._db.write(operation, "checkpoint")

    def set_checkpoints(
        self, name: str, positions: Mapping[str, str], reason: str, actor: str
    ) -> None:
        """Let partitions of a paused trigger go on from other positions. Raises Missing, Conflict.

        Runs that exist stay as they are; long-lived consumers are stopped, because they would go
        on from where they were. A skipped run bridges the two places, so that the ledger's ranges
        still tile; positions that come again get keys of their own.
        """

        def operation(tx: Tx) -> None:
            uid = self._paused(tx, name)
            for partition, position in positions.items():
                self._jump(tx, uid, partition, position, f"{MOVED}: {reason}")
            now = self._db.clock.now()
            detail = {"positions": dict(positions), "reason": reason}
            trail.write(tx, actor, "checkpoint set", name, detail, now)
            tx.notify(Topic.SCHEDULE, Topic.CHANGED)

        self._db.write(operation, "checkpoint")

    def _paused(self, tx: Tx, name: str) -> str:
        row = tx.conn.execute(
            select(triggers.c.uid, triggers.c.state, sources.c.trigger_uid)
            .outerjoin(sources, sources.c.trigger_uid == triggers.c.uid)
            .where(triggers.c.name == name, triggers.c.state != TriggerState.DELETED)
        ).first()
        if row is None:
            raise Missing(f"there is no trigger {name!r}")
        if row.trigger_uid is None:
            raise Conflict(f"trigger {name!r} has no checkpoints that can be set")
        if row.state != TriggerState.PAUSED:
            raise Conflict(
                f"trigger {name!r} is {row.state}: checkpoints are set only while it is paused "
                f"(`orch triggers pause {name} --note …`)"
            )
        return row.uid

    def _jump(
        self, tx: Tx, trigger_uid: str, partition: str, position: str | None, reason: str
    ) -> None:
        hold(tx.conn, [(trigger_uid, partition)])
        mine = _is(trigger_uid, partition)
        before = tx.conn.execute(select(partitions).where(mine)).mappings().first()
        if before is None:
            raise Missing(f"there is no partition {partition!r}")
        trigger = tx.conn.execute(select(triggers).where(triggers.c.uid == trigger_uid)).one()
        now = self._db.clock.now()
        bridge = new_run(
            self._db.instance,
            trigger_uid,
            f"{partition}/jump-{before['generation'] + 1}",
            version=trigger.version,
            definition=trigger.definition,
            origin=Origin.SOURCE,
            partition=partition,
            due_at=now,
            now=now,
        ) | {
            "state": RunState.SKIPPED,
            "queue": None,
            "reason": reason,
            "ended_at": now,
            "ordinal": before["ordinal"],
            "range_start": "end" if before["planned"] is None else before["planned"],
            "range_end": "end" if position is None else position,
        }
        tx.conn.execute(insert(runs), [bridge])
        tx.conn.execute(
            update(partitions)
            .where(mine)
            .values(
                planned=position,
                ordinal=partitions.c.ordinal + STRIDE,
                epoch=partitions.c.epoch + 1,
                generation=partitions.c.generation + 1,
            )
        )
        lives = (runs.c.trigger_uid == trigger_uid) & (runs.c.partition == partition)
        stopped = tx.conn.execute(
            update(runs).where(lives, schema.is_life, runs.c.cancel.is_(None)).values(cancel=reason)
        ).rowcount
        if stopped:
            tx.notify(Topic.CANCEL, Topic.ENDED)
        move_done(tx.conn, trigger_uid, partition)


def add_source(tx: Tx, trigger_uids: Sequence[str], now: int) -> None:
    """Note that triggers have a source outside, in the transaction that registers them."""
    rows = [{"trigger_uid": uid, "state": SourceState.NEW, "since": now} for uid in trigger_uids]
    tx.conn.execute(insert(sources), rows)


def restart_source(tx: Tx, trigger_uid: str) -> None:
    """Let a source begin anew, in the transaction that changes which one it is."""
    tx.conn.execute(
        update(sources).where(sources.c.trigger_uid == trigger_uid).values(restart=True)
    )


def _is(trigger_uid: str, partition: str) -> ColumnElement[bool]:
    return (partitions.c.trigger_uid == trigger_uid) & (partitions.c.name == partition)


def _partition(trigger_uid: str, name: str, position: str) -> dict[str, Any]:
    return {
        "trigger_uid": trigger_uid,
        "name": name,
        "planned": position,
        "done": position,
        "base": position,
        "stride": STRIDE,
    }


def _source(row: Any) -> Source:
    values = dict(row)
    values["trigger_state"] = TriggerState(values["trigger_state"])
    values["state"] = SourceState(values["state"])
    return Source(**values)
