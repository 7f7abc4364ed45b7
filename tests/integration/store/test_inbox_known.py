"""The inbox in the store: how long ids are known, cursors, triggers that are paused or deleted."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain.clock import HOUR, MINUTE, SECOND
from orchestrator.domain.states import Origin, RunState
from orchestrator.store.inbox import (
    AlreadyTaken,
    Event,
    EventBatch,
    NotActive,
    Terms,
)
from orchestrator.store.schema import inbox as inbox_table
from orchestrator.store.schema import runs as runs_table
from tests.support.inboxledger import ALL, Queue


def test_ids_are_forgotten_once_nobody_needs_them(queue: Queue) -> None:
    """After what the source asks for, counted from the run's end and from when it was told, and
    not before the source itself says that it will not deliver them again."""
    clock = queue.ledger.clock
    queue.take("a", keep_us=MINUTE)
    queue.take("b", keep_us=MINUTE, expires=clock.now() + HOUR)
    queue.take("c", keep_us=MINUTE)
    for key in ("a", "b"):
        queue.end(queue.run(key))
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
    queue.end(queue.run("a"), state)
    queue.told()
    queue.ledger.clock.advance(SECOND)
    assert queue.telling.forget(queue.uid) == 1
    assert queue.again("a") == set()
    queue.take("a", receipt="r2", returns=True)
    queue.end(queue.run("a~1"), RunState.DEAD)
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
    run = queue.run("a")
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
    run = queue.end(queue.run("a"))
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
    queue.end(queue.run("a"))
    queue.told()
    queue.ledger.endings.finish_deletions()
    assert queue.telling.abandoned() == [queue.uid]
    assert queue.telling.forget(queue.uid) == 0
    queue.ledger.clock.advance(2 * HOUR)
    assert queue.telling.forget(queue.uid) == 1
    assert (queue.states(), queue.telling.abandoned()) == ({}, [])
