"""Runs by command, in every state in which one may be asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from orchestrator.domain.clock import MINUTE
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import AttemptState, Origin, Queue, RunState
from orchestrator.store import schema
from orchestrator.store.commands import Backfilled, Gap
from orchestrator.store.errors import Conflict, Missing
from orchestrator.store.intake import Admittance
from orchestrator.store.values import Run
from tests.support.clocks import START
from tests.support.ledger import PARTITION, STEP, Ledger, claim_of

QUEUED = Admittance(overlap=Overlap.QUEUE)


def _pending(ledger: Ledger) -> Run:
    return ledger.fire(ledger.trigger())[0]


def _in_line(ledger: Ledger) -> Run:
    return ledger.fire(ledger.trigger(), 2, overlap=Overlap.QUEUE)[1]


def _delayed(ledger: Ledger) -> Run:
    run = _pending(ledger)
    [flight] = ledger.claim()
    ledger.end(ledger.accept(flight), state=AttemptState.FAILED)
    ledger.settle(RunState.PENDING, not_before=ledger.clock.now() + MINUTE)
    return ledger.run(run)


def _submitting(ledger: Ledger) -> Run:
    run = _pending(ledger)
    ledger.claim()
    return ledger.run(run)


def _running(ledger: Ledger) -> Run:
    run = _pending(ledger)
    ledger.accept(ledger.claim()[0])
    return ledger.run(run)


def _ended(state: RunState) -> Callable[[Ledger], Run]:
    return lambda ledger: ledger.finish(_pending(ledger), state)


def _skipped(ledger: Ledger) -> Run:
    return ledger.fire(ledger.trigger(), skip=["missed"])[0]


STATES: dict[str, Callable[[Ledger], Run]] = {
    "pending": _pending,
    "in line": _in_line,
    "delayed": _delayed,
    "submitting": _submitting,
    "running": _running,
    "succeeded": _ended(RunState.SUCCEEDED),
    "dead": _ended(RunState.DEAD),
    "cancelled": _ended(RunState.CANCELLED),
    "skipped": _skipped,
}


@pytest.mark.parametrize("state", STATES)
def test_cancel(ledger: Ledger, state: str) -> None:
    """Open runs end: waiting ones by the completer, flying ones by the canceller. Ended ones say
    that they have ended. Twice is once."""
    run = STATES[state](ledger)
    if run.ended_at is not None:
        with pytest.raises(Conflict, match="has ended already"):
            ledger.commands.cancel(run.id, "no", "me")
        return
    ledger.commands.cancel(run.id, "first", "me")
    ledger.commands.cancel(run.id, "second", "me")
    assert ledger.run(run).cancel == "first"
    waiting = [u.run.id for u in ledger.endings.unsettled(10)]
    flying = [flight.run_id for flight in ledger.flights.to_cancel(0)]
    assert [*waiting, *flying] == [run.id]
    assert bool(waiting) == (run.state is RunState.PENDING)
    if waiting:
        ledger.settle(RunState.CANCELLED)
        assert ledger.run(run).state is RunState.CANCELLED


REFUSED = {
    "succeeded": "use `orch triggers fire`",
    "submitting": "cancel it first",
    "running": "cancel it first",
    "in line": "waits in line",
}


@pytest.mark.parametrize("state", STATES)
def test_retry(ledger: Ledger, state: str) -> None:
    """What ended without success, or waits for its next attempt, may start now with all its
    attempts."""
    run = STATES[state](ledger)
    if state in REFUSED:
        with pytest.raises(Conflict, match=REFUSED[state]):
            ledger.commands.retry(run.id, "me")
        assert ledger.run(run) == run
        return
    ledger.commands.retry(run.id, "me")
    again = ledger.run(run)
    assert (again.state, again.queue, again.ended_at) == (RunState.PENDING, Queue.READY, None)
    assert (again.tries, again.attempts, again.reason) == (0, run.attempts, "")
    [flight] = ledger.claim()
    assert flight.number == run.attempts + 1


@pytest.mark.parametrize("state", STATES)
def test_redrive_and_discard_are_for_the_dead(ledger: Ledger, state: str) -> None:
    """Any other run is left as it is."""
    run = STATES[state](ledger)
    expected = int(state == "dead")
    assert ledger.commands.discard(None, [run.id], "", "me") == expected
    assert ledger.commands.redrive(None, [run.id], "me") == 0  # discarded, or never dead
    assert ledger.run(run).state is run.state


@pytest.mark.parametrize("command", ["retry", "redrive"])
def test_a_lost_task_is_waited_for(ledger: Ledger, command: str) -> None:
    """Nobody's word starts an attempt while the old task may still go on."""
    run = _pending(ledger)
    [flight] = ledger.claim()
    hold = ledger.clock.now() + 10 * MINUTE
    ledger.end(ledger.accept(flight), state=AttemptState.FAILED, hold_until=hold)
    ledger.settle(RunState.DEAD)
    if command == "retry":
        ledger.commands.retry(run.id, "me")
    else:
        ledger.commands.redrive(None, [run.id], "me")
    again = ledger.run(run)
    assert (again.queue, again.not_before) == (Queue.DELAYED, hold)
    ledger.clock.advance(11 * MINUTE)
    assert ledger.claims.wake_delayed(ledger.clock.now()) == 1


