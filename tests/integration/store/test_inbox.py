"""The inbox in the store: one run for each event, what sources are told, groups, what is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain.clock import HOUR, MINUTE, SECOND
from orchestrator.domain.signals import Signal, Topic
from orchestrator.domain.states import Origin, RunState
from orchestrator.store.endings import Settlement
from orchestrator.store.inbox import (
    AlreadyTaken,
    Event,
    EventBatch,
    Inboxes,
    NotActive,
    TakenIn,
    Terms,
    event_key,
)
from orchestrator.store.leftovers import Leftovers
from orchestrator.store.schema import inbox as inbox_table
from orchestrator.store.schema import runs as runs_table
from orchestrator.store.sources import Source, Sources
from orchestrator.store.streams import How
from orchestrator.store.telling import EventState, Telling, Verdict
from orchestrator.store.triggers import NewTrigger, new_uid
from orchestrator.store.values import Run
from tests.support.ledger import Ledger, claim_of, digest

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
        body = '{"kind":"queue"}'
        ledger.triggers.create(
            [
                NewTrigger(
                    name=name,
                    kind="queue",
                    definition_hash=digest(body),
                    definition=body,
                    template_hash="t" * 32,
                    job="{}",
                    uid=self.uid,
                    partitions=[],
                    outside=True,
                )
            ],
            "test",
        )

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


@pytest.fixture
def queue(ledger: Ledger) -> Queue:
    """A source without order, with nothing in its inbox."""
    return Queue(ledger)


def test_an_event_makes_one_run_however_often_it_is_delivered(queue: Queue) -> None:
    """While its run is open a delivery joins it, after its success it is acknowledged again."""
    queue.take("a")
    assert queue.again("a") == {"a"}
    [run] = queue.ledger.runs()
    assert (run.key, queue.states()) == ("a", {"a": "held"})
    queue.end(run)
    assert queue.told() == [("acknowledge", "a", "r2-a")]
    assert queue.states() == {"a": "done"}
    assert queue.again("a", receipt="r3") == {"a"}
    assert queue.told() == [("acknowledge", "a", "r3-a")]
    assert len(queue.ledger.runs()) == 1


def test_an_event_that_was_given_back_makes_another_run(queue: Queue) -> None:
    """Its key tells how often it was; every round is another firing."""
    queue.take("a", returns=True)
    for round_ in (1, 2, 3):
        run = next(r for r in queue.ledger.runs() if r.ended_at is None)
        queue.end(run, RunState.DEAD)
        assert queue.told()[0][:2] == ("give_back", "a")
        assert queue.again("a") == set()
        queue.take("a", receipt=f"r{round_ + 1}", returns=True)
    assert sorted(r.key for r in queue.ledger.runs()) == ["a", "a~1", "a~2", "a~3"]
    assert queue.states() == {"a": "held"}


def test_a_delivery_before_it_is_noted_that_it_was_given_back(queue: Queue) -> None:
    """The source may be faster than the note: the delivery is another firing all the same, and the
    note of the older one comes too late."""
    queue.take("a", returns=True)
    queue.end(queue.ledger.runs()[0], RunState.DEAD)
    found = queue.telling.to_tell(queue.uid)
    assert queue.again("a") == set()
    queue.take("a", receipt="r2", returns=True)
    queue.telling.told(queue.uid, found)
    assert queue.states() == {"a": "held"}
    assert sorted(run.key for run in queue.ledger.runs()) == ["a", "a~1"]
    assert queue.told() == []


def test_a_delivery_while_its_run_ends(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked up before, noted after: what goes back by then was delivered for another run."""
    queue.take("a", "b")
    known = queue.inboxes.known

    def looked_up(trigger_uid: str, ids: Collection[str]) -> dict[str, EventState]:
        found = known(trigger_uid, ids)
        queue.end(queue.ledger.runs()[0], failed=[(0, 1)])
        return found

    monkeypatch.setattr(queue.inboxes, "known", looked_up)
    assert queue.again("a", "b") == {"b"}
    assert queue.told() == [("acknowledge", "b", "r2-b"), ("give_back", "a", "r1-a")]


