"""Intake: firings come into the ledger once, and `planned` moves with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.domain.clock import SECOND
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.signals import Signal, Topic
from orchestrator.domain.states import Origin, Queue, RunState
from orchestrator.store.commands import Gap
from orchestrator.store.intake import Admittance, Firing, PlannedBatch
from tests.support.clocks import START
from tests.support.ledger import PARTITION, STEP, Ledger

ALLOW = Admittance(overlap=Overlap.ALLOW)


def batch_of(ledger: Ledger, uid: str, count: int = 1) -> PlannedBatch:
    [partition] = ledger.intake.of_trigger(uid)
    start = int(partition.planned)
    firings = [
        Firing(
            key=f"due-{at}", due_at=at, start=str(at), end=str(at + STEP), data={"n": n, "s": "é\t"}
        )
        for n, at in enumerate(range(start, start + count * STEP, STEP))
    ]
    return PlannedBatch(
        partition=partition,
        firings=firings,
        planned=firings[-1].end,
        wake_at=int(firings[-1].end),
        admittance=ALLOW,
    )


def test_firings_become_runs_and_planned_moves(ledger: Ledger) -> None:
    """Rows, order, ranges, values and the checkpoint, in one transaction."""
    trigger = ledger.trigger()
    assert ledger.intake.take_in([batch_of(ledger, trigger.uid, 3)]) == 3
    first, second, third = ledger.runs()
    assert [run.ordinal for run in (first, second, third)] == [0, 1, 2]
    assert first.range_end == second.range_start
    assert (first.state, first.queue, first.origin) == (
        RunState.PENDING,
        Queue.READY,
        Origin.SOURCE,
    )
    assert first.data == {"n": 0, "s": "é\t"}
    [partition] = ledger.reads.partitions(trigger.uid)
    assert (partition.planned, partition.done) == (str(START + 3 * STEP), str(START))
    assert ledger.intake.next_wake() == START + 3 * STEP


def test_a_batch_is_taken_in_once(ledger: Ledger) -> None:
    """The same plan again, as after a crash or from another orchestrator, changes nothing."""
    batch = batch_of(ledger, ledger.trigger().uid, 2)
    assert ledger.intake.take_in([batch]) == 2
    assert ledger.intake.take_in([batch]) == 0
    assert len(ledger.runs()) == 2


@pytest.mark.parametrize("command", ["pause", "delete"])
def test_a_command_between_reading_and_writing_wins(ledger: Ledger, command: str) -> None:
    """What was planned for a trigger that was paused or deleted meanwhile is left out."""
    trigger = ledger.trigger()
    batch = batch_of(ledger, trigger.uid)
    if command == "pause":
        ledger.triggers.pause("tick", "", "me")
    else:
        ledger.triggers.delete("tick", cancel=False, actor="me")
    assert ledger.intake.take_in([batch]) == 0
    assert ledger.runs() == []


def test_one_stale_batch_takes_no_other_with_it(ledger: Ledger) -> None:
    """Each partition stands for itself."""
    one, other = ledger.trigger("one"), ledger.trigger("other")
    batches = [batch_of(ledger, one.uid), batch_of(ledger, other.uid)]
    ledger.intake.take_in([batches[0]])
    assert ledger.intake.take_in(batches) == 1
    assert {run.trigger_name for run in ledger.runs()} == {"one", "other"}


def test_a_run_that_was_there_takes_its_place(ledger: Ledger) -> None:
    """A backfilled due time that the schedule reaches later runs once, in the schedule's order."""
    trigger = ledger.trigger()
    second = f"due-{START + STEP}"
    gap = Gap(key=second, due_at=START + STEP)
    ledger.commands.backfill(trigger, PARTITION, [gap], ALLOW, "me")
    [before] = ledger.runs()
    ledger.finish(before)
    ledger.intake.take_in([batch_of(ledger, trigger.uid, 3)])
    runs = ledger.runs()
    assert [run.ordinal for run in runs] == [0, 1, 2]
    assert (runs[1].id, runs[1].state, runs[1].origin) == (
        before.id,
        RunState.SUCCEEDED,
        Origin.BACKFILL,
    )
    assert runs[1].range_start == runs[0].range_end


