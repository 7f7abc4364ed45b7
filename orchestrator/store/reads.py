"""What people and programs read: lists by keyset, one row whole, counts."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import ColumnElement, and_, func, or_, select

from orchestrator.domain.states import Queue, RunState, TriggerState
from orchestrator.store import schema
from orchestrator.store.database import Database
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.rows import to_attempt, to_run, to_trigger
from orchestrator.store.schema import attempts, partitions, runs, trail, trigger_versions, triggers
from orchestrator.store.values import Attempt, Run, Trigger

T = TypeVar("T")
_CURSOR_AT_MOST = 1000  # characters
_LARGEST = 2**63 - 1
_LARGEST_ID = 2**31 - 1
_STRANGE = "this cursor is not one of ours: start again without --cursor"


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """Part of a list; `next` is the cursor of the following part, None at the end."""

    items: Sequence[T]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs to list. Times are instants; `since` is inclusive, `until` exclusive.

    `held` leaves out dead runs that were discarded.
    """

    trigger: str | None = None
    states: Sequence[RunState] = ()
    since: int | None = None
    until: int | None = None
    held: bool = False
    oldest_first: bool = False


@dataclass(frozen=True, kw_only=True)
class PartitionView:
    """A partition's checkpoints."""

    name: str
    planned: str | None
    done: str | None
    base: str | None
    ordinal: int
    stride: int
    wake_at: int | None


@dataclass(frozen=True, kw_only=True)
class TriggerView:
    """A trigger with what people want to know beside it."""

    trigger: Trigger
    next_at: int | None
    last: Run | None
    counts: Mapping[str, int]


