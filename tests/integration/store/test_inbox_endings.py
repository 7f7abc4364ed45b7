"""The inbox in the store: what the end of a run means for its events."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from orchestrator.domain.clock import HOUR, SECOND
from orchestrator.domain.states import RunState
from orchestrator.store.endings import Settlement
from orchestrator.store.inbox import (
    event_key,
)
from orchestrator.store.schema import inbox as inbox_table
from orchestrator.store.telling import Verdict
from tests.support.inboxledger import Queue
from tests.support.ledger import Ledger, claim_of


@pytest.mark.parametrize("state", [RunState.DEAD, RunState.CANCELLED])
def test_a_run_that_keeps_its_events_has_them_acknowledged(queue: Queue, state: RunState) -> None:
    """They stay with the run, for a person who lets it run again: nothing of it is removed."""
    queue.take("a")
    run = queue.end(queue.ledger.runs()[0], state)
    assert queue.told() == [("acknowledge", "a", "r1-a")]
    assert not run.released
    queue.ledger.clock.advance(HOUR)
    if state is RunState.DEAD:
        assert queue.leftovers.payloads(queue.uid, queue.ledger.clock.now()) == []
        assert queue.ledger.retention.sweep(queue.ledger.clock.now()) == 0
    queue.ledger.commands.retry(run.id, "test")
    queue.end(run)
    assert queue.ledger.run(run).state is RunState.SUCCEEDED
    assert [told[:2] for told in queue.told()] == [("acknowledge", "a")], "how it stands now"
    assert queue.states() == {"a": "done"}


def test_a_dead_run_whose_events_went_back_holds_nothing(queue: Queue) -> None:
    """The source has them again: what was stored for the run may go, and it is not redriven with
    all the others."""
    queue.take("a", "b", returns=True)
    run = queue.end(queue.ledger.runs()[0], RunState.DEAD)
    assert (run.released, run.discarded) == (True, True)
    assert queue.ledger.commands.redrive(queue.name, [], "test") == 0
    assert [what for what, *_ in queue.told()] == ["give_back", "give_back"]
    queue.ledger.clock.advance(SECOND)
    [(id_, _)] = queue.leftovers.payloads(queue.uid, queue.ledger.clock.now())
    assert id_ == run.id


def test_a_dead_run_that_some_events_cannot_leave_is_kept(queue: Queue) -> None:
    """One was acknowledged early: what was stored is all that is left of it."""
    queue.take("a", "b", returns=True, extend_us=SECOND)
    queue.telling.extended(queue.uid, ["a", "b"], queue.ledger.clock.now() + SECOND, ["a"])
    run = queue.end(queue.ledger.runs()[0], RunState.DEAD)
    assert not run.released
    assert [told[:2] for told in queue.told()] == [("acknowledge", "a"), ("give_back", "b")]


def test_of_a_partial_failure_only_what_failed_goes_back(queue: Queue) -> None:
    """By places in the batch, half-open; the rest is acknowledged."""
    queue.take(*"abcdef")
    run = queue.end(queue.ledger.runs()[0], failed=[(0, 1), (3, 5)])
    assert run.state is RunState.SUCCEEDED
    assert [told[:2] for told in queue.told()] == [
        *(("acknowledge", id_) for id_ in "bcf"),
        *(("give_back", id_) for id_ in "ade"),
    ]
    assert queue.again(*"abcdef") == set("bcf")
    queue.take(*"ade", receipt="r2")
    keys = {r.key for r in queue.ledger.runs()}
    assert keys == {run.key, event_key([("a", 1), ("d", 1), ("e", 1)])}


def test_every_second_event_of_a_large_batch_goes_back(queue: Queue) -> None:
    """Ten thousand events, five thousand ranges."""
    queue.take(*(f"m{n}" for n in range(10_000)))
    failed = [(n, n + 1) for n in range(0, 10_000, 2)]
    [run] = queue.ledger.runs()
    assert queue.ledger.endings.can_go_back(run.id, failed)
    assert not queue.ledger.endings.can_go_back(run.id, [*failed, (10_000, 10_001)])
    queue.end(run, failed=failed)
    states = sa.select(inbox_table.c.place % 2, inbox_table.c.state, sa.func.count())
    assert {tuple(row.values()) for row in queue.ledger.rows(states.group_by(sa.text("1, 2")))} == {
        (0, "give_back", 5000),
        (1, "acknowledge", 5000),
    }


@pytest.mark.parametrize(
    ("failed", "goes"),
    [
        ([(0, 1)], True),
        ([(0, 2), (1, 3)], True),
        ([(2, 4)], False),  # beyond the batch
        ([(7, 9)], False),
    ],
)
def test_what_failed_can_go_back_only_if_it_is_there(
    queue: Queue, failed: list[tuple[int, int]], goes: bool
) -> None:
    """Places that the batch does not have are nothing to rely on."""
    queue.take(*"abc")
    [run] = queue.ledger.runs()
    assert queue.ledger.endings.can_go_back(run.id, failed) is goes


@pytest.mark.parametrize("how", ["silent", "on_intake", "given_up"])
def test_what_failed_cannot_go_back_to_a_source_that_is_done_with_it(
    queue: Queue, how: str
) -> None:
    """Without a receipt, acknowledged on intake, or acknowledged early: a settlement that says
    so all the same moves nothing, and nothing is lost."""
    if how == "silent":
        queue.take("a", "b", receipt="")
    else:
        queue.take("a", "b", on_intake=how == "on_intake", extend_us=SECOND)
    if how == "given_up":
        queue.telling.extended(queue.uid, ["a"], 0, ["a"])
    run = queue.end(queue.ledger.runs()[0], failed=[(0, 1)])
    assert run.ended_at is None
    assert not queue.ledger.endings.can_go_back(run.id, [(0, 1)])


def test_an_event_is_not_told_of_and_given_back_at_once(
    open_ledger: Callable[..., Ledger],
) -> None:
    """Early acknowledgement and the end of the run, at the same moment: one of them has it."""
    mine = Queue(open_ledger("me"))
    theirs = mine.beside(open_ledger("they"))
    for number in range(20):
        mine.take(f"m{number}", extend_us=SECOND)
    for run in mine.ledger.runs():
        ledger, id_ = mine.ledger, run.key
        [flight] = ledger.claims.claim([claim_of(run)], 1000)
        assert ledger.end(ledger.accept(flight))
        [unsettled] = ledger.endings.unsettled(10)
        verdict = Verdict(state=RunState.SUCCEEDED, failed=[(0, 1)])
        settlement = Settlement(
            unsettled=unsettled, state=RunState.SUCCEEDED, tries=1, verdict=verdict
        )
        early = threading.Thread(target=theirs.telling.extended, args=(mine.uid, [], 0, [id_]))
        early.start()
        moved = ledger.endings.settle([settlement]).moved
        early.join()
        expected = "give_back" if moved else "acknowledge"
        assert mine.states()[id_] == expected
        if not moved:
            ledger.endings.settle([replace(settlement, state=RunState.DEAD, verdict=None)])


@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
def test_events_of_a_run_that_is_run_again_are_told_of_again(queue: Queue, told: bool) -> None:
    """Once it has ended once more, whether or not their source had been told before; meanwhile a
    delivery joins it, and its id is not forgotten. What went back stays where it is."""
    queue.take("a")
    run = queue.run("a")
    queue.end(run, RunState.DEAD)
    if told:
        queue.told()
    queue.ledger.commands.redrive(None, [run.id], "test")
    assert (queue.states(), queue.told()) == ({"a": "reopened"}, [])
    queue.ledger.clock.advance(HOUR)
    assert queue.telling.forget(queue.uid) == 0
    assert queue.again("a") == {"a"}
    assert queue.states() == {"a": "reopened"}
    queue.end(queue.ledger.run(run))
    assert queue.told() == [("acknowledge", "a", "r2-a")]
    assert len(queue.ledger.runs()) == 1


def test_events_that_went_back_are_not_of_a_run_that_is_run_again(queue: Queue) -> None:
    """Their next delivery is another run, whatever becomes of this one."""
    queue.take("a", returns=True)
    run = queue.run("a")
    queue.end(run, RunState.DEAD)
    queue.told()
    queue.ledger.commands.retry(run.id, "test")
    assert queue.states() == {"a": "returned"}
    queue.end(queue.ledger.run(run))
    assert queue.told() == []