@pytest.mark.parametrize("reason", ["missed", "paused"])
def test_what_is_left_out_is_in_the_ledger_and_done(ledger: Ledger, reason: str) -> None:
    """A skipped firing says why, has ended, and `done` moves over it at once."""
    trigger = ledger.trigger()
    [run] = ledger.fire(trigger, 1, skip=[reason])
    assert (run.state, run.reason, run.queue) == (RunState.SKIPPED, reason, None)
    assert run.ended_at == ledger.clock.now()
    [partition] = ledger.reads.partitions(trigger.uid)
    assert partition.done == partition.planned


def test_due_is_by_time_and_bounded(ledger: Ledger) -> None:
    """Partitions come the earliest first, paused and exhausted ones never."""
    for n in range(3):
        ledger.trigger(f"t{n}", wake_at=START + (3 - n) * SECOND)
    ledger.trigger("paused", wake_at=START)
    ledger.triggers.pause("paused", "", "me")
    ledger.trigger("exhausted", wake_at=None, planned=None)
    assert ledger.intake.due(START, 10) == []
    due = ledger.intake.due(START + 10 * SECOND, 10)
    assert [p.trigger_name for p in due] == ["t2", "t1", "t0"]
    assert len(ledger.intake.due(START + 10 * SECOND, 2)) == 2
    assert ledger.intake.next_wake() == START + SECOND


def test_waking(sqlite_ledger: Ledger) -> None:
    """A new ready run wakes the dispatcher after the commit; a skipped one wakes nobody."""
    ledger = sqlite_ledger
    trigger, heard = ledger.trigger(), Signal()
    ledger.db.signals.listen(heard, [Topic.READY])
    before = heard.seen()
    ledger.fire(trigger, skip=["missed"])
    assert heard.seen() == before
    ledger.fire(trigger)
    assert heard.seen() == before + 1


