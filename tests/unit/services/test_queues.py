"""The two parts of a queue, turn by turn: what is received, and what the source is told."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

import specs
from connectors.streams import SourceRefused, SourceUnavailable
from orchestrator.domain.clock import HOUR, MINUTE, SECOND
from orchestrator.domain.states import RunState, TriggerState
from orchestrator.store import telling
from orchestrator.store.errors import Unavailable
from orchestrator.store.inbox import AlreadyTaken
from orchestrator.store.sources import SourceState
from tests.support.queuebench import Bench, raises


def test_a_message_is_a_run_and_its_success_is_told(bench: Bench) -> None:
    """Nothing is told before; afterwards the queue is empty."""
    bench.open()
    bench.queue.put("a", "b")
    bench.receiving.turn()
    bench.reporting.turn()
    assert (bench.keys(), bench.queue.acknowledged) == (["a", "b"], [])
    bench.end("a")
    bench.reporting.turn()
    assert bench.queue.acknowledged == ["a#1"]
    assert list(bench.queue.messages) == ["b"]
    assert bench.row.state is SourceState.OK


def test_a_source_is_closed_once_what_it_gave_is_a_run(bench: Bench) -> None:
    """A source that gives back what is in no run asks for that when it is closed: what is received
    at that moment is in the ledger first, and nothing more is received."""
    bench.open()
    bench.queue.put("a")
    closing = threading.Thread(target=bench.receiving.close)
    found: list[list[str]] = []

    def stopped() -> None:
        bench.queue.faults.pop("poll")
        closing.start()
        assert bench.receiving.work.context.stop.wait(20)

    bench.queue.faults |= {"poll": stopped, "close": lambda: found.append(bench.keys())}
    bench.receiving.turn()
    closing.join(20)
    assert found == [["a"]]
    bench.queue.put("b")
    bench.receiving.turn()
    assert (bench.keys(), bench.queue.messages["b"].out) == (["a"], False)


def test_only_the_newest_receipt_is_told(bench: Bench) -> None:
    """A message that comes again joins its run."""
    bench.open()
    bench.queue.put("a")
    bench.receiving.turn()
    bench.queue.show("a")
    bench.receiving.turn()
    bench.end("a")
    bench.reporting.turn()
    assert (bench.keys(), bench.queue.acknowledged) == (["a"], ["a#2"])
    assert bench.queue.messages == {}


def test_killed_before_the_source_was_told_it_is_told_once_more(bench: Bench) -> None:
    """And what it delivers meanwhile is acknowledged, not run."""
    bench.open()
    bench.queue.put("a")
    bench.receiving.turn()
    bench.end("a")
    bench.queue.show("a")
    bench.open()
    bench.receiving.turn()
    bench.reporting.turn()
    assert (bench.keys(), bench.queue.messages) == (["a"], {})


def test_what_a_source_does_not_take_holds_nothing_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much of it there is: a broker may wait for the very ones behind it."""
    monkeypatch.setattr(telling, "_AT_ONCE", 2)
    bench.open()
    names = "abcdefg"
    bench.queue.put(*names)
    bench.receiving.turn()
    for name in names:
        bench.end(name)
    bench.queue.refuses = set("abcdeg")
    pauses = [bench.reporting.turn() for _ in range(5)]
    assert bench.queue.acknowledged == ["f#1"]
    assert max(pauses) > 1, "it is not asked again and again without a pause"
    bench.queue.refuses.clear()
    for _ in range(6):
        bench.reporting.turn()
    assert bench.queue.messages == {}


def test_not_more_is_received_than_can_start(bench: Bench) -> None:
    """The rest waits at the queue until runs have ended."""
    bench.open(max_in_flight=3, batch_size=2)
    bench.queue.put(*"abcdefgh")
    for _ in range(3):
        bench.receiving.turn()
    assert bench.queue.rooms[0] == 6
    assert sum(waiting.out for waiting in bench.queue.messages.values()) == 6
    assert len(bench.ledger.runs()) == 3
    assert bench.receiving.stir()
    assert all(run.queue == "ready" for run in bench.ledger.runs()), "all of it may start"
    bench.end(bench.keys()[0])
    bench.receiving.turn()
    assert bench.queue.rooms[-1] == 2
    assert len(bench.ledger.runs()) == 4


