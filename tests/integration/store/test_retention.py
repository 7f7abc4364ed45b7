"""Retention: what is old goes, and what is left still proves that nothing is missing."""

from __future__ import annotations

import sqlalchemy as sa

from orchestrator.domain.clock import DAY
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import RunState
from orchestrator.store.commands import Backfilled, Gap
from orchestrator.store.intake import Admittance
from orchestrator.store.outbox import Callback
from orchestrator.store.schema import attempts, outbox, partitions, runs
from tests.support.clocks import START
from tests.support.ledger import PARTITION, STEP, Ledger


def tiles(ledger: Ledger) -> int:
    """How many runs are kept in order; fails unless they tile from `base` to `planned`."""
    [partition] = ledger.rows(sa.select(partitions))
    kept = ledger.rows(sa.select(runs).where(runs.c.ordinal.is_not(None)).order_by(runs.c.ordinal))
    assert [row["ordinal"] for row in kept] == list(
        range(partition["base_ordinal"], partition["ordinal"])
    )
    edges = [partition["base"], *[row["range_end"] for row in kept]]
    assert [row["range_start"] for row in kept] == edges[:-1]
    assert edges[-1] == partition["planned"]
    return len(kept)


def later(ledger: Ledger) -> int:
    """An instant by which everything so far is old."""
    ledger.clock.advance(DAY)
    return ledger.clock.now()


def test_a_prefix_goes(ledger: Ledger) -> None:
    """Ended runs, their attempts and the told callbacks; `base` moves with them."""
    told = Callback(event="on_success", target={}, payload={})
    for run in ledger.fire(ledger.trigger(), 3):
        ledger.finish(run, callbacks=[told])
    [first, *_] = ledger.outbox.pending(ledger.clock.now())
    ledger.outbox.delivered(first)
    assert ledger.retention.sweep(later(ledger)) == 3
    assert tiles(ledger) == 0
    assert ledger.rows(sa.select(attempts)) == []
    assert len(ledger.rows(sa.select(outbox))) == 2, "what is not told yet stays"
    assert ledger.retention.sweep(ledger.clock.now()) == 0


def test_nothing_behind_an_open_or_dead_run_goes(ledger: Ledger) -> None:
    """A gap in what is kept would look like a lost firing."""
    done, dead, behind, open_run, last = ledger.fire(ledger.trigger(), 5)
    for run in (done, behind, last):
        ledger.finish(run)
    ledger.finish(dead, RunState.DEAD)
    assert ledger.retention.sweep(later(ledger)) == 1
    assert tiles(ledger) == 4
    ledger.commands.discard(None, [], "", "me")
    assert ledger.retention.sweep(ledger.clock.now()) == 2
    assert tiles(ledger) == 2
    ledger.finish(open_run)
    assert ledger.retention.sweep(later(ledger)) == 2
    assert tiles(ledger) == 0


def test_what_is_young_stays(ledger: Ledger) -> None:
    """Only what ended before the given instant goes, in pieces if there is much."""
    trigger = ledger.trigger()
    for run in ledger.fire(trigger, 5):
        ledger.finish(run)
    old = later(ledger)
    [young] = ledger.fire(trigger)
    ledger.finish(young)
    assert [ledger.retention.sweep(old, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert tiles(ledger) == 1


def test_runs_outside_the_order(ledger: Ledger) -> None:
    """Manual runs go once they have ended, dead ones stay until they are discarded."""
    trigger, how = ledger.trigger(), Admittance(overlap=Overlap.ALLOW)
    ids = [ledger.commands.fire(trigger, PARTITION, f"m{n}", how, "me") for n in range(3)]
    ledger.finish(ledger.run(ids[0]))
    ledger.finish(ledger.run(ids[1]), RunState.DEAD)
    assert ledger.retention.sweep(later(ledger)) == 1
    assert {run.id for run in ledger.runs()} == set(ids[1:])
    ledger.commands.discard(None, [], "", "me")
    assert ledger.retention.sweep(ledger.clock.now()) == 1


def test_partitions_go_on_after_a_sweep(ledger: Ledger) -> None:
    """What comes later stands in its place behind what is gone."""
    trigger = ledger.trigger()
    for run in ledger.fire(trigger, 2):
        ledger.finish(run)
    ledger.retention.sweep(later(ledger))
    [run] = ledger.fire(trigger)
    assert (run.ordinal, run.range_start) == (2, str(START + 2 * STEP))
    ledger.finish(run)
    assert tiles(ledger) == 1
    [partition] = ledger.reads.partitions(trigger.uid)
    assert partition.done == partition.planned


def test_the_trail_is_swept_by_age(ledger: Ledger) -> None:
    """Entries before the instant go, later ones stay."""
    ledger.trigger("old")
    now = later(ledger)
    ledger.trigger("young")
    ledger.retention.sweep_trail(now)
    assert [entry["subject"] for entry in ledger.reads.trail(limit=9).items] == ["young"]


def test_what_was_removed_is_no_gap(ledger: Ledger) -> None:
    """A backfill over removed runs does not run them again: their jobs' names are taken."""
    trigger, how = ledger.trigger(), Admittance(overlap=Overlap.ALLOW)
    gaps = [Gap(key=f"due-{START + n * STEP}", due_at=START + n * STEP) for n in range(-1, 4)]
    ledger.commands.backfill(trigger, PARTITION, gaps[:1], how, "me")
    for run in [*ledger.runs(), *ledger.fire(trigger, 2)]:
        ledger.finish(run)
    ledger.retention.sweep(later(ledger))
    expected = Backfilled(created=2, revived=0, kept=3)
    preview = ledger.commands.backfill(trigger, PARTITION, gaps, how, "me", dry_run=True)
    assert preview == expected
    assert ledger.commands.backfill(trigger, PARTITION, gaps, how, "me") == expected
    keys = {run.key for run in ledger.runs() if run.ended_at is None}
    assert keys == {gap.key for gap in gaps[3:]}
