"""Which runs a broker is to be told of: written by the database, whatever changes them."""

from __future__ import annotations

from sqlalchemy import delete

from orchestrator.store.announcements import Announcements
from orchestrator.store.database import Database
from orchestrator.store.schema import runs
from tests.support.ledger import Ledger


def _states(announcements: Announcements) -> dict[str, str]:
    return {one.run_id: str(one.run and one.run["state"]) for one in announcements.untold()}


def test_each_change_is_told_once(ledger: Ledger) -> None:
    """A new run, and each state that it comes to."""
    announcements = Announcements(ledger.db)
    announcements.switch(True)
    trigger = ledger.trigger()
    one, two = ledger.fire(trigger, 2)
    found = announcements.untold()
    assert {(u.run_id, u.run and u.run["state"]) for u in found} == {
        (one.id, "pending"),
        (two.id, "pending"),
    }
    assert all(u.run is not None and u.run["trigger"] == "tick" for u in found)
    announcements.told(found)
    assert announcements.untold() == []
    assert ledger.claim()
    assert set(_states(announcements).values()) == {"submitting"}
    announcements.switch(True)
    assert _states(announcements), "it was switched on already"


def test_what_changes_while_it_is_told_is_told_again(ledger: Ledger) -> None:
    """The broker has the state before."""
    announcements = Announcements(ledger.db)
    announcements.switch(True)
    [run] = ledger.fire(ledger.trigger())
    before = announcements.untold()
    ledger.claim()
    announcements.told(before)
    assert _states(announcements) == {run.id: "submitting"}


def test_two_that_tell_of_the_same_run(ledger: Ledger) -> None:
    """Nobody knows whose word was the last: it is told once more."""
    mine, other = Announcements(ledger.db), Announcements(ledger.db)
    mine.switch(True)
    [run] = ledger.fire(ledger.trigger())
    before = mine.untold()
    ledger.claim()
    other.told(other.untold())
    assert mine.untold() == []
    mine.told(before)
    assert _states(mine) == {run.id: "submitting"}


def test_nobody_asked(ledger: Ledger) -> None:
    """Nothing is written; once somebody asks, all that is open is told."""
    announcements = Announcements(ledger.db)
    announcements.switch(False)
    [run] = ledger.fire(ledger.trigger())
    assert announcements.untold() == []
    announcements.switch(True)
    assert _states(announcements) == {run.id: "pending"}
    announcements.switch(False)
    assert announcements.untold() == []
    ledger.claim()
    assert announcements.untold() == []


def test_it_outlives_the_process(ledger: Ledger) -> None:
    """What was not told is told by the next one."""
    Announcements(ledger.db).switch(True)
    [run] = ledger.fire(ledger.trigger())
    again = Database(ledger.url, clock=ledger.clock)
    assert _states(Announcements(again)) == {run.id: "pending"}
    again.close()


def test_a_run_that_is_gone(ledger: Ledger) -> None:
    """There is nothing to be told, and nothing stays."""
    announcements = Announcements(ledger.db)
    announcements.switch(True)
    ledger.fire(ledger.trigger())
    ledger.db.write(lambda tx: tx.conn.execute(delete(runs)), "test")
    [gone] = announcements.untold()
    assert gone.run is None
    announcements.told([gone])
    assert announcements.untold() == []
