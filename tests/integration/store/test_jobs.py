"""Jobs in the store: keys of clients, the future, pages, what goes with them; on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.domain.clock import DAY, HOUR
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import Queue, RunState
from orchestrator.store.database import canonical
from orchestrator.store.errors import Conflict
from orchestrator.store.follows import Edge
from orchestrator.store.intake import Admittance
from orchestrator.store.jobs import Jobs, KeyReused, NewJob
from orchestrator.store.schema import definitions, edges, job_keys, runs, templates
from orchestrator.store.triggers import Change
from orchestrator.store.values import Trigger
from tests.support.ledger import Ledger

ANY = Admittance(overlap=Overlap.ALLOW)
TWO = replace(ANY, max_in_flight=2)


def new(trigger: Trigger, key: str, how: Admittance = ANY, **more: Any) -> NewJob:
    """A job of a template."""
    return NewJob(trigger=trigger, definition=trigger.definition, how=how, key=key, data={}, **more)


def test_a_key_stands_for_one_job(ledger: Ledger) -> None:
    """A client's key gives its job again; with another request it is refused."""
    jobs, trigger = Jobs(ledger.db), ledger.trigger()
    one = new(trigger, "job-1", client_key="k", digest="d")
    [first] = jobs.take_in([one], "me")
    assert jobs.take_in([one, one], "me") == [first, first]
    assert jobs.known("k", "d") == first
    assert jobs.known("other", "d") is None
    for ask in (lambda: jobs.known("k", "e"), lambda: jobs.take_in([replace(one, digest="e")], "")):
        with pytest.raises(KeyReused, match=first):
            ask()
    assert len(ledger.rows(sa.select(runs))) == 1


def test_the_future_is_in_no_line(ledger: Ledger) -> None:
    """What is for later counts nowhere until it is due, and is limited from then on."""
    jobs, trigger = Jobs(ledger.db), ledger.trigger()
    at = ledger.clock.now() + HOUR
    later = [new(trigger, f"job-{n}", TWO, due_at=at) for n in range(5)]
    jobs.take_in(later, "me")
    assert jobs.due(ledger.clock.now(), 10) == []
    assert jobs.next_due() == at
    [now] = jobs.take_in([new(trigger, "now", TWO)], "me")
    assert ledger.run(now).queue is Queue.READY
    ledger.clock.advance(HOUR)
    due = jobs.due(ledger.clock.now(), 10)
    assert jobs.wake(due, {trigger.definition: TWO}) == 5
    assert jobs.wake(due, {trigger.definition: TWO}) == 0
    queues = sorted(str(run.queue) for run in ledger.runs())
    assert queues == ["line"] * 4 + ["ready"] * 2
    assert jobs.next_due() is None


def test_two_orchestrators_wake_each_once(open_ledger: Callable[..., Ledger]) -> None:
    """Both find the same runs due; each run goes in line once, and never more than may."""
    one, two = open_ledger("one"), open_ledger("two")
    trigger = one.trigger()
    at = one.clock.now() + HOUR
    Jobs(one.db).take_in([new(trigger, f"job-{n}", TWO, due_at=at) for n in range(40)], "me")
    one.clock.advance(HOUR)
    woken: list[int] = []

    def wake(ledger: Ledger) -> None:
        jobs = Jobs(ledger.db)
        due = jobs.due(ledger.clock.now(), 100)
        woken.append(jobs.wake(due, {trigger.definition: TWO}))

    threads = [threading.Thread(target=wake, args=(ledger,)) for ledger in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(woken) == 40
    assert [run.queue for run in one.runs()].count(Queue.READY) == 2


def test_pages_hold_each_job_once(ledger: Ledger) -> None:
    """All states together, or some; equal times by id; a page never shows one twice."""
    jobs, trigger = Jobs(ledger.db), ledger.trigger()
    now = ledger.clock.now()
    ids = jobs.take_in([new(trigger, f"job-{n}", due_at=now + n // 3) for n in range(30)], "me")
    for run_id in ids[::4]:
        ledger.commands.cancel(run_id, "x", "me")
        ledger.settle(RunState.CANCELLED)
    seen: list[str] = []
    cursor = None
    while True:
        page = jobs.list(list(RunState), since=None, until=now + 9, limit=4, cursor=cursor)
        seen += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            break
    wanted = sorted((ledger.run(i).due_at, i) for i in ids if ledger.run(i).due_at < now + 9)
    assert seen == [run_id for _, run_id in reversed(wanted)]
    gone = jobs.list([RunState.CANCELLED], since=now, until=None, limit=100)
    assert {run.id for run in gone.items} == set(ids[::4])


def test_what_came_whole_goes_whole(ledger: Ledger) -> None:
    """With the last run of a job that came whole go its definition, its template and its key."""
    jobs, trigger = Jobs(ledger.db), ledger.trigger()
    before = len(ledger.rows(sa.select(definitions)))
    body = canonical({"template": "t-1"})
    whole = replace(
        new(trigger, "job-1", client_key="k"), whole=True, definition="d-1",
        definitions={"d-1": body}, templates={"t-1": "{}"},
    )  # fmt: skip
    ids = jobs.take_in([whole, replace(whole, key="job-2", client_key="l")], "me")
    ledger.commands.cancel(ids[0], "x", "me")
    ledger.settle(RunState.CANCELLED)
    ledger.clock.advance(DAY)
    assert ledger.retention.sweep(ledger.clock.now()) == 1
    assert len(ledger.rows(sa.select(definitions))) == before + 1
    assert [row["key"] for row in ledger.rows(sa.select(job_keys))] == ["l"]
    ledger.commands.cancel(ids[1], "x", "me")
    ledger.settle(RunState.CANCELLED)
    ledger.clock.advance(DAY)
    assert ledger.retention.sweep(ledger.clock.now()) == 1
    assert len(ledger.rows(sa.select(definitions))) == before
    assert not ledger.rows(sa.select(templates).where(templates.c.hash == "t-1"))
    assert ledger.rows(sa.select(job_keys)) == []


def test_two_changes_at_once_close_no_circle(open_ledger: Callable[..., Ledger]) -> None:
    """Two orchestrators each register one half of a circle: one of them is refused."""
    one, two = open_ledger("one"), open_ledger("two")
    halves = [(one, one.trigger("a"), "b"), (two, one.trigger("b"), "a")]
    refused: list[str] = []

    def change(ledger: Ledger, trigger: Trigger, target: str) -> None:
        edge = Edge(source=trigger.name, target=target, event="on_success")
        stated = Change(
            definition_hash=trigger.definition, definition="{}", template_hash="t", job="{}",
            edges=[edge],
        )  # fmt: skip
        try:
            ledger.triggers.change(trigger, stated, "me")
        except Conflict as error:
            refused.append(str(error))

    threads = [threading.Thread(target=change, args=half) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert "for ever" in refused[0]
    assert len(one.rows(sa.select(edges))) == 1
