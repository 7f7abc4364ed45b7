"""The inbox in the store: one run for each event, what sources are told, groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress

import pytest

from orchestrator.domain.clock import HOUR, MINUTE, SECOND
from orchestrator.domain.signals import Signal, Topic
from orchestrator.domain.states import RunState
from orchestrator.store.inbox import (
    AlreadyTaken,
    Event,
    EventBatch,
    Inboxes,
    Terms,
    event_key,
)
from orchestrator.store.streams import How
from orchestrator.store.telling import EventState
from tests.support.inboxledger import ALL, Queue
from tests.support.ledger import Ledger


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


def test_groups_run_in_order_one_at_a_time(queue: Queue) -> None:
    """Each by itself, also over a dead run, and however their events are dated."""
    now = queue.ledger.clock.now()
    for number in range(3):
        for group in ("g", "h"):
            queue.take(f"{group}{number}", group=group, at=now - number * MINUTE)
    assert sorted(queue.ready()) == ["g0", "h0"]
    queue.end(queue.run("g0"), RunState.DEAD)
    assert sorted(queue.ready()) == ["g1", "h0"]
    queue.end(queue.run("g1"))
    assert sorted(queue.ready()) == ["g2", "h0"]
    queue.take("g3", group="g", at=now - HOUR)
    queue.end(queue.run("g2"))
    assert sorted(queue.ready()) == ["g3", "h0"]


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
    queue.end(queue.run("a"))
    clock.advance(10 * SECOND)
    assert [told.id for told in queue.telling.to_extend(queue.uid)] == ["b"]
    queue.telling.extended(queue.uid, ["b"], clock.now() + SECOND, ["b"])
    assert queue.told() == [("acknowledge", "a", "r1-a"), ("acknowledge", "b", "r1-b")]
    assert queue.telling.next_extension(queue.uid) is None
    queue.end(queue.run("b"), RunState.DEAD)
    assert queue.states() == {"a": "done", "b": "done"}


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
    first.end(first.run("a"))
    assert first.told() == [("acknowledge", "a", "theirs")]


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
    queue.end(queue.run("a"))
    assert woke()
    queue.told()
    queue.again("a", receipt="r3")
    assert woke()


def test_a_source_is_told_how_its_events_runs_stand(queue: Queue) -> None:
    """While they go on, and how they have ended."""
    queue.take("a", extend_us=SECOND)
    run = queue.run("a")
    queue.ledger.clock.advance(2 * SECOND)
    [held] = queue.telling.to_extend(queue.uid)
    assert (held.run_id, held.run_state, held.started_at) == (run.id, "pending", None)
    ended = queue.end(run, RunState.CANCELLED)
    [told] = queue.telling.to_tell(queue.uid)
    assert (told.run_id, told.run_state, told.reason) == (run.id, "cancelled", ended.reason)
    assert (told.started_at, told.ended_at, told.round) == (ended.started_at, ended.ended_at, 0)
    assert told.ended_at is not None
