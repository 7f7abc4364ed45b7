"""An open store with all its sides, and short ways to bring it into a state."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

import specs
from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.services.definitions import Definition, to_body
from orchestrator.store.claims import Claim, Claims
from orchestrator.store.commands import Commands
from orchestrator.store.database import Database, canonical
from orchestrator.store.endings import Endings, Settlement
from orchestrator.store.flights import Ending, Flights
from orchestrator.store.intake import Admittance, Firing, Intake, PlannedBatch
from orchestrator.store.leases import Leases
from orchestrator.store.outbox import Callback, Outbox
from orchestrator.store.reads import Reads
from orchestrator.store.retention import Retention
from orchestrator.store.triggers import NewPartition, NewTrigger, Triggers, new_uid
from orchestrator.store.values import Attempt, Flight, Run, Trigger
from orchestrator.store.waits import Waits
from tests.support.clocks import START, FakeClock

PARTITION = "schedule"
STEP = MINUTE  # between two due times of `Ledger.trigger`


class Ledger:
    """One orchestrator's view of a store."""

    def __init__(self, url: str, clock: FakeClock | None = None, owner: str = "me") -> None:
        self.clock = clock or FakeClock()
        self.url = url
        self.db = Database(url, clock=self.clock)
        self.owner = owner
        self.triggers = Triggers(self.db)
        self.intake = Intake(self.db)
        self.claims = Claims(self.db, owner)
        self.flights = Flights(self.db, owner)
        self.waits = Waits(self.db, owner)
        self.endings = Endings(self.db)
        self.commands = Commands(self.db)
        self.reads = Reads(self.db)
        self.leases = Leases(self.db, owner)
        self.retention = Retention(self.db)
        self.outbox = Outbox(self.db)

    def close(self) -> None:
        self.db.close()

    def rows(self, statement: Any) -> list[Mapping[str, Any]]:
        with self.db.read() as conn:
            return [dict(row) for row in conn.execute(statement).mappings()]

    def scalar(self, text: str) -> Any:
        with self.db.read() as conn:
            return conn.scalar(sa.text(text))

    # -- triggers ---------------------------------------------------------------------------

    def trigger(
        self,
        name: str = "tick",
        *,
        wake_at: int | None = START,
        definition: Definition | None = None,
        planned: str | None = str(START),
        job: Mapping[str, Any] | None = None,
    ) -> Trigger:
        """Register a trigger whose partition begins at START."""
        body = canonical(to_body(definition or define()))
        [trigger] = self.triggers.create(
            [
                NewTrigger(
                    name=name,
                    kind="cron",
                    definition_hash=digest(body),
                    definition=body,
                    template_hash=(definition or define()).template,
                    job=canonical(job or {}),
                    uid=new_uid(),
                    partitions=[NewPartition(name=PARTITION, planned=planned, wake_at=wake_at)],
                )
            ],
            "test",
        )
        return trigger

    def outside(self, uid: str, definition: str, *, kind: str, name: str) -> None:
        """Register a trigger whose events come from outside, by the text of its definition."""
        new = NewTrigger(
            name=name,
            kind=kind,
            definition_hash=digest(definition),
            definition=definition,
            template_hash="t" * 32,
            job="{}",
            uid=uid,
            partitions=[],
            outside=True,
        )
        self.triggers.create([new], "test")

    def fire(
        self,
        trigger: Trigger,
        count: int = 1,
        *,
        overlap: Overlap = Overlap.ALLOW,
        skip: Sequence[str] | None = None,
        **how: Any,
    ) -> list[Run]:
        """Take in the next `count` due times of a trigger; returns their runs, oldest first."""
        [partition] = self.intake.of_trigger(trigger.uid)
        start = int(partition.planned)
        reasons = skip or [""] * count
        firings = [
            Firing(
                key=f"due-{start + n * STEP}",
                due_at=start + n * STEP,
                start=str(start + n * STEP),
                end=str(start + (n + 1) * STEP),
                skip=reasons[n],
            )
            for n in range(count)
        ]
        self.intake.take_in(
            [
                PlannedBatch(
                    partition=partition,
                    firings=firings,
                    planned=firings[-1].end,
                    wake_at=int(firings[-1].end),
                    admittance=Admittance(overlap=overlap, **how),
                )
            ]
        )
        by_key = {r.key: r for r in self.runs() if r.trigger_uid == trigger.uid}
        return [by_key[firing.key] for firing in firings]

    # -- runs -------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """All runs, the earliest due first."""
        ids = [row["id"] for row in self.rows(sa.text("SELECT id FROM runs ORDER BY due_at, id"))]
        return [self.reads.run(run_id) for run_id in ids]

    def run(self, run: Run | str) -> Run:
        return self.reads.run(run if isinstance(run, str) else run.id)

    def attempts(self, run: Run) -> list[Attempt]:
        return self.reads.attempts([run.id])[run.id]

    def claim(self, limit: int = 100, *, max_in_flight: int = 1000) -> list[Flight]:
        """Claim what is ready."""
        ready = self.claims.ready(limit)
        return self.claims.claim([claim_of(run) for run in ready], max_in_flight)

    def accept(self, flight: Flight) -> Flight:
        """Let the cluster take an attempt's job; returns the flight as it is then."""
        assert self.flights.accepted(flight, f"j-{flight.run_id}-{flight.number}").result()
        return self.flight(flight)

    def flight(self, flight: Flight) -> Flight:
        found = [
            f
            for f in self.flights.load(list(AttemptState))
            if (f.run_id, f.number) == (flight.run_id, flight.number)
        ]
        return found[0]

    def end(self, flight: Flight, **ending: Any) -> bool:
        """End an attempt: as succeeded unless told otherwise."""
        values = {"state": AttemptState.SUCCEEDED, "exit_code": 0} | ending
        return self.flights.ended(flight, Ending(**values)).result()

    def settle(
        self,
        state: RunState,
        *,
        room: int | None = 1,
        rate: float | None = None,
        not_before: int = 0,
        callbacks: Sequence[Callback] = (),
        reason: str = "",
        blocks: bool = False,
        trip_after: int | None = None,
    ) -> int:
        """Move every unsettled run to `state`."""
        settled = self.endings.settle(
            [
                Settlement(
                    unsettled=unsettled,
                    state=state,
                    room=room,
                    rate=rate,
                    not_before=not_before,
                    tries=unsettled.run.tries + 1,
                    callbacks=callbacks,
                    reason=reason,
                    blocks=blocks,
                    trip_after=trip_after,
                )
                for unsettled in self.endings.unsettled(1000)
            ]
        )
        return settled.moved

    def finish(self, run: Run, state: RunState = RunState.SUCCEEDED, **settle: Any) -> Run:
        """Bring one ready run to its end."""
        [flight] = self.claims.claim([claim_of(self.run(run))], 1000)
        flight = self.accept(flight)
        ended = AttemptState.SUCCEEDED if state is RunState.SUCCEEDED else AttemptState.FAILED
        assert self.end(flight, state=ended)
        self.settle(state, **settle)
        return self.run(run)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def define(
    *,
    settings: Mapping[str, Any] | None = None,
    overlap: Overlap = Overlap.ALLOW,
    template: str = "t" * 32,
    **policies: Any,
) -> Definition:
    """A definition; `policies` as in `specs.Policies`."""
    return Definition(
        kind="cron",
        settings=settings or {"every": "1m"},
        policies=specs.Policies(**policies),
        overlap=overlap,
        template=template,
    )


def claim_of(run: Run) -> Claim:
    """A claim whose bytes say which attempt they are."""
    return Claim(
        run=run,
        job_name=f"orch-{run.id}-a{run.attempts + 1}",
        namespace="",
        spec_hash="hash",
        body=f"{run.id}/{run.attempts + 1}".encode(),
        execution_us=10 * SECOND,
        total_us=20 * SECOND,
        grace_us=5 * SECOND,
    )
