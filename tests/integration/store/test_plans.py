"""Every query on the path from a due time to an ended run finds its rows by an index."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from orchestrator.domain.overlap import Overlap
from orchestrator.domain.states import AttemptState, RunState
from orchestrator.store.inbox import Event, EventBatch, Inboxes, Terms
from orchestrator.store.intake import Admittance
from orchestrator.store.lines import cancel_open, move_done, promote
from orchestrator.store.reads import RunFilter, encode_cursor
from orchestrator.store.sources import Sources
from orchestrator.store.streams import How
from orchestrator.store.telling import Telling, Verdict, can_go_back, settle_events
from orchestrator.store.triggers import NewTrigger
from tests.support.clocks import START
from tests.support.ledger import PARTITION, STEP, Ledger, digest

_BIG = ("runs", "attempts", "triggers", "partitions", "inbox", "outbox", "trail")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger with a history, analysed, so that the planner knows which tables are large."""
    path: Path = tmp_path_factory.mktemp("plans") / "orch.db"
    ledger = Ledger(f"sqlite:///{path}")
    for n in range(5):
        trigger = ledger.trigger(f"t{n}")
        for run in ledger.fire(trigger, 6, overlap=Overlap.QUEUE):
            ledger.finish(run, RunState.DEAD if run.ordinal == 2 else RunState.SUCCEEDED)
        ledger.fire(trigger, 4, overlap=Overlap.QUEUE)
    ledger.accept(ledger.claim(1)[0])
    _fill_inbox(ledger)
    yield ledger
    ledger.close()


def _fill_inbox(ledger: Ledger) -> None:
    """A source without order: events that are told of, that are known, and that wait."""
    body = '{"kind":"queue"}'
    new = NewTrigger(
        name="queue",
        kind="queue",
        definition_hash=digest(body),
        definition=body,
        template_hash="t" * 32,
        job="{}",
        uid=QUEUE,
        partitions=[],
        outside=True,
    )
    ledger.triggers.create([new], "test")
    _take_in(ledger, *(f"e{number}" for number in range(50)))
    _take_in(ledger, *(f"a{number}" for number in range(50)), on_intake=True)
    _take_in(ledger, *(f"g{number}" for number in range(20)), group="g")
    telling = Telling(ledger.db)
    telling.told(QUEUE, telling.to_tell(QUEUE)[:25])


def _take_in(ledger: Ledger, *ids: str, group: str = "", **terms: Any) -> None:
    row = Sources(ledger.db, "me").get(QUEUE)
    assert row is not None
    batches = [
        EventBatch(events=[Event(id=id_, receipt="r")], group=group, values={}, at=START)
        for id_ in ids
    ]
    how = How(room=10, rate=None, blocks=False)
    Inboxes(ledger.db).take_in(row, batches, how, Terms(extend_us=1, **terms), "cursor")