def test_a_delivery_before_its_source_was_told_is_told_of_again(queue: Queue) -> None:
    """What was told by an older receipt counts for nothing once there is a newer one."""
    queue.take("a")
    [run] = queue.ledger.runs()
    queue.end(run)
    found = queue.telling.to_tell(queue.uid)
    queue.again("a", receipt="r2")
    queue.telling.told(queue.uid, found)
    assert queue.states() == {"a": "acknowledge"}
    assert queue.told() == [("acknowledge", "a", "r2-a")]


def test_events_acknowledged_on_intake_are_told_at_once(queue: Queue) -> None:
    """Their source has to be told while their run is open, and is not asked to wait longer."""
    queue.take("a", on_intake=True, extend_us=SECOND)
    assert queue.telling.waiting() == {queue.uid}
    assert queue.telling.next_extension(queue.uid) is None
    assert queue.told() == [("acknowledge", "a", "r1-a")]
    [run] = queue.ledger.runs()
    assert run.ended_at is None
    assert queue.again("a") == {"a"}
    queue.end(run, RunState.DEAD)
    assert queue.told() == [("acknowledge", "a", "r2-a")]


def test_events_without_a_receipt_are_never_told_of(queue: Queue) -> None:
    """There is nothing to tell: they are known, and that is all."""
    queue.take("a", receipt="")
    queue.take("b", receipt="", on_intake=True)
    assert queue.states() == {"a": "held", "b": "done"}
    for run in queue.ledger.runs():
        queue.end(run)
    assert queue.told() == []
    assert queue.states() == {"a": "done", "b": "done"}
    assert queue.again("a", "b", receipt="") == {"a", "b"}


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


def test_groups_run_in_order_one_at_a_time(queue: Queue) -> None:
    """Each by itself, also over a dead run, and however their events are dated."""
    now = queue.ledger.clock.now()
    for number in range(3):
        for group in ("g", "h"):
            queue.take(f"{group}{number}", group=group, at=now - number * MINUTE)
    assert sorted(queue.ready()) == ["g0", "h0"]
    queue.end(_run(queue, "g0"), RunState.DEAD)
    assert sorted(queue.ready()) == ["g1", "h0"]
    queue.end(_run(queue, "g1"))
    assert sorted(queue.ready()) == ["g2", "h0"]
    queue.take("g3", group="g", at=now - HOUR)
    queue.end(_run(queue, "g2"))
    assert sorted(queue.ready()) == ["g3", "h0"]


def _run(queue: Queue, key: str) -> Run:
    return next(run for run in queue.ledger.runs() if run.key == key)


def test_what_is_in_no_group_goes_side_by_side_as_far_as_there_is_room(queue: Queue) -> None:
    """All of it without a limit."""
    for id_ in "abc":
        queue.take(id_)
    assert sorted(queue.ready()) == ["a", "b", "c"]
    for id_ in "de":
        queue.take(id_, how=How(room=4, rate=None, blocks=False))
    assert sorted(queue.ready()) == ["a", "b", "c", "d"]


def test_sources_are_asked_to_wait_for_what_is_held(queue: Queue) -> None:
    """When its time has come and not before; what has ended or was given up no more."""
    clock = queue.ledger.clock
    queue.take("a", extend_us=10 * SECOND)
    queue.take("b", extend_us=10 * SECOND)
    assert queue.telling.to_extend(queue.uid) == []
    first = clock.now() + 10 * SECOND
    assert queue.telling.next_extension(queue.uid) == first
    clock.advance(10 * SECOND)
    assert {told.id for told in queue.telling.to_extend(queue.uid)} == {"a", "b"}
    queue.telling.extended(queue.uid, ["a", "b"], clock.now() + 10 * SECOND, [])
    assert queue.telling.to_extend(queue.uid) == []
    queue.end(_run(queue, "a"))
    clock.advance(10 * SECOND)
    assert [told.id for told in queue.telling.to_extend(queue.uid)] == ["b"]
    queue.telling.extended(queue.uid, ["b"], clock.now() + SECOND, ["b"])
    assert queue.told() == [("acknowledge", "a", "r1-a"), ("acknowledge", "b", "r1-b")]
    assert queue.telling.next_extension(queue.uid) is None
    queue.end(_run(queue, "b"), RunState.DEAD)
    assert queue.states() == {"a": "done", "b": "done"}


