"""What is left of runs when they have ended: dead ones to tend, objects to
remove, partitions to forget."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, select, update

from orchestrator.domain.signals import Topic
from orchestrator.store import schema
from orchestrator.store.database import Database, canonical
from orchestrator.store.lines import hold, move_done, promote
from orchestrator.store.outbox import Callback, put
from orchestrator.store.schema import partitions, runs
from orchestrator.store.streams import How
from orchestrator.store.telling import chunks
from orchestrator.store.writer import Tx

_AT_ONCE = 200


@dataclass(frozen=True, kw_only=True)
class DeadRun:
    """A dead run whose source has not been asked about it yet."""

    id: str
    partition: str
    start: str
    end: str
    in_order: bool
    released: bool
    key: str
    reason: str
    attempts: int
    due_at: int
    data: Mapping[str, Any]
    inputs: Sequence[Mapping[str, Any]]


class Leftovers:
    """The store's side of tending what has ended."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def untended(self, trigger_uid: str) -> list[DeadRun]:
        """Dead runs of a trigger that nobody has looked after, some at a time."""
        statement = (
            select(
                runs.c.id,
                runs.c.partition,
                runs.c.range_start,
                runs.c.range_end,
                runs.c.ordinal,
                runs.c.released,
                runs.c.key,
                runs.c.reason,
                runs.c.attempts,
                runs.c.due_at,
                runs.c.data,
                runs.c.payload,
            )
            .where(
                runs.c.trigger_uid == trigger_uid,
                schema.is_untended,
                runs.c.range_start.is_not(None),
            )
            .limit(_AT_ONCE)
        )
        with self._db.read() as conn:
            return [
                DeadRun(
                    id=row.id,
                    partition=row.partition,
                    start=row.range_start,
                    end=row.range_end,
                    in_order=row.ordinal is not None,
                    released=bool(row.released),
                    key=row.key,
                    reason=row.reason,
                    attempts=row.attempts,
                    due_at=row.due_at,
                    data=json.loads(row.data),
                    inputs=json.loads(row.payload) if row.payload else [],
                )
                for row in conn.execute(statement)
            ]

    def keep(
        self,
        run_id: str,
        said: Mapping[str, Any],
        *,
        release: bool,
        how: How,
        callbacks: Sequence[Callback] = (),
    ) -> bool:
        """Write down what the source says of a dead run; with `release` it holds nothing up."""

        def operation(tx: Tx) -> bool:
            values: dict[str, Any] = {"kept": canonical(said)}
            if release:
                values["released"] = True
            row = tx.conn.execute(
                update(runs)
                .where(runs.c.id == run_id, schema.is_untended)
                .values(**values)
                .returning(runs.c.trigger_uid, runs.c.partition)
            ).first()
            if row is None:
                return False
            put(tx, run_id, callbacks, self._db.clock.now())
            if release:
                uid, partition = row.trigger_uid, row.partition
                hold(tx.conn, [(uid, partition)])
                move_done(tx.conn, uid, partition)
                promote(
                    tx,
                    uid,
                    partition,
                    room=how.room,
                    rate=how.rate,
                    blocks=how.blocks,
                    now=self._db.clock.now(),
                )
            tx.notify(Topic.CHANGED)
            return True

        return self._db.write(operation, "keep")

    def payloads(self, trigger_uid: str, before: int) -> list[tuple[str, list[dict[str, Any]]]]:
        """Objects of runs that were over before an instant and need them no more: (run id, input
        sources). Those of dead runs stay until somebody has decided."""
        over = (runs.c.state != "dead") | runs.c.released
        statement = (
            select(runs.c.id, runs.c.payload)
            .where(
                runs.c.trigger_uid == trigger_uid,
                schema.has_payload,
                runs.c.ended_at < before,
                over,
            )
            .limit(_AT_ONCE)
        )
        with self._db.read() as conn:
            return [(row.id, json.loads(row.payload)) for row in conn.execute(statement)]

    def retire(self, trigger_uid: str, names: Collection[str]) -> int:
        """Forget those of these partitions that are at their end and done, and have no run in the
        ledger; returns how many."""
        has_runs = exists().where(
            runs.c.trigger_uid == partitions.c.trigger_uid, runs.c.partition == partitions.c.name
        )
        over = partitions.c.planned.is_(None) & partitions.c.done.is_(None) & ~has_runs

        def operation(tx: Tx) -> int:
            mine = partitions.c.trigger_uid == trigger_uid
            return sum(
                tx.conn.execute(
                    delete(partitions).where(mine, partitions.c.name.in_(chunk), over)
                ).rowcount
                for chunk in chunks(list(names))
            )

        return self._db.write(operation, "retire")

    def inputs(self, trigger_uid: str) -> Iterator[list[dict[str, Any]]]:
        """The input sources of all of a trigger's runs that have any, as of one moment."""
        mine = runs.c.trigger_uid == trigger_uid
        statement = select(runs.c.payload).where(mine, schema.has_payload)
        with self._db.read() as conn:
            for payload in conn.scalars(statement.execution_options(yield_per=_AT_ONCE)):
                yield json.loads(payload)

    def removed(self, run_ids: Sequence[str]) -> None:
        """The objects of these runs are gone."""

        def operation(tx: Tx) -> None:
            tx.conn.execute(
                update(runs)
                .where(runs.c.id.in_(list(run_ids)), runs.c.ended_at.is_not(None))
                .values(payload=None)
            )

        self._db.write(operation, "sweep")