def test_max_in_flight_of_the_trigger_is_the_room(bench: Bench) -> None:
    """Its own limit goes before the one of all."""
    bench.definition = replace(bench.definition, policies=specs.Policies(max_in_flight=2))
    bench.open(max_in_flight=100)
    bench.queue.put(*"abcd")
    bench.receiving.turn()
    assert (len(bench.ledger.runs()), bench.queue.rooms) == (2, [2])


def test_groups_do_not_wait_for_each_other(bench: Bench) -> None:
    """One of each may start; the next one of a group after the one before, dead or not."""
    bench.open()
    bench.queue.put("g0", "g1", "g2", group="g")
    bench.queue.put("h0", "h1", group="h")
    bench.receiving.turn()

    def ready() -> list[str]:
        return sorted(run.key for run in bench.ledger.runs() if run.queue == "ready")

    assert ready() == ["g0", "h0"]
    bench.end("g0", RunState.DEAD)
    assert ready() == ["g1", "h0"]


def test_batches_are_complete_by_count_or_age(bench: Bench) -> None:
    """What is gathered is in no run before, and counts as received."""
    bench.open(batch_size=3, window_ms=1000)
    bench.queue.put(*"abcd")
    bench.receiving.turn()
    assert [run.data["batch"]["count"] for run in bench.ledger.runs()] == [3]
    assert bench.receiving.lag == {"queue": 5}
    assert bench.receiving.turn() <= 1
    assert len(bench.ledger.runs()) == 1
    bench.clock.advance(SECOND)
    bench.receiving.turn()
    assert bench.keys()[1:] == ["d"]


def test_what_was_gathered_when_a_trigger_was_paused_is_delivered_again(bench: Bench) -> None:
    """It becomes no run, and nothing more is received until the trigger is resumed."""
    bench.open(batch_size=3, window_ms=1000)
    bench.queue.put("a")
    bench.receiving.turn()
    bench.receiving.tell(bench.set_state(TriggerState.PAUSED))
    bench.clock.advance(MINUTE)
    bench.receiving.turn()
    assert (bench.keys(), len(bench.queue.rooms)) == ([], 1)
    row = bench.set_state(TriggerState.ACTIVE)
    assert not bench.receiving.fits(row), "the source begins anew"
    bench.open()
    bench.queue.show("a")
    bench.receiving.turn()
    assert bench.keys() == ["a"]


@pytest.mark.parametrize("known", [True, False])
def test_what_comes_while_a_trigger_is_paused_is_no_run(bench: Bench, known: bool) -> None:
    """The poll was under way, or even the transaction; it is delivered again later."""
    bench.open()
    bench.queue.put("a")

    def pause() -> None:
        row = bench.set_state(TriggerState.PAUSED)
        if known:
            bench.receiving.tell(row)

    bench.queue.faults["poll"] = pause
    bench.receiving.turn()
    assert bench.keys() == []
    bench.queue.faults.clear()
    assert not bench.receiving.fits(bench.set_state(TriggerState.ACTIVE))


def test_a_cursor_is_kept_once_all_before_it_is_in_the_ledger(bench: Bench) -> None:
    """Not while something of it is being gathered."""
    bench.open(listing=True, batch_size=2, window_ms=1000)
    bench.queue.listed += ["a", "b", "c"]
    bench.receiving.turn()
    assert (len(bench.keys()), bench.shelf.inboxes.cursor(bench.uid)) == (1, None)
    bench.clock.advance(SECOND)
    bench.receiving.turn()
    assert (len(bench.keys()), bench.shelf.inboxes.cursor(bench.uid)) == (2, "3")