@pytest.mark.parametrize("backfilled", [False, True])
def test_the_open_runs_of_a_trigger_are_cancelled(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, backfilled: bool
) -> None:
    """However many, once each: not those that have ended, of others, or live where only those of
    backfills are meant."""
    monkeypatch.setattr("orchestrator.store.commands._CANCEL_AT_ONCE", 2)
    live = ledger.fire(ledger.trigger("a"), 6)
    other = ledger.fire(ledger.trigger("b"), 1)
    ledger.finish(live[0])
    old = live[3:]
    made = update(schema.runs).where(schema.runs.c.id.in_([run.id for run in old]))
    ledger.db.write(lambda tx: tx.conn.execute(made.values(origin=Origin.BACKFILL)), "test")
    expected = {run.id for run in (old if backfilled else live[1:])}
    assert ledger.commands.cancel_open("a", "why", "me", backfilled=backfilled) == len(expected)
    assert ledger.commands.cancel_open("a", "why", "me", backfilled=backfilled) == 0
    asked = {run.id for run in [*live, *other] if ledger.run(run).cancel == "why"}
    assert asked == expected
    ledger.settle(RunState.CANCELLED, reason="why")
    ended = {run.id for run in live if ledger.run(run).state is RunState.CANCELLED}
    assert ended == expected


def test_unknown_runs(ledger: Ledger) -> None:
    """A run that is not there is missing, with its id in the message."""
    for command in (
        lambda: ledger.commands.cancel("r-none", "", "me"),
        lambda: ledger.commands.retry("r-none", "me"),
        lambda: ledger.reads.run("r-none"),
    ):
        with pytest.raises(Missing, match="r-none"):
            command()


def test_redrive_by_trigger(ledger: Ledger) -> None:
    """Only the named trigger's dead runs; all of them without names."""
    runs = {name: ledger.fire(ledger.trigger(name), 2) for name in ("a", "b")}
    for run in [*runs["a"], *runs["b"]]:
        ledger.finish(run, RunState.DEAD)
    assert ledger.commands.redrive("a", [], "me") == 2
    assert ledger.commands.redrive("a", [runs["b"][0].id], "me") == 0
    assert ledger.commands.redrive(None, [], "me") == 2


class TestFire:
    """`triggers fire`."""

    def test_a_run_beside_the_schedule(self, ledger: Ledger) -> None:
        """Due now, outside of the order, and the schedule goes on as before."""
        trigger = ledger.trigger()
        run = ledger.run(ledger.commands.fire(trigger, PARTITION, "now", QUEUED, "me"))
        assert (run.origin, run.ordinal, run.queue) == (Origin.MANUAL, None, Queue.READY)
        ledger.finish(run)
        [partition] = ledger.reads.partitions(trigger.uid)
        assert partition.planned == partition.done == str(START)

    def test_it_waits_behind_open_runs(self, ledger: Ledger) -> None:
        """A person's firing keeps the trigger's capacity."""
        trigger = ledger.trigger()
        [first] = ledger.fire(trigger, overlap=Overlap.QUEUE)
        run = ledger.run(ledger.commands.fire(trigger, PARTITION, "now", QUEUED, "me"))
        assert run.queue is Queue.LINE
        ledger.finish(first)
        assert ledger.run(run).queue is Queue.READY

    def test_a_key_is_used_once(self, ledger: Ledger) -> None:
        """The same key again is refused."""
        trigger = ledger.trigger()
        ledger.commands.fire(trigger, PARTITION, "now", QUEUED, "me")
        with pytest.raises(Conflict, match="'now' already"):
            ledger.commands.fire(trigger, PARTITION, "now", QUEUED, "me")


