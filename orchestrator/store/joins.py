"""Joins: a trigger with `after` fires when all that it waits for have succeeded.

The word that one of them has is in the outbox since that run's ending. It is taken from there,
noted, and made into a run where it was the last, in one transaction: whatever is killed in between,
each success counts once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, update

from orchestrator.domain.clock import to_rfc3339
from orchestrator.store.commands import Commands
from orchestrator.store.database import Database, canonical
from orchestrator.store.intake import Admittance
from orchestrator.store.lines import hold
from orchestrator.store.outbox import Pending
from orchestrator.store.schema import arrivals, outbox
from orchestrator.store.values import Trigger
from orchestrator.store.writer import Tx

_ACTOR = "after"  # in the trail


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A trigger that waits for others, and what its runs get beside what those say."""

    trigger: Trigger
    partition: str
    names: Sequence[str]
    same_time: bool
    how: Admittance
    data: Mapping[str, Any]


class Joins:
    """The store's side of `after`."""

    def __init__(self, database: Database, commands: Commands) -> None:
        self._db = database
        self._commands = commands

    def arrive(self, word: Pending, waiting: Waiting) -> str | None:
        """Note that one of the awaited has succeeded. Returns the id of the run that this makes."""
        return self._db.write(lambda tx: self._arrive(tx, word, waiting), "join")

    def _arrive(self, tx: Tx, word: Pending, waiting: Waiting) -> str | None:
        trigger, now = waiting.trigger, self._db.clock.now()
        # Two of the awaited at once would each find the other missing.
        hold(tx.conn, [(trigger.uid, waiting.partition)])
        taken = update(outbox).where(
            outbox.c.id == word.id, outbox.c.tries == word.tries, outbox.c.done_at.is_(None)
        )
        if not tx.conn.execute(taken.values(done_at=now, tries=word.tries + 1, error="")).rowcount:
            return None
        said = json.loads(word.payload)
        group = to_rfc3339(said["due_at"]) if waiting.same_time else ""
        mine = (arrivals.c.trigger_uid == trigger.uid) & (arrivals.c.grp == group)
        tx.conn.execute(delete(arrivals).where(mine, arrivals.c.source == said["trigger"]))
        tx.conn.execute(
            insert(arrivals).values(
                trigger_uid=trigger.uid,
                grp=group,
                source=said["trigger"],
                said=canonical(said),
                at=now,
            )
        )
        there = {
            row.source: json.loads(row.said)
            for row in tx.conn.execute(
                select(arrivals.c.source, arrivals.c.said).where(
                    mine, arrivals.c.source.in_(list(waiting.names))
                )
            )
        }
        if len(there) < len(waiting.names):
            return None
        tx.conn.execute(delete(arrivals).where(mine))
        after = {name: _shown(there[name]) for name in waiting.names}
        return self._commands.fire_held(
            tx,
            trigger,
            waiting.partition,
            _key(group, after),
            waiting.how,
            _ACTOR,
            {**waiting.data, "after": after},
        )


def _shown(said: Mapping[str, Any]) -> dict[str, Any]:
    return {"run": said["run"], "key": said["key"], "time": to_rfc3339(said["due_at"])}


def _key(group: str, after: Mapping[str, Mapping[str, Any]]) -> str:
    """The same for the same runs: `after-2026-03-29T01:00:00Z`, or a digest of their ids."""
    if group:
        return f"after-{group}"
    runs = "\0".join(said["run"] for said in after.values())
    return f"after-{hashlib.sha256(runs.encode()).hexdigest()[:24]}"
