"""A queue outside, and both parts that serve it, turn by turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import specs
from connectors.queues import Inbox
from connectors.streams import SourceContext
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import RunState, TriggerState
from orchestrator.services.definitions import Definition, to_body
from orchestrator.services.queues import QueueWork, Receiving, Reporting
from orchestrator.services.reader import Shelf
from orchestrator.store.database import canonical
from orchestrator.store.endings import Settlement
from orchestrator.store.inbox import Inboxes
from orchestrator.store.leftovers import Leftovers
from orchestrator.store.lives import Lives
from orchestrator.store.sources import Source, Sources
from orchestrator.store.streams import Streams
from orchestrator.store.telling import Telling, Verdict
from orchestrator.store.triggers import new_uid
from orchestrator.store.values import Run
from tests.support.desk import Desk
from tests.support.ledger import claim_of
from tests.support.queuesource import MemoryQueue, MemorySource, QueueSettings


class Bench:
    """A queue outside, its trigger, and both parts that serve it."""

    def __init__(self, desk: Desk, place: Path) -> None:
        self.ledger = desk.ledger
        self.clock = desk.clock
        self.queue = MemoryQueue()
        self.uid = new_uid()
        self._place = place
        db = desk.ledger.db
        self.shelf = Shelf(
            sources=Sources(db, "me"),
            streams=Streams(db),
            lives=Lives(db),
            leftovers=Leftovers(db),
            inboxes=Inboxes(db),
            telling=Telling(db),
        )
        self.definition = Definition(
            kind="queue",
            settings={},
            policies=specs.Policies(),
            overlap=Overlap.QUEUE,
            template="t" * 32,
            queue=True,
        )
        self.receiving: Receiving
        self.reporting: Reporting

    def register(self) -> None:
        body = canonical(to_body(self.definition))
        self.ledger.outside(self.uid, body, kind="queue", name="queue")

    @property
    def row(self) -> Source:
        found = self.shelf.sources.get(self.uid)
        assert found is not None
        return found

    def open(self, *, max_in_flight: int = 100, **settings: Any) -> None:
        """Open the source anew, as after a crash."""
        if self.shelf.sources.get(self.uid) is None:
            self.register()
        inboxes = self.shelf.inboxes
        context = SourceContext(
            instance="i",
            trigger="queue",
            trigger_uid=self.uid,
            secrets={},
            data_dir=self._place,
            stop=threading.Event(),
        )
        inbox = Inbox(
            cursor=inboxes.cursor(self.uid),
            known=lambda ids: set(inboxes.known(self.uid, ids)),
        )
        parsed = QueueSettings(queue="q", **settings)
        source = MemorySource(self.queue, parsed, context, inbox)
        work = QueueWork(
            self.row, self.definition, source, source.payloads, context, self.shelf, self.clock
        )
        self.reporting = Reporting(work)
        self.receiving = Receiving(work, source, max_in_flight=max_in_flight, patience=lambda: 0.0)

    def keys(self) -> list[str]:
        return sorted(run.key for run in self.ledger.runs())

    def run(self, key: str) -> Run:
        return next(run for run in self.ledger.runs() if run.key == key)

    def end(self, key: str, state: RunState = RunState.SUCCEEDED, failed: Any = ()) -> None:
        """Bring a run to its end."""
        ledger = self.ledger
        [flight] = ledger.claims.claim([claim_of(self.run(key))], 1000)
        assert ledger.end(ledger.accept(flight))
        verdict = Verdict(state=state, failed=failed)
        [unsettled] = ledger.endings.unsettled(10)
        settlement = Settlement(
            unsettled=unsettled,
            state=state,
            tries=1,
            room=self.definition.room_in(unsettled.run.partition),
            verdict=verdict,
        )
        ledger.endings.settle([settlement])

    def set_state(self, state: TriggerState) -> Source:
        """Pause or resume, and let the parts know."""
        if state is TriggerState.PAUSED:
            self.ledger.triggers.pause("queue", "", "test")
        else:
            self.ledger.triggers.resume("queue", {}, "test")
        return self.row


def raises(error: Exception) -> Callable[[], None]:
    """A fault of a call."""

    def fail() -> None:
        raise error

    return fail