def test_ids_are_known_for_as_long_as_the_source_looks_back_at_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the cursor that was kept, and not by the clock: nobody may have looked for a long time."""
    bench.open(listing=True, remember_ms=1000)
    source = bench.reporting.work.source
    assert source is not None
    far: list[int] = []
    needed: dict[str | None, int] = {"1": bench.clock.now(), "2": bench.clock.now() + HOUR}
    monkeypatch.setattr(source, "forget_before", lambda kept: (far.append(1), needed[kept])[1])
    bench.queue.listed.append("a")
    bench.receiving.turn()
    bench.end("a")
    bench.clock.advance(10 * HOUR)
    bench.reporting.turn()
    assert bench.shelf.inboxes.known(bench.uid, ["a"])
    bench.queue.listed.append("b")
    bench.receiving.turn()
    bench.clock.advance(MINUTE)
    bench.reporting.turn()
    assert far
    assert set(bench.shelf.inboxes.known(bench.uid, ["a", "b"])) == {"b"}


def test_what_a_pause_gave_up_lies_behind_the_cursor(bench: Bench) -> None:
    """A source that goes by a cursor is opened anew, and hands over the same once more."""
    bench.open(listing=True, batch_size=2, window_ms=1000)
    bench.queue.listed += ["a", "b", "c"]
    bench.receiving.turn()
    bench.receiving.tell(bench.set_state(TriggerState.PAUSED))
    bench.receiving.turn()
    bench.receiving.tell(bench.set_state(TriggerState.ACTIVE))
    bench.queue.listed += ["d"]
    bench.receiving.turn()
    assert bench.shelf.inboxes.cursor(bench.uid) is None
    bench.open(listing=True)
    bench.receiving.turn()
    assert bench.keys()[1:] == ["c", "d"]
    assert bench.shelf.inboxes.cursor(bench.uid) == "4"


@pytest.mark.parametrize(
    "error", [SourceUnavailable("no storage"), Unavailable("no database"), RuntimeError("a bug")]
)
def test_what_could_not_become_a_run_is_kept_for_the_next_turn(
    bench: Bench, error: Exception
) -> None:
    """Nothing more is received meanwhile, so that the queue does not count it as failed."""
    bench.open(listing=True, max_in_flight=2)
    bench.queue.listed += ["a", "b", "c"]
    bench.queue.faults["describe"] = raises(error)
    assert bench.receiving.turn() > 0
    bench.clock.advance(MINUTE)
    bench.receiving.turn()
    assert (bench.keys(), bench.shelf.inboxes.cursor(bench.uid)) == ([], None)
    bench.queue.faults.clear()
    bench.clock.advance(10 * MINUTE)
    bench.receiving.turn()
    assert (bench.keys(), bench.shelf.inboxes.cursor(bench.uid)) == (["a", "b"], "2")


def test_what_came_in_by_another_way_is_left_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of its batch are runs all the same."""
    bench.open(batch_size=2)
    bench.queue.put("a", "b")
    take_in, tries = bench.shelf.inboxes.take_in, list[int]()

    def late(row: Any, batches: Any, *more: Any) -> Any:
        if not tries:
            tries.append(1)
            one = [replace(batches[0], events=[replace(batches[0].events[0], receipt="other")])]
            take_in(row, one, *more)
            raise AlreadyTaken
        return take_in(row, batches, *more)

    monkeypatch.setattr(bench.shelf.inboxes, "take_in", late)
    bench.receiving.turn()
    bench.receiving.turn()
    assert bench.keys() == ["a", "b"]
    bench.end("a")
    bench.reporting.turn()
    assert bench.queue.acknowledged == ["a#1"]


def test_a_failing_source_is_left_alone_for_a_while(bench: Bench) -> None:
    """Whatever happens meanwhile: runs that end are no reason to ask it at once."""
    bench.open()
    bench.queue.put("a", "b")
    bench.receiving.turn()
    calls: list[int] = []

    def refuse() -> None:
        calls.append(1)
        raise SourceRefused("no right to delete")

    bench.queue.faults["acknowledge"] = refuse
    bench.end("a")
    assert bench.reporting.turn() == 5
    bench.end("b")
    bench.clock.advance(SECOND)
    assert bench.reporting.turn() == pytest.approx(4)
    assert (len(calls), bench.row.state) == (1, SourceState.REFUSED)
    bench.receiving.turn()
    assert bench.row.state is SourceState.REFUSED, "well is only what is well in all its parts"
    bench.queue.faults.clear()
    bench.clock.advance(4 * SECOND)
    bench.reporting.turn()
    assert (bench.queue.messages, bench.row.state) == ({}, SourceState.OK)


def test_sources_wait_longer_for_what_runs(bench: Bench) -> None:
    """Also while they take no acknowledgement; what they will not wait for is acknowledged."""
    bench.open(extend_ms=10_000)
    bench.queue.put("a", "b")
    bench.receiving.turn()
    assert bench.reporting.turn() <= 10
    assert bench.queue.extended == []
    bench.end("a")
    bench.queue.faults["acknowledge"] = raises(SourceUnavailable("no"))
    bench.clock.advance(10 * SECOND)
    bench.reporting.turn()
    assert bench.queue.extended == ["b"]
    bench.queue.faults.clear()
    bench.queue.gives_up.add("b")
    bench.clock.advance(10 * SECOND)
    bench.reporting.turn()
    bench.reporting.turn()
    assert bench.queue.messages == {}
    assert bench.run("b").ended_at is None
