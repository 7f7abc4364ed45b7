"""The ledger under random orders of events, beside a model of what must always hold.

The store is the real one on SQLite, the rules (`plan`, `decide`) are the services' own; the
cluster is a dictionary. A crash drops everything that was only in memory and opens the store again.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connectors.abc import Schedule
from connectors.times import key
from orchestrator.domain.clock import SECOND
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import (
    ATTEMPT_LIVE,
    ENDED,
    AttemptState,
    Origin,
    Queue,
    RunState,
    TriggerState,
)
from orchestrator.services.completer import decide
from orchestrator.services.definitions import Definition, to_body
from orchestrator.services.firing import plan
from orchestrator.store.commands import Gap
from orchestrator.store.database import canonical
from orchestrator.store.errors import Conflict, Lost, Missing
from orchestrator.store.flights import Ending
from orchestrator.store.intake import PlannedBatch
from orchestrator.store.schema import attempts, partitions, runs
from orchestrator.store.triggers import Change, NewPartition
from orchestrator.store.values import Flight
from tests.support.clocks import FakeClock
from tests.support.ledger import PARTITION, Ledger, claim_of, define, digest
from tests.support.migrated import copy_of_migrated_sqlite

CAP = 2  # runs in flight
STEPS = (60 * SECOND, 45 * SECOND)  # between due times, before and after a change
ENDINGS = st.sampled_from(["succeeded", "failed", "busy", "refused", "node lost"])


class Grid(Schedule):
    """Due at the multiples of a number of microseconds."""

    def __init__(self, step: int) -> None:
        self.step = step

    @property
    def timezone(self) -> str:
        return "UTC"

    @property
    def jitter(self) -> int:
        return 0

    def next_after(self, instant: int) -> int | None:
        return (instant // self.step + 1) * self.step

    def describe(self) -> str:
        return "a grid"

    def marks(self, due: int) -> tuple[str, ...]:
        return ()


class LedgerModel(RuleBasedStateMachine):
    """One trigger, one orchestrator, one cluster."""

    def __init__(self) -> None:
        super().__init__()
        memory = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.clock = FakeClock()
        path = self.directory / "orch.db"
        copy_of_migrated_sqlite(path)
        self.url = f"sqlite:///{path}"
        self.ledger = Ledger(self.url, self.clock)
        self.flights: dict[str, Flight] = {}  # what this process knows to be on its way
        self.doubted: set[str] = set()
        self.jobs: dict[str, bytes] = {}  # the cluster: a name is taken for ever
        self.planned: dict[int, str] = {}  # every due time that was taken in, and its run's key
        self.stale: PlannedBatch | None = None
        self.reopened = False  # by a command: such runs stand beside the line
        self.swept = 0

    def teardown(self) -> None:
        try:
            if hasattr(self, "definition"):
                self.drain()
        finally:
            self.ledger.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    # -- events -----------------------------------------------------------------------------

    @initialize(overlap=st.sampled_from(list(Overlap)), parallelism=st.integers(1, 2))
    def register(self, overlap: Overlap, parallelism: int) -> None:
        self.version = 0
        self.definition = self._define(overlap, parallelism)
        self.ledger.trigger(definition=self.definition)

    def _define(self, overlap: Overlap, parallelism: int) -> Definition:
        return define(
            settings={"every": f"{STEPS[self.version % 2] // SECOND}s"},
            overlap=overlap,
            parallelism=parallelism,
            retry=_retry(),
        )

    @property
    def schedule(self) -> Grid:
        return Grid(STEPS[self.version % 2])

    @rule(seconds=st.sampled_from([1, 20, 60, 200, 1500]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds * SECOND)
        self.ledger.claims.wake_delayed(self.clock.now())

    @rule()
    def fire_what_is_due(self) -> None:
        for partition in self.ledger.intake.due(self.clock.now(), 10):
            batch = plan(partition, self.definition, self.schedule, self.clock.now())
            self.stale = batch
            self._take_in(batch)

    def _take_in(self, batch: PlannedBatch) -> None:
        [before] = self.ledger.rows(sa.select(partitions.c.ordinal))
        self.ledger.intake.take_in([batch])
        [after] = self.ledger.rows(sa.select(partitions.c.ordinal))
        if after != before:
            for firing in batch.firings:
                assert firing.due_at not in self.planned, "planned twice"
                self.planned[firing.due_at] = firing.key

    @rule()
    def fire_again_what_was_planned_before(self) -> None:
        if self.stale is not None and self.stale.firings:
            before = self.ledger.rows(sa.select(runs.c.id))
            assert self.ledger.intake.take_in([self.stale]) == 0
            assert self.ledger.rows(sa.select(runs.c.id)) == before

    @rule(limit=st.integers(1, 4), crash=st.booleans())
    def claim(self, limit: int, crash: bool) -> None:
        ready = self.ledger.claims.ready(limit)
        for flight in self.ledger.claims.claim([claim_of(run) for run in ready], CAP):
            self.flights[flight.run_id] = flight
        if crash:
            self.crash()

    @rule(data=st.data(), answer=st.sampled_from(["yes", "lost before", "lost after"]))
    def send(self, data: st.DataObject, answer: str) -> None:
        flight = self._draw(data, AttemptState.SENDING)
        if flight is None:
            return
        if flight.run_id in self.doubted and flight.job_name in self.jobs:
            self._accept(flight)  # found by its name
            return
        if answer != "lost before":
            self._put(flight)
        if answer == "yes":
            self._accept(flight)
        else:
            self.ledger.flights.doubted(flight, faults=0).result()
            self.doubted.add(flight.run_id)

    def _put(self, flight: Flight) -> None:
        body = flight.body or b""
        assert self.jobs.get(flight.job_name, body) == body, "one name, two jobs"
        assert flight.job_name not in self.jobs or flight.run_id in self.doubted, "sent twice"
        self.jobs[flight.job_name] = body

    def _accept(self, flight: Flight) -> None:
        assert self.ledger.flights.accepted(flight, f"j-{flight.job_name}").result()
        self._reload()

    @rule(data=st.data(), how=ENDINGS)
    def end(self, data: st.DataObject, how: str) -> None:
        flight = self._draw(data, AttemptState.ACCEPTED, AttemptState.RUNNING)
        if flight is not None:
            now = self.clock.now()
            ending = Ending(
                state=AttemptState.SUCCEEDED if how == "succeeded" else AttemptState.FAILED,
                reason=how,
                counted=how != "busy",
                retryable=how != "refused",
                hold_until=now + 100 * SECOND if how == "node lost" else 0,
            )
            assert self.ledger.flights.ended(flight, ending).result()
            assert not self.ledger.flights.ended(flight, ending).result()
            self._reload()

    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        flight = self._draw(data, AttemptState.ACCEPTED)
        if flight is not None:
            assert self.ledger.flights.seen_running(flight, "n").result()
            self._reload()

    @rule()
    def cancel_what_is_to_be_cancelled(self) -> None:
        for flight in self.ledger.flights.to_cancel(self.clock.now()):
            if flight.state is not AttemptState.SENDING:
                now = self.clock.now()
                self.ledger.flights.stopping(flight, flight.cancel or "late").result()
                self.ledger.flights.stopped(flight, now, now + 15 * SECOND).result()
                stopped = Ending(state=AttemptState.STOPPED, reason="stopped")
                assert self.ledger.flights.ended(flight, stopped).result()
        self._reload()

    @rule(piece=st.integers(1, 3), late=st.booleans())
    def complete(self, piece: int, late: bool) -> None:
        unsettled = self.ledger.endings.unsettled(piece)
        settlements = [decide(u, self.definition, self.clock.now(), lambda: 0.5) for u in unsettled]
        moved = self.ledger.endings.settle(settlements).moved
        assert moved == len(settlements)
        if late:
            assert self.ledger.endings.settle(settlements).moved == 0

    @rule()
    def crash(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.url, self.clock, self.ledger.owner)
        self.doubted = {f.run_id for f in self.ledger.flights.load([AttemptState.SENDING])}
        self._reload()

    @rule()
    def taken_over(self) -> None:
        """Another orchestrator takes our runs: the next fence, and ours is void."""
        old = list(self.flights.values())
        owner = "other" if self.ledger.owner == "me" else "me"
        self.ledger.close()
        self.ledger = Ledger(self.url, self.clock, owner)
        self.ledger.leases.adopt_orphans()
        for flight in old:
            assert not self.ledger.flights.doubted(flight, faults=9).result()
            assert not self.ledger.flights.ended(flight, Ending(state=AttemptState.FAILED)).result()
        self.doubted = {f.run_id for f in self.ledger.flights.load([AttemptState.SENDING])}
        self._reload()

    # -- commands ---------------------------------------------------------------------------

    @rule(data=st.data(), command=st.sampled_from(["cancel", "retry", "redrive", "discard"]))
    def command_a_run(self, data: st.DataObject, command: str) -> None:
        found = self.ledger.runs()
        if not found:
            return
        run = data.draw(st.sampled_from(found))
        commands = self.ledger.commands
        if command == "redrive":
            self.reopened |= bool(commands.redrive(None, [run.id], "me"))
        elif command == "discard":
            commands.discard(None, [run.id], "", "me")
        elif command == "cancel":
            with suppress(Conflict):
                commands.cancel(run.id, "no", "me")
        else:
            with suppress(Conflict):
                commands.retry(run.id, "me")
                self.reopened = True

    @rule()
    def pause(self) -> None:
        self.ledger.triggers.pause("tick", "", "me")

    @rule()
    def resume(self) -> None:
        [partition] = self.ledger.intake.of_trigger(self.ledger.triggers.get("tick").uid)
        self.ledger.triggers.resume("tick", {PARTITION: int(partition.planned)}, "me")

    @rule()
    def fire_now(self) -> None:
        trigger = self.ledger.triggers.get("tick")
        unique = f"manual-{len(self.ledger.runs())}-{self.clock.advance(1)}"
        self.ledger.commands.fire(trigger, PARTITION, unique, self.definition.admittance, "me")

    @rule(back=st.integers(1, 8))
    def backfill(self, back: int) -> None:
        trigger = self.ledger.triggers.get("tick")
        due = self.schedule.next_after(self.clock.now() - back * self.schedule.step) or 0
        gaps: list[Gap] = []
        while due <= self.clock.now():
            gaps.append(Gap(key=key(due), due_at=due))
            due += self.schedule.step
        how = self.definition.admittance
        preview = self.ledger.commands.backfill(trigger, PARTITION, gaps, how, "me", dry_run=True)
        assert self.ledger.commands.backfill(trigger, PARTITION, gaps, how, "me") == preview
        assert preview.created + preview.revived + preview.kept == len(gaps)

    @rule(parallelism=st.integers(1, 2))
    def change(self, parallelism: int) -> None:
        """As the registrar does: what is due comes in first, then the new times hold."""
        trigger = self.ledger.triggers.get("tick")
        if trigger.state is TriggerState.ACTIVE:
            self.fire_what_is_due()
        self.version += 1
        following = self.schedule.next_after(self.clock.now()) or 0
        definition = self._define(self.definition.overlap, parallelism)
        body = canonical(to_body(definition))
        change = Change(
            definition_hash=digest(body),
            definition=body,
            template_hash=definition.template,
            job="{}",
            partitions=[NewPartition(name=PARTITION, planned=str(following), wake_at=following)],
        )
        try:
            self.ledger.triggers.change(trigger, change, "me")
        except (Conflict, Lost):
            self.version -= 1
            return
        self.definition = definition

    @rule(age=st.sampled_from([0, 300, 2000]))
    def sweep(self, age: int) -> None:
        self.swept += self.ledger.retention.sweep(self.clock.now() - age * SECOND)

    # -- helpers ----------------------------------------------------------------------------

    def _reload(self) -> None:
        live = self.ledger.flights.load(list(ATTEMPT_LIVE))
        self.flights = {flight.run_id: flight for flight in live}
        self.doubted &= set(self.flights)

    def _draw(self, data: st.DataObject, *states: AttemptState) -> Flight | None:
        found = [f for f in self.flights.values() if f.state in states]
        return data.draw(st.sampled_from(found)) if found else None

    def drain(self) -> None:
        """Whatever has happened, everything comes to its end by itself."""
        self.crash()
        with suppress(Missing):
            self.ledger.triggers.pause("tick", "", "me")
        for _ in range(500):
            self.clock.advance(30 * SECOND)
            self.ledger.claims.wake_delayed(self.clock.now())
            self.cancel_what_is_to_be_cancelled()
            ready = self.ledger.claims.ready(CAP)
            self.ledger.claims.claim([claim_of(run) for run in ready], CAP)
            self.doubted |= {f.run_id for f in self.ledger.flights.load([AttemptState.SENDING])}
            for flight in self.ledger.flights.load([AttemptState.SENDING]):
                self._put(flight)
                assert self.ledger.flights.accepted(flight, "j").result()
            for flight in self.ledger.flights.load([AttemptState.ACCEPTED, AttemptState.RUNNING]):
                self.ledger.flights.ended(flight, Ending(state=AttemptState.SUCCEEDED)).result()
            while self.ledger.endings.unsettled(10):
                self.complete(10, late=False)
            if not self.ledger.rows(sa.select(runs.c.id).where(runs.c.ended_at.is_(None))):
                break
        else:
            raise AssertionError("the ledger does not come to rest")
        self.every_invariant()
        [partition] = self.ledger.rows(sa.select(partitions))
        dead = sa.select(runs.c.id).where(
            runs.c.state == "dead", ~runs.c.released, runs.c.ordinal.is_not(None)
        )
        if not self.ledger.rows(dead):
            assert partition["done"] == partition["planned"]

    # -- what always holds ------------------------------------------------------------------

    @invariant()
    def every_invariant(self) -> None:
        if not hasattr(self, "definition"):
            return
        rows = self.ledger.rows(sa.select(runs))
        tried = self.ledger.rows(sa.select(attempts).order_by(attempts.c.number))
        [partition] = self.ledger.rows(sa.select(partitions))
        self._runs_are_whole(rows, partition)
        self._attempts_are_single(rows, tried)
        self._ranges_tile(rows, partition)
        self._lines_are_kept(rows)

    def _runs_are_whole(self, rows: list[Any], partition: Any) -> None:
        keys = [row["key"] for row in rows]
        assert len(keys) == len(set(keys))
        base = int(partition["base"])
        for due_at, name in self.planned.items():
            assert due_at < base or name in keys, f"lost: {name}"
        for row in rows:
            assert (row["ended_at"] is not None) == (RunState(row["state"]) in ENDED)
            assert (row["queue"] is not None) == (row["state"] == RunState.PENDING)
            assert (row["owner"] is not None) == (row["state"] in ("submitting", "running"))

    def _attempts_are_single(self, rows: list[Any], tried: list[Any]) -> None:
        flying = [row for row in rows if row["state"] in ("submitting", "running")]
        assert len(flying) <= CAP
        by_run: dict[str, list[Any]] = {row["id"]: [] for row in rows}
        for attempt in tried:
            by_run[attempt["run_id"]].append(attempt)
        for row in rows:
            numbers = [attempt["number"] for attempt in by_run[row["id"]]]
            assert numbers == list(range(1, row["attempts"] + 1))
            live = [a for a in by_run[row["id"]] if a["ended_at"] is None]
            assert len(live) <= 1
            if live:
                assert row["state"] in ("submitting", "running")
                assert live[0]["number"] == row["attempts"]
            succeeded = [a for a in by_run[row["id"]] if a["state"] == "succeeded"]
            assert len(succeeded) <= 1
            if row["state"] == "succeeded":
                assert len(succeeded) == 1

    def _ranges_tile(self, rows: list[Any], partition: Any) -> None:
        ordered = sorted(
            (row for row in rows if row["ordinal"] is not None), key=lambda row: row["ordinal"]
        )
        assert [row["ordinal"] for row in ordered] == list(
            range(partition["base_ordinal"], partition["ordinal"])
        )
        edges = [partition["base"], *[row["range_end"] for row in ordered]]
        assert [row["range_start"] for row in ordered] == edges[:-1]
        assert edges[-1] == partition["planned"]
        held = [
            row
            for row in ordered
            if row["ended_at"] is None or (row["state"] == "dead" and not row["released"])
        ]
        first = held[0]["range_start"] if held else partition["planned"]
        assert partition["done"] == first

    def _lines_are_kept(self, rows: list[Any]) -> None:
        is_open = [row for row in rows if row["ended_at"] is None]
        line = [row for row in is_open if row["queue"] == Queue.LINE]
        out = [row for row in is_open if row["queue"] != Queue.LINE]
        if line:
            assert out, "somebody waits in line for nobody"
        room = self.definition.room
        if room is not None and not self.reopened and self.version == 0:
            assert len(out) <= room
        if self.definition.overlap is Overlap.QUEUE:
            waiting = [row["ordinal"] for row in line if row["origin"] == Origin.SOURCE]
            begun = [
                row["ordinal"]
                for row in rows
                if row["origin"] == Origin.SOURCE
                and row["ordinal"] is not None
                and row["queue"] != Queue.LINE
                and row["state"] != RunState.SKIPPED
                and row["cancel"] is None
            ]
            if waiting and begun and not self.reopened:
                assert max(begun) < min(waiting), "overtaken in the line"


def _retry() -> Any:
    import specs

    return specs.Retry(max_attempts=2)


LedgerModel.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestLedgerModel = pytest.mark.timeout(600)(LedgerModel.TestCase)