def encode_cursor(*parts: Any) -> str:
    """A cursor that only its maker understands."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *shape: type[int] | type[str]) -> list[Any]:
    """Its parts, of these types. Raises Conflict for anything else."""
    parts: Any = None
    if len(cursor) <= _CURSOR_AT_MOST:
        try:
            parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except (ValueError, binascii.Error, RecursionError):
            parts = None
    if not isinstance(parts, list) or [type(part) for part in parts] != [*shape]:  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        raise Conflict(_STRANGE)
    found = cast("list[Any]", parts)
    for part in found:
        # What a database would not take as a parameter was not written by `encode_cursor`.
        if isinstance(part, str) and (not part.isprintable() or "\0" in part):
            raise Conflict(_STRANGE)
        if isinstance(part, int) and not -_LARGEST <= part <= _LARGEST:
            raise Conflict(_STRANGE)
    return found


class Reads:
    """Read-only questions."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- runs -------------------------------------------------------------------------------

    def runs(self, wanted: RunFilter, *, limit: int, cursor: str | None = None) -> Page[Run]:
        """Runs by due time, the newest first unless asked otherwise."""
        conditions: list[ColumnElement[bool]] = []
        if wanted.trigger is not None:
            conditions.append(runs.c.trigger_uid.in_(self._uids(wanted.trigger)))
        if wanted.states:
            conditions.append(_states(wanted.states))
        if wanted.held:
            conditions.append(~runs.c.discarded)
        if wanted.since is not None:
            conditions.append(runs.c.due_at >= wanted.since)
        if wanted.until is not None:
            conditions.append(runs.c.due_at < wanted.until)
        if cursor is not None:
            due_at, run_id = decode_cursor(cursor, int, str)
            here = and_(runs.c.due_at == due_at, _after(runs.c.id, run_id, wanted.oldest_first))
            conditions.append(or_(_after(runs.c.due_at, due_at, wanted.oldest_first), here))
            # Said once more without OR: an index is entered at this place, not read up to it.
            conditions.append(
                runs.c.due_at >= due_at if wanted.oldest_first else runs.c.due_at <= due_at
            )
        order = (
            (runs.c.due_at, runs.c.id)
            if wanted.oldest_first
            else (runs.c.due_at.desc(), runs.c.id.desc())
        )
        statement = (
            select(runs, triggers.c.name.label("trigger_name"))
            .join(triggers, triggers.c.uid == runs.c.trigger_uid)
            .where(*conditions)
            .order_by(*order)
            .limit(limit + 1)
        )
        with self._db.read() as conn:
            found = [to_run(row) for row in conn.execute(statement).mappings()]
        following = None
        if len(found) > limit:
            found = found[:limit]
            following = encode_cursor(found[-1].due_at, found[-1].id)
        return Page(items=found, next=following)

    def run(self, run_id: str) -> Run:
        """One run. Raises Missing."""
        statement = (
            select(runs, triggers.c.name.label("trigger_name"))
            .join(triggers, triggers.c.uid == runs.c.trigger_uid)
            .where(runs.c.id == run_id)
        )
        with self._db.read() as conn:
            row = conn.execute(statement).mappings().first()
        if row is None:
            raise Missing(f"there is no run {run_id!r}")
        return to_run(row)

    def attempts(self, run_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        """The attempts of runs, in order."""
        found: dict[str, list[Attempt]] = {run_id: [] for run_id in run_ids}
        statement = (
            select(attempts)
            .where(attempts.c.run_id.in_(list(run_ids)))
            .order_by(attempts.c.run_id, attempts.c.number)
        )
        with self._db.read() as conn:
            for row in conn.execute(statement).mappings():
                found[row["run_id"]].append(to_attempt(row))
        return found

    def run_counts(self, trigger_uid: str | None = None) -> dict[str, int]:
        """How many runs are open, by state; and how many are dead and not discarded."""
        conditions = [] if trigger_uid is None else [runs.c.trigger_uid == trigger_uid]
        # Of all triggers by the indexes of what flies and what waits: a million may wait.
        seen = runs.c.ended_at.is_(None) if trigger_uid is not None else schema.in_flight
        waiting = {} if trigger_uid is not None else {"pending": sum(self.queue_counts().values())}
        with self._db.read() as conn:
            open_ = conn.execute(
                select(runs.c.state, func.count()).where(seen, *conditions).group_by(runs.c.state)
            )
            counts = {
                **dict.fromkeys(("pending", "submitting", "running"), 0),
                **{state: count for state, count in open_},
                **waiting,
            }
            counts["dead"] = (
                conn.scalar(
                    select(func.count()).where(schema.is_dead, ~runs.c.discarded, *conditions)
                )
                or 0
            )
        return counts

    # -- triggers ---------------------------------------------------------------------------

    def triggers(
        self, *, limit: int, cursor: str | None = None, kind: str | None = None
    ) -> Page[Trigger]:
        """Triggers by name."""
        conditions = [triggers.c.state != TriggerState.DELETED]
        if kind is not None:
            conditions.append(triggers.c.kind == kind)
        if cursor is not None:
            conditions.append(triggers.c.name > decode_cursor(cursor, str)[0])
        statement = select(triggers).where(*conditions).order_by(triggers.c.name).limit(limit + 1)
        with self._db.read() as conn:
            found = [to_trigger(row) for row in conn.execute(statement).mappings()]
        following = None
        if len(found) > limit:
            found = found[:limit]
            following = encode_cursor(found[-1].name)
        return Page(items=found, next=following)

    def partitions(self, trigger_uid: str) -> list[PartitionView]:
        """A trigger's partitions with their checkpoints."""
        statement = (
            select(
                partitions.c.name,
                partitions.c.planned,
                partitions.c.done,
                partitions.c.base,
                partitions.c.ordinal,
                partitions.c.stride,
                partitions.c.wake_at,
            )
            .where(partitions.c.trigger_uid == trigger_uid)
            .order_by(partitions.c.name)
        )
        with self._db.read() as conn:
            return [PartitionView(**row) for row in conn.execute(statement).mappings()]

    def next_wakes(self, trigger_uids: Sequence[str]) -> dict[str, int]:
        """When each trigger fires next, as far as that is by time."""
        statement = (
            select(partitions.c.trigger_uid, func.min(partitions.c.wake_at))
            .where(
                partitions.c.trigger_uid.in_(list(trigger_uids)), partitions.c.wake_at.is_not(None)
            )
            .group_by(partitions.c.trigger_uid)
        )
        with self._db.read() as conn:
            return {uid: at for uid, at in conn.execute(statement)}

    def last_runs(self, trigger_uids: Sequence[str]) -> dict[str, Run]:
        """The latest run of each trigger."""
        found: dict[str, Run] = {}
        with self._db.read() as conn:
            for uid in trigger_uids:
                statement = (
                    select(runs, triggers.c.name.label("trigger_name"))
                    .join(triggers, triggers.c.uid == runs.c.trigger_uid)
                    .where(runs.c.trigger_uid == uid)
                    .order_by(runs.c.due_at.desc(), runs.c.id.desc())
                    .limit(1)
                )
                row = conn.execute(statement).mappings().first()
                if row is not None:
                    found[uid] = to_run(row)
        return found

    def versions(self, trigger_uid: str) -> list[dict[str, Any]]:
        """A trigger's versions, the newest first."""
        statement = (
            select(
                trigger_versions.c.version,
                trigger_versions.c.definition,
                trigger_versions.c.created_at,
                trigger_versions.c.created_by,
            )
            .where(trigger_versions.c.trigger_uid == trigger_uid)
            .order_by(trigger_versions.c.version.desc())
        )
        with self._db.read() as conn:
            return [dict(row) for row in conn.execute(statement).mappings()]

    def trigger_counts(self) -> dict[str, int]:
        """How many triggers there are, by state."""
        statement = (
            select(triggers.c.state, func.count())
            .where(triggers.c.state != TriggerState.DELETED)
            .group_by(triggers.c.state)
        )
        with self._db.read() as conn:
            return {state: count for state, count in conn.execute(statement)}

    def trail(self, *, limit: int, cursor: str | None = None) -> Page[dict[str, Any]]:
        """Who did what, the newest first."""
        statement = select(trail).order_by(trail.c.id.desc()).limit(limit + 1)
        if cursor is not None:
            statement = statement.where(
                trail.c.id < min(decode_cursor(cursor, int)[0], _LARGEST_ID)
            )
        with self._db.read() as conn:
            found = [dict(row) for row in conn.execute(statement).mappings()]
        following = None
        if len(found) > limit:
            found = found[:limit]
            following = encode_cursor(found[-1]["id"])
        return Page(items=found, next=following)

    def queue_counts(self) -> dict[str, int]:
        """Why pending runs wait, by their queue."""
        waits = {
            Queue.LINE: schema.is_in_line,
            Queue.DELAYED: schema.is_delayed,
            Queue.FUTURE: schema.is_future,
            Queue.READY: schema.is_ready,
        }
        with self._db.read() as conn:
            return {
                str(queue): conn.scalar(select(func.count()).where(condition)) or 0
                for queue, condition in waits.items()
            }

    def _uids(self, name: str) -> list[str]:
        """The trigger of this name, deleted ones of the same name included."""
        with self._db.read() as conn:
            found = [
                uid
                for condition in (~schema.is_deleted, schema.is_deleted)
                for uid in conn.scalars(
                    select(triggers.c.uid).where(triggers.c.name == name, condition)
                )
            ]
        if not found:
            raise Missing(f"there is no trigger {name!r}")
        return found


def _after(column: Any, value: Any, ascending: bool) -> ColumnElement[bool]:
    return column > value if ascending else column < value


def _states(states: Sequence[RunState]) -> ColumnElement[bool]:
    if list(states) == [RunState.DEAD]:
        return schema.is_dead
    if set(states) <= {RunState.PENDING, RunState.SUBMITTING, RunState.RUNNING}:
        return and_(runs.c.ended_at.is_(None), runs.c.state.in_(states))
    return runs.c.state.in_(states)