QUEUE = "uqueue"


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[tuple[str, Any]]]:
    """What is executed meanwhile, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, text: str, parameters: Any, *_: Any) -> None:
        if text.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            many = isinstance(parameters, list)
            seen.append((text, parameters[0] if many else parameters))

    engines = (ledger.db._read_engine, ledger.db._write_engine)
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield seen
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


def plan_of(ledger: Ledger, text: str, parameters: Any) -> list[str]:
    with ledger.db._read_engine.connect() as conn:
        found = conn.exec_driver_sql("EXPLAIN QUERY PLAN " + text, parameters)
        return [row[3] for row in found]


def check(ledger: Ledger, act: Callable[[Ledger], Any], *, sorts: bool = False) -> None:
    """Every statement of `act` searches by index, and sorts nothing."""
    with statements(ledger) as seen:
        act(ledger)
    assert seen, "nothing was asked"
    for text, parameters in seen:
        for line in plan_of(ledger, text, parameters):
            scan = re.match(r"SCAN (\w+)", line)
            partial = "USING" in line and re.search(r"\b(ix|uq)_", line)
            assert not (scan and scan[1] in _BIG and not partial), f"{line}\n{text}"
            assert sorts or "TEMP B-TREE" not in line, f"{line}\n{text}"


def _uid(ledger: Ledger) -> str:
    return ledger.triggers.get("t0").uid


def _in(ledger: Ledger, operation: Callable[[Any], Any]) -> Any:
    return ledger.db.write(operation, "test")


HOT: dict[str, Callable[[Ledger], Any]] = {
    "due": lambda s: s.intake.due(START + STEP, 100),
    "next_wake": lambda s: s.intake.next_wake(),
    "of_trigger": lambda s: s.intake.of_trigger(_uid(s)),
    "ready": lambda s: s.claims.ready(10),
    "next_ready": lambda s: s.claims.next_ready(),
    "in_flight": lambda s: s.claims.in_flight(),
    "load": lambda s: s.flights.load([AttemptState.ACCEPTED]),
    "to_cancel": lambda s: s.flights.to_cancel(START),
    "next_deadline": lambda s: s.flights.next_deadline(),
    "move_done": lambda s: _in(s, lambda tx: move_done(tx.conn, _uid(s), PARTITION)),
    "promote": lambda s: _in(
        s, lambda tx: promote(tx, _uid(s), PARTITION, room=1, rate=None, now=START)
    ),
    "cancel_open": lambda s: _in(s, lambda tx: cancel_open(tx, "nobody", PARTITION, "test")),
    "finish_deletions": lambda s: s.endings.finish_deletions(),
    "runs": lambda s: s.reads.runs(RunFilter(), limit=5),
    "runs, a page deep in": lambda s: s.reads.runs(
        RunFilter(), limit=5, cursor=encode_cursor(START, "r")
    ),
    "runs of a trigger": lambda s: s.reads.runs(RunFilter(trigger="t1"), limit=5),
    "runs of a trigger, a page deep in": lambda s: s.reads.runs(
        RunFilter(trigger="t1"), limit=5, cursor=encode_cursor(START, "r")
    ),
    "runs since": lambda s: s.reads.runs(RunFilter(since=START, until=START + STEP), limit=5),
    "oldest first": lambda s: s.reads.runs(RunFilter(oldest_first=True), limit=5),
    "dead": lambda s: s.reads.runs(RunFilter(states=[RunState.DEAD]), limit=5),
    "one run": lambda s: s.reads.runs(RunFilter(states=[RunState.SUCCEEDED]), limit=5),
    "last runs": lambda s: s.reads.last_runs([_uid(s)]),
    "triggers": lambda s: s.reads.triggers(limit=5),
    "triggers, a page deep in": lambda s: s.reads.triggers(limit=5, cursor=encode_cursor("t1")),
    "trail": lambda s: s.reads.trail(limit=5, cursor=encode_cursor(3)),
    "outbox pending": lambda s: s.outbox.pending(START),
    "outbox next": lambda s: s.outbox.next_at(),
    "adopt_orphans": lambda s: s.leases.adopt_orphans(),
    "events that are known": lambda s: Inboxes(s.db).received(QUEUE, [Event(id="a1", receipt="n")]),
    "events to tell": lambda s: Telling(s.db).to_tell(QUEUE),
    "events told": lambda s: Telling(s.db).told(QUEUE, Telling(s.db).to_tell(QUEUE)[:1]),
    "sources to tell": lambda s: Telling(s.db).waiting(),
    "events to extend": lambda s: Telling(s.db).to_extend(QUEUE),
    "next extension": lambda s: Telling(s.db).next_extension(QUEUE),
    "events extended": lambda s: Telling(s.db).extended(QUEUE, ["e1"], START, ["e2"]),
    "events to forget": lambda s: Telling(s.db).forget(QUEUE),
    "deleted triggers with events": lambda s: Telling(s.db).abandoned(),
    "events of a run": lambda s: _in(
        s,
        lambda tx: settle_events(
            tx.conn, "no run", Verdict(state=RunState.SUCCEEDED, failed=[(0, 1)]), START
        ),
    ),
    "events that can go back": lambda s: _in(
        s, lambda tx: can_go_back(tx.conn, "no run", [(0, 1)])
    ),
    "open runs of a trigger": lambda s: Inboxes(s.db).open_runs(QUEUE),
    "sources": lambda s: Sources(s.db, "me").all(),
}


@pytest.mark.parametrize("name", HOT)
def test_hot_queries_use_an_index(filled: Ledger, name: str) -> None:
    """No table is scanned and nothing is sorted, whatever the number of schedules and runs."""
    check(filled, HOT[name])


SORTED: dict[str, Callable[[Ledger], Any]] = {
    "wake_delayed": lambda s: s.claims.wake_delayed(START),
    "unsettled": lambda s: s.endings.unsettled(100),
    "run_counts": lambda s: s.reads.run_counts(),
    "open runs of an intake": lambda s: s.fire(s.triggers.get("t2"), overlap=Overlap.SKIP),
    "claim": lambda s: s.accept(s.claim(1)[0]),
    "sweep": lambda s: s.retention.sweep(0),
    "cancel": lambda s: s.commands.cancel(
        next(r.id for r in s.runs() if r.ended_at is None), "test", "test"
    ),
    "events taken in": lambda s: _take_in(s, "new", group="g"),
    "fire": lambda s: s.commands.fire(
        s.triggers.get("t3"), PARTITION, "now", Admittance(overlap=Overlap.QUEUE), "test"
    ),
}


@pytest.mark.parametrize("name", SORTED)
def test_queries_over_what_is_open_use_an_index(filled: Ledger, name: str) -> None:
    """These may sort the few rows that they found, but scan no table either."""
    check(filled, SORTED[name], sorts=True)