class TestBackfill:
    """`triggers backfill`: only the gaps."""

    def test_gaps_are_filled_and_others_kept(self, ledger: Ledger) -> None:
        """No row: a new run. Skipped: it runs after all. Anything else is left alone."""
        trigger = ledger.trigger()
        runs = ledger.fire(trigger, 4, skip=["", "missed", "", "overlap"])
        ledger.finish(runs[0])
        gaps = [Gap(key=f"due-{START + n * STEP}", due_at=START + n * STEP) for n in range(-2, 4)]
        expected = Backfilled(created=2, revived=2, kept=2)
        preview = ledger.commands.backfill(trigger, PARTITION, gaps, QUEUED, "me", dry_run=True)
        assert preview == expected
        assert len(ledger.runs()) == 4
        assert ledger.commands.backfill(trigger, PARTITION, gaps, QUEUED, "me") == expected
        again = ledger.commands.backfill(trigger, PARTITION, gaps, QUEUED, "me")
        assert again == Backfilled(created=0, revived=0, kept=6)
        assert [run.origin for run in ledger.runs()].count(Origin.BACKFILL) == 4

    def test_it_keeps_the_capacity_and_yields_to_live_runs(self, ledger: Ledger) -> None:
        """One after the other, the earliest first, with a lower priority than the schedule's."""
        trigger = ledger.trigger()
        gaps = [Gap(key=f"old-{n}", due_at=START - (3 - n) * STEP) for n in range(3)]
        ledger.commands.backfill(trigger, PARTITION, gaps, QUEUED, "me")
        order: list[str] = []
        while ready := ledger.claims.ready(10):
            [run] = ready
            assert run.priority < 0
            order.append(run.key)
            ledger.finish(run)
        assert order == ["old-0", "old-1", "old-2"]

    @pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.REPLACE, Overlap.QUEUE])
    def test_live_firings_go_on_beside_it(self, ledger: Ledger, overlap: Overlap) -> None:
        """A live firing waits for the gap under way, goes before those in line, replaces none."""
        trigger = ledger.trigger()
        how = Admittance(overlap=overlap)
        gaps = [Gap(key=f"old-{n}", due_at=START - (3 - n) * STEP) for n in range(3)]
        ledger.commands.backfill(trigger, PARTITION, gaps, how, "me")
        [under_way] = ledger.claims.ready(10)
        [live] = ledger.fire(trigger, overlap=overlap)
        assert (live.state, live.queue) == (RunState.PENDING, "line")
        order: list[str] = [under_way.key]
        ledger.finish(under_way)
        while ready := ledger.claims.ready(10):
            [run] = ready
            order.append(run.key)
            ledger.finish(run)
        assert order == ["old-0", live.key, "old-1", "old-2"]

    def test_a_revived_run_holds_done(self, ledger: Ledger) -> None:
        """`done` goes back to a skipped due time that is to run after all, and on with its end."""
        trigger = ledger.trigger()
        [run] = ledger.fire(trigger, skip=["missed"])
        gap = Gap(key=run.key, due_at=run.due_at)
        ledger.commands.backfill(trigger, PARTITION, [gap], QUEUED, "me")
        assert ledger.reads.partitions(trigger.uid)[0].done == str(START)
        ledger.finish(run)
        assert ledger.reads.partitions(trigger.uid)[0].done == str(START + STEP)

    def test_nothing_to_do(self, ledger: Ledger) -> None:
        """An empty window is no change and no entry in the trail."""
        trigger = ledger.trigger()
        assert ledger.commands.backfill(trigger, PARTITION, [], QUEUED, "me") == Backfilled(
            created=0, revived=0, kept=0
        )
        assert [entry["action"] for entry in ledger.reads.trail(limit=5).items] == ["register"]


def test_commands_leave_a_trail(ledger: Ledger) -> None:
    """Who did what stands in the store, written with what was done; refused commands do not."""
    trigger = ledger.trigger()
    [run] = ledger.fire(trigger)
    ledger.commands.cancel(run.id, "enough", "ada")
    with pytest.raises(Missing):
        ledger.commands.cancel("r-none", "", "ada")
    [entry, _] = ledger.reads.trail(limit=9).items
    assert (entry["actor"], entry["action"], entry["subject"]) == ("ada", "cancel", run.id)


def test_claims_of_a_retried_run_keep_counting(ledger: Ledger) -> None:
    """Attempt numbers never begin anew: a job's name is taken for ever."""
    run = ledger.finish(_pending(ledger), RunState.DEAD)
    ledger.commands.retry(run.id, "me")
    assert claim_of(ledger.run(run)).job_name.endswith("-a2")


def test_a_second_pause_keeps_the_note(ledger: Ledger) -> None:
    """A pause without a note leaves the one of the pause before; a resumed trigger has none."""
    name = ledger.trigger().name
    notes = [ledger.triggers.pause(name, note, "test").note for note in ("full", "", "sold", "")]
    assert notes == ["full", "full", "sold", "sold"]
    ledger.triggers.resume(name, {}, "test")
    assert ledger.triggers.pause(name, "", "test").note == ""