def test_ids_are_forgotten_once_nobody_needs_them(queue: Queue) -> None:
    """After what the source asks for, counted from the run's end and from when it was told, and
    not before the source itself says that it will not deliver them again."""
    clock = queue.ledger.clock
    queue.take("a", keep_us=MINUTE)
    queue.take("b", keep_us=MINUTE, expires=clock.now() + HOUR)
    queue.take("c", keep_us=MINUTE)
    for key in ("a", "b"):
        queue.end(_run(queue, key))
    clock.advance(MINUTE // 2)
    queue.told()
    clock.advance(MINUTE - 1)
    assert queue.telling.forget(queue.uid) == 0
    clock.advance(2)
    assert queue.telling.forget(queue.uid) == 1
    assert set(queue.states()) == {"b", "c"}
    clock.advance(HOUR)
    assert queue.telling.forget(queue.uid) == 1
    assert queue.states() == {"c": "held"}


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.DEAD])
def test_a_forgotten_id_makes_another_run(queue: Queue, state: RunState) -> None:
    """Although the run that it made before is in the ledger still."""
    queue.take("a")
    queue.end(_run(queue, "a"), state)
    queue.told()
    queue.ledger.clock.advance(SECOND)
    assert queue.telling.forget(queue.uid) == 1
    assert queue.again("a") == set()
    queue.take("a", receipt="r2", returns=True)
    queue.end(_run(queue, "a~1"), RunState.DEAD)
    assert queue.told() == [("give_back", "a", "r2-a")]
    queue.take("a", receipt="r3")
    assert {r.key for r in queue.ledger.runs()} == {"a", "a~1", "a~2"}


def test_beginning_anew_forgets_the_cursor_and_what_is_over(queue: Queue) -> None:
    """What is open is joined by its next delivery, the rest makes other runs; asked for once."""
    queue.take("a", "b", cursor="5")
    queue.end(queue.ledger.runs()[0])
    queue.take("c")
    queue.told()
    queue.inboxes.restart(queue.uid)
    assert queue.inboxes.cursor(queue.uid) == "5"
    queue.ledger.triggers.pause(queue.name, "", "test")
    queue.sources.ask_restart(queue.name, "why", "test")
    queue.ledger.triggers.resume(queue.name, {}, "test")
    queue.inboxes.restart(queue.uid)
    assert (queue.inboxes.cursor(queue.uid), queue.row.restart) == (None, False)
    assert queue.again("a", "b", "c") == {"c"}
    queue.take("a", "b")
    assert len(queue.ledger.runs()) == 3


def test_a_cursor_is_kept_with_what_lies_before_it(queue: Queue) -> None:
    """In one transaction; where an event was taken otherwise meanwhile, neither is."""
    queue.take("a", cursor="1")
    with pytest.raises(AlreadyTaken):
        queue.take("b", "a", cursor="2")
    assert queue.inboxes.cursor(queue.uid) == "1"
    assert (set(queue.states()), len(queue.ledger.runs())) == ({"a"}, 1)
    queue.inboxes.take_in(queue.row, [], ALL, Terms(), "3")
    assert queue.inboxes.cursor(queue.uid) == "3"


def test_nothing_comes_in_while_a_trigger_is_paused_or_deleted(queue: Queue) -> None:
    """Whoever received it before learns of it in the transaction."""
    queue.ledger.triggers.pause(queue.name, "", "test")
    with pytest.raises(NotActive, match="paused"):
        queue.take("a")
    queue.ledger.triggers.resume(queue.name, {}, "test")
    row = queue.row
    queue.ledger.triggers.delete(queue.name, cancel=False, actor="test")
    queue.ledger.endings.finish_deletions()
    batch = EventBatch(events=[Event(id="a")], values={}, at=0)
    with pytest.raises(NotActive, match="deleted"):
        queue.inboxes.take_in(row, [batch], ALL, Terms())
    assert queue.ledger.runs() == []