class TestOverlap:
    """Policies, as they work over several intakes and endings."""

    def test_queue_keeps_the_order(self, ledger: Ledger) -> None:
        """One at a time, in the order of the due times."""
        trigger = ledger.trigger()
        ledger.fire(trigger, 2, overlap=Overlap.QUEUE)
        ledger.fire(trigger, 2, overlap=Overlap.QUEUE)
        seen: list[int | None] = []
        while ready := ledger.claims.ready(10):
            [run] = ready
            seen.append(run.ordinal)
            ledger.finish(run)
        assert seen == [0, 1, 2, 3]

    def test_queue_with_parallelism(self, ledger: Ledger) -> None:
        """As many as `parallelism` says are out of the line; `done` stays contiguous."""
        trigger = ledger.trigger()
        runs = ledger.fire(trigger, 5, overlap=Overlap.QUEUE, parallelism=2)
        assert len(ledger.claims.ready(10)) == 2
        ledger.finish(runs[1], room=2)
        [partition] = ledger.reads.partitions(trigger.uid)
        assert partition.done == str(START)
        assert [run.ordinal for run in ledger.claims.ready(10)] == [0, 2]
        ledger.finish(runs[0], room=2)
        [partition] = ledger.reads.partitions(trigger.uid)
        assert partition.done == str(START + 2 * STEP)

    def test_queue_one(self, ledger: Ledger) -> None:
        """Only one waits; what comes meanwhile is left out."""
        trigger = ledger.trigger()
        for _ in range(4):
            ledger.fire(trigger, overlap=Overlap.QUEUE_ONE)
        assert [(run.state, run.queue) for run in ledger.runs()] == [
            (RunState.PENDING, Queue.READY),
            (RunState.PENDING, Queue.LINE),
            (RunState.SKIPPED, None),
            (RunState.SKIPPED, None),
        ]

    def test_skip(self, ledger: Ledger) -> None:
        """While one is open nothing else begins; afterwards the next does."""
        trigger = ledger.trigger()
        [first] = ledger.fire(trigger, overlap=Overlap.SKIP)
        [second] = ledger.fire(trigger, overlap=Overlap.SKIP)
        assert (second.state, second.reason) == (RunState.SKIPPED, "overlap")
        ledger.finish(first)
        [third] = ledger.fire(trigger, overlap=Overlap.SKIP)
        assert third.queue is Queue.READY

    def test_replace(self, ledger: Ledger) -> None:
        """Open runs are asked to end; the newest waits for that and then begins."""
        trigger = ledger.trigger()
        [first] = ledger.fire(trigger, overlap=Overlap.REPLACE)
        [flight] = ledger.claim()
        flight = ledger.accept(flight)
        [second] = ledger.fire(trigger, overlap=Overlap.REPLACE)
        assert ledger.run(first).cancel == "replaced"
        assert second.queue is Queue.LINE
        assert [f.run_id for f in ledger.flights.to_cancel(0)] == [first.id]
        ledger.end(flight)
        ledger.settle(RunState.CANCELLED)
        assert ledger.run(second).queue is Queue.READY

    def test_replace_of_one_that_waits(self, ledger: Ledger) -> None:
        """A run that was never sent ends by the completer alone."""
        trigger = ledger.trigger()
        [first] = ledger.fire(trigger, overlap=Overlap.REPLACE)
        [second] = ledger.fire(trigger, overlap=Overlap.REPLACE)
        assert ledger.claim() == []
        ledger.settle(RunState.CANCELLED)
        assert ledger.run(first).state is RunState.CANCELLED
        assert [f.run_id for f in ledger.claim()] == [second.id]

    def test_allow_with_a_bound(self, ledger: Ledger) -> None:
        """`max_in_flight` of a trigger holds over all its open runs."""
        trigger = ledger.trigger()
        ledger.fire(trigger, 2, max_in_flight=3)
        ledger.fire(trigger, 3, max_in_flight=3)
        assert len(ledger.claims.ready(10)) == 3
        ledger.finish(ledger.runs()[0], room=3)
        assert [run.ordinal for run in ledger.claims.ready(10)] == [1, 2, 3]

    def test_rate_spaces_evenly(self, ledger: Ledger) -> None:
        """Two runs a second begin half a second apart, over several intakes."""
        trigger = ledger.trigger()
        ledger.clock.advance(10 * STEP)
        runs = [*ledger.fire(trigger, 3, rate=2.0), *ledger.fire(trigger, 2, rate=2.0)]
        now = ledger.clock.now()
        assert [run.not_before - now for run in runs] == [n * SECOND // 2 for n in range(5)]
        assert [run.queue for run in runs] == [Queue.READY, *[Queue.DELAYED] * 4]
        assert ledger.claims.next_ready() == now + SECOND // 2
        ledger.clock.advance(SECOND)
        assert ledger.claims.wake_delayed(ledger.clock.now()) == 2
        assert len(ledger.claims.ready(10)) == 3

    def test_rate_holds_for_what_leaves_the_line(self, ledger: Ledger) -> None:
        """A promoted run has its place in the rate as well."""
        trigger = ledger.trigger()
        runs = ledger.fire(trigger, 2, overlap=Overlap.QUEUE, rate=0.1)
        ledger.clock.advance(SECOND)
        ledger.finish(runs[0], rate=0.1)
        assert ledger.run(runs[1]).queue is Queue.DELAYED
        assert ledger.run(runs[1]).not_before >= START + 10 * SECOND


def test_two_orchestrators_never_leave_a_line_alone(open_ledger: Callable[..., Ledger]) -> None:
    """An intake that sees a run open, and the ending that does not see the intake: somebody must
    let the next run go."""
    one, other = open_ledger("one"), open_ledger("other")
    trigger = one.trigger()
    import threading

    for _ in range(30):
        [run] = one.fire(trigger, overlap=Overlap.QUEUE)
        [flight] = one.claim()
        flight = one.accept(flight)
        one.end(flight)
        together = threading.Barrier(2)

        def take_in(together: threading.Barrier = together) -> None:
            together.wait()
            other.fire(trigger, overlap=Overlap.QUEUE)

        thread = threading.Thread(target=take_in)
        thread.start()
        together.wait()
        one.settle(RunState.SUCCEEDED)
        thread.join()
        assert one.run(run).state is RunState.SUCCEEDED
        [next_run] = one.claims.ready(10)
        one.finish(replace(next_run))
    [partition] = one.reads.partitions(trigger.uid)
    assert partition.done == partition.planned
