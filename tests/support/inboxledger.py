"""A trigger without order in the store: events come in, runs end, its source is told."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import sqlalchemy as sa

from orchestrator.domain.states import RunState
from orchestrator.store.endings import Settlement
from orchestrator.store.inbox import (
    Event,
    EventBatch,
    Inboxes,
    TakenIn,
    Terms,
)
from orchestrator.store.leftovers import Leftovers
from orchestrator.store.schema import inbox as inbox_table
from orchestrator.store.sources import Source, Sources
from orchestrator.store.streams import How
from orchestrator.store.telling import Telling, Verdict
from orchestrator.store.triggers import new_uid
from orchestrator.store.values import Run
from tests.support.ledger import Ledger, claim_of

ALL = How(room=None, rate=None, blocks=False)
INPUT = {"Source": {"Type": "inline", "Params": {"URL": "data:,x"}}, "Target": "/orch/batch.ndjson"}


class Queue:
    """One trigger without order, and the store's sides of it."""

    def __init__(self, ledger: Ledger, *, owner: str = "me", name: str = "queue") -> None:
        self.ledger = ledger
        self.inboxes = Inboxes(ledger.db)
        self.telling = Telling(ledger.db)
        self.sources = Sources(ledger.db, owner)
        self.leftovers = Leftovers(ledger.db)
        self.uid = new_uid()
        self.name = name
        ledger.outside(self.uid, '{"kind":"queue"}', kind="queue", name=name)

    def beside(self, ledger: Ledger) -> Queue:
        """The same trigger as another orchestrator sees it."""
        other = copy(self)
        other.ledger, other.inboxes = ledger, Inboxes(ledger.db)
        other.telling, other.sources = Telling(ledger.db), Sources(ledger.db, ledger.owner)
        return other

    @property
    def row(self) -> Source:
        found = self.sources.get(self.uid)
        assert found is not None
        return found

    def take(
        self,
        *ids: str,
        receipt: str = "r1",
        group: str = "",
        at: int | None = None,
        cursor: str | None = None,
        how: How = ALL,
        expires: int = 0,
        **terms: Any,
    ) -> TakenIn:
        """Let these events be one run."""
        batch = EventBatch(
            events=[
                Event(id=id_, receipt=receipt and f"{receipt}-{id_}", expires=expires)
                for id_ in ids
            ],
            group=group,
            values={"batch": {"count": len(ids)}},
            inputs=[INPUT],
            at=self.ledger.clock.now() if at is None else at,
        )
        return self.inboxes.take_in(self.row, [batch], how, Terms(**terms), cursor)

    def again(self, *ids: str, receipt: str = "r2") -> set[str]:
        """Deliver events once more; returns those that need no run."""
        events = [Event(id=id_, receipt=receipt and f"{receipt}-{id_}") for id_ in ids]
        return self.inboxes.received(self.uid, events)

    def states(self) -> dict[str, str]:
        """By id."""
        rows = self.ledger.rows(sa.select(inbox_table).order_by(inbox_table.c.id))
        return {row["id"]: row["state"] for row in rows if row["trigger_uid"] == self.uid}

    def told(self) -> list[tuple[str, str, str]]:
        """Tell the source all there is, as it would be told: (what, id, receipt) each."""
        found = self.telling.to_tell(self.uid)
        self.telling.told(self.uid, found)
        return sorted((told.state.value, told.id, told.receipt) for told in found)

    def run(self, key: str) -> Run:
        return next(run for run in self.ledger.runs() if run.key == key)

    def end(
        self,
        run: Run,
        state: RunState = RunState.SUCCEEDED,
        failed: Sequence[tuple[int, int]] = (),
    ) -> Run:
        """Bring a ready run to its end."""
        ledger = self.ledger
        [flight] = ledger.claims.claim([claim_of(ledger.run(run))], 1000)
        assert ledger.end(ledger.accept(flight))
        mine = [u for u in ledger.endings.unsettled(100) if u.run.id == run.id]
        ledger.endings.settle(
            [
                Settlement(
                    unsettled=unsettled,
                    state=state,
                    tries=1,
                    verdict=Verdict(state=state, failed=failed),
                )
                for unsettled in mine
            ]
        )
        return ledger.run(run)

    def ready(self) -> list[str]:
        """The keys of the runs that may start."""
        return [run.key for run in self.ledger.runs() if run.queue == "ready"]