def test_a_deleted_trigger_is_there_until_its_source_was_told(queue: Queue) -> None:
    """Or for a while: nobody may ever be able to tell it."""
    queue.take("a")
    run = _run(queue, "a")
    queue.ledger.triggers.delete(queue.name, cancel=False, actor="test")
    queue.end(run)
    queue.ledger.clock.advance(SECOND)
    queue.leftovers.removed([run.id])
    queue.ledger.endings.finish_deletions()
    assert [row.trigger_uid for row in queue.sources.all()] == [queue.uid]
    queue.told()
    assert queue.sources.all() == []
    queue.again("a")
    assert len(queue.sources.all()) == 1
    queue.ledger.clock.advance(HOUR)
    assert queue.sources.all() == []


def test_two_orchestrators_never_let_an_event_be_two_runs(
    open_ledger: Callable[..., Ledger],
) -> None:
    """Whichever commits first has it; the other one's batch is refused whole."""
    first = Queue(open_ledger("me"))
    other = Inboxes(open_ledger("they").db)
    row = first.row
    first.take("a")
    batch = EventBatch(events=[Event(id="b"), Event(id="a")], values={}, at=0)
    with pytest.raises(AlreadyTaken):
        other.take_in(row, [batch], ALL, Terms())
    assert [run.key for run in first.ledger.runs()] == ["a"]
    assert other.received(first.uid, [Event(id="a", receipt="theirs")]) == {"a"}
    first.end(_run(first, "a"))
    assert first.told() == [("acknowledge", "a", "theirs")]


@pytest.mark.parametrize(
    ("state", "expected"),
    [(RunState.SUCCEEDED, "acknowledge"), (RunState.PENDING, "held"), (RunState.DEAD, "held")],
)
def test_an_event_whose_run_was_found_after_a_restore_joins_it(
    queue: Queue, state: RunState, expected: str
) -> None:
    """A run that is over and did not succeed is no run for it."""
    queue.take("a")
    [run] = queue.ledger.runs()
    ended = None if state is RunState.PENDING else 1

    def operation(tx: Any) -> None:
        tx.conn.execute(sa.delete(inbox_table))
        tx.conn.execute(
            sa.update(runs_table).values(state=state, ended_at=ended, origin=Origin.RESTORED)
        )

    queue.ledger.db.write(operation, "test")
    found = queue.take("a", receipt="r2")
    assert queue.states() == {"a": expected}
    assert (found.run_ids[0] == run.id) is (state is not RunState.DEAD)


def test_rows_outlive_their_runs(queue: Queue) -> None:
    """Retention removes ended runs; the ids are known for as long as the source asks for."""
    queue.take("a", keep_us=HOUR)
    run = queue.end(_run(queue, "a"))
    queue.told()
    queue.ledger.clock.advance(MINUTE)
    now = queue.ledger.clock.now()
    assert queue.ledger.retention.sweep(now) == 0  # its payload is to be removed first
    queue.leftovers.removed([run.id])
    assert queue.ledger.retention.sweep(now) == 1
    assert queue.ledger.runs() == []
    assert queue.again("a") == {"a"}
    assert queue.told() == [("acknowledge", "a", "r2-a")]


def test_ids_of_deleted_triggers_are_removed(queue: Queue) -> None:
    """Nobody reads their source any more, and nobody else forgets them."""
    queue.take("a", keep_us=HOUR)
    queue.ledger.triggers.delete(queue.name, cancel=False, actor="test")
    queue.end(_run(queue, "a"))
    queue.told()
    queue.ledger.endings.finish_deletions()
    assert queue.telling.abandoned() == [queue.uid]
    assert queue.telling.forget(queue.uid) == 0
    queue.ledger.clock.advance(2 * HOUR)
    assert queue.telling.forget(queue.uid) == 1
    assert (queue.states(), queue.telling.abandoned()) == ({}, [])


def test_many_events_at_once(queue: Queue) -> None:
    """Ten thousand in one run: taken, delivered again, settled by ranges, told in pieces."""
    ids = [f"m{number:05}" for number in range(10_000)]
    queue.take(*ids)
    assert queue.again(*ids) == set(ids)
    assert queue.inboxes.known(queue.uid, ["m00001", "x"]) == {"m00001": EventState.HELD}
    failed = [(start, start + 1) for start in range(0, 2_000, 10)]
    queue.end(queue.ledger.runs()[0], failed=failed)
    told: list[tuple[str, str, str]] = []
    while found := queue.told():
        told += found
    assert len(told) == 10_000
    assert sum(what == "give_back" for what, *_ in told) == 200


def test_keys_of_batches_are_those_of_their_events() -> None:
    """One event gives its own id; several a digest that does not depend on their order."""
    assert event_key([("a", 0)]) == "a"
    assert event_key([("a", 2)]) == "a~2"
    both = event_key([("a", 0), ("b", 0)])
    assert both == event_key([("b", 0), ("a", 0)])
    assert both.startswith("2/")
    assert both != event_key([("a", 1), ("b", 0)])
    long = event_key([("x" * 1000, 0)])
    assert long.startswith("1/")
    assert len(long) < 200


def test_what_comes_in_twice_at_once_is_in_one_run(open_ledger: Callable[..., Ledger]) -> None:
    """Two orchestrators, the same events in other batches, at the same moment, many times."""
    sides = [Queue(open_ledger("me"))]
    sides.append(sides[0].beside(open_ledger("they")))
    together = threading.Barrier(2)
    problems: list[BaseException] = []

    def bring(side: Queue, size: int) -> None:
        try:
            for number in range(40):
                together.wait(30)
                ids = [f"{number}-{place}" for place in range(6)]
                for start in range(0, 6, size):
                    while left := [i for i in ids[start : start + size] if i not in side.again(i)]:
                        with suppress(AlreadyTaken):
                            side.take(*left, group=f"g{number % 3}")
        except BaseException as error:
            problems.append(error)

    threads = [
        threading.Thread(target=bring, args=args) for args in zip(sides, (2, 3), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    runs = sides[0].ledger.runs()
    assert sum(run.data["batch"]["count"] for run in runs) == len(sides[0].states()) == 240
    ready = [run.partition for run in runs if run.queue == "ready"]
    assert sorted(ready) == ["group/g0", "group/g1", "group/g2"], "one of each group"


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
        moved = ledger.endings.settle([settlement])
        early.join()
        expected = "give_back" if moved else "acknowledge"
        assert mine.states()[id_] == expected
        if not moved:
            ledger.endings.settle([replace(settlement, state=RunState.DEAD, verdict=None)])


def test_whoever_tells_sources_is_woken_when_there_is_something_to_tell(
    sqlite_ledger: Ledger,
) -> None:
    """Not by every event that comes in: by those that are acknowledged at once, or once more, and
    by the end of their run."""
    queue, signal = Queue(sqlite_ledger), Signal()
    sqlite_ledger.db.signals.listen(signal, [Topic.TELL])
    woken: list[int] = []

    def woke() -> bool:
        woken.append(signal.seen())
        return len(woken) > 1 and woken[-1] > woken[-2]

    woke()
    queue.take("a")
    queue.again("a")
    assert not woke()
    queue.take("b", on_intake=True)
    assert woke()
    queue.end(_run(queue, "a"))
    assert woke()
    queue.told()
    queue.again("a", receipt="r3")
    assert woke()


def test_a_source_is_told_how_its_events_runs_stand(queue: Queue) -> None:
    """While they go on, and how they have ended."""
    queue.take("a", extend_us=SECOND)
    run = _run(queue, "a")
    queue.ledger.clock.advance(2 * SECOND)
    [held] = queue.telling.to_extend(queue.uid)
    assert (held.run_id, held.run_state, held.started_at) == (run.id, "pending", None)
    ended = queue.end(run, RunState.CANCELLED)
    [told] = queue.telling.to_tell(queue.uid)
    assert (told.run_id, told.run_state, told.reason) == (run.id, "cancelled", ended.reason)
    assert (told.started_at, told.ended_at, told.round) == (ended.started_at, ended.ended_at, 0)
    assert told.ended_at is not None


@pytest.mark.parametrize("told", [False, True], ids=["untold", "told"])
def test_events_of_a_run_that_is_run_again_are_told_of_again(queue: Queue, told: bool) -> None:
    """Once it has ended once more, whether or not their source had been told before; meanwhile a
    delivery joins it, and its id is not forgotten. What went back stays where it is."""
    queue.take("a")
    run = _run(queue, "a")
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
    run = _run(queue, "a")
    queue.end(run, RunState.DEAD)
    queue.told()
    queue.ledger.commands.retry(run.id, "test")
    assert queue.states() == {"a": "returned"}
    queue.end(queue.ledger.run(run))
    assert queue.told() == []
