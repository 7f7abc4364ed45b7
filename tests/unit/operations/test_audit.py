"""The audit finds what is wrong with a ledger: each fault is planted, then looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

import specs
from orchestrator.domain.clock import HOUR, from_rfc3339
from orchestrator.store.errors import Missing
from orchestrator.store.inbox import Event, EventBatch, Inboxes, Terms
from orchestrator.store.streams import How

if TYPE_CHECKING:
    from conftest import Bench


def plant(bench: Bench, statement: str) -> None:
    """Damage the store behind the orchestrator's back."""

    def operation(tx) -> None:
        assert tx.conn.execute(text(statement)).rowcount == 1

    bench.app.database.write(operation, "plant")


def problems(bench: Bench) -> str:
    result = bench.app.auditor.audit()
    assert result["ok"] == (not result["findings"])
    return "\n".join(f["problem"] for f in result["findings"])


@pytest.fixture
def ledger(bench: Bench) -> Bench:
    """Five due times, all of them in the ledger."""
    bench.register(overlap="allow")
    bench.fire_until("2026-06-01T12:05:00Z")
    assert len(bench.runs()) == 5
    return bench


def test_a_ledger_without_fault_is_ok(ledger: Bench) -> None:
    """A ledger that the services wrote has no findings, and its window is told."""
    result = ledger.app.auditor.audit("tick")
    assert result["findings"] == []
    (summary,) = result["triggers"]
    assert summary["runs"] == 5
    assert (summary["from"], summary["to"]) == ("2026-06-01T12:01:00Z", "2026-06-01T12:06:00Z")


def test_a_revived_run_of_an_older_schedule_is_no_fault(bench: Bench) -> None:
    """A due time that was skipped and runs after all under a later version keeps its range."""
    bench.register(overlap="skip", catch_up="none")
    bench.fire_until("2026-06-01T12:05:00Z")
    bench.apply(overlap="skip", every="2m")
    since, until = from_rfc3339("2026-06-01T12:00:30Z"), from_rfc3339("2026-06-01T12:04:30Z")
    done = bench.app.timing.backfill("tick", since, until, "test")
    assert done.revived == 2
    assert problems(bench) == ""


THIRD = "key = '2026-06-01T12:03:00Z'"
FAULTS = {
    "a run that is gone": (f"DELETE FROM runs WHERE {THIRD}", "its range begins at"),
    "the last run that is gone": (
        "DELETE FROM runs WHERE key = '2026-06-01T12:05:00Z'",
        "4 runs are there, 5 were planned",
    ),
    "a due time that the schedule does not have": (
        f"UPDATE runs SET key = '2026-06-01T12:03:07Z' WHERE {THIRD}",
        "the schedule has no such due time",
    ),
    "a key that is no due time": (
        f"UPDATE runs SET key = 'nonsense' WHERE {THIRD}",
        "the key is not a due time",
    ),
    "a range that overlaps": (
        f"UPDATE runs SET range_start = range_start - 60000000 WHERE {THIRD}",
        "the one before ends at",
    ),
    "a place that is left out": (
        "UPDATE runs SET ordinal = 9 WHERE key = '2026-06-01T12:05:00Z'",
        "4 runs are there, 5 were planned",
    ),
    "an end without a time": (
        f"UPDATE runs SET state = 'cancelled' WHERE {THIRD}",
        "ended without an end",
    ),
    "a time without an end": (f"UPDATE runs SET ended_at = 1 WHERE {THIRD}", "open with an end"),
    "a success that no attempt had": (
        f"UPDATE runs SET state = 'succeeded', ended_at = 1 WHERE {THIRD}",
        "succeeded without an attempt that did",
    ),
    "a planner that ran ahead": (
        "UPDATE partitions SET planned = planned + 60000000",
        "is planned next",
    ),
    "a planner that stands still": (
        "UPDATE partitions SET wake_at = wake_at - 3600000000",
        "and not in the ledger",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(ledger: Bench, fault: str) -> None:
    """Each way in which a ledger can lie is told in words."""
    statement, words = FAULTS[fault]
    plant(ledger, statement)
    assert words in problems(ledger)


ATTEMPT = (
    """INSERT INTO attempts (run_id, number, job_name, namespace, state, spec_hash,
    execution_us, total_us, grace_us, created_at, ended_at)
    SELECT id, {number}, 'job-{number}', '', '{state}', '', 0, 0, 0, 0, {ended}
    FROM runs WHERE """
    + THIRD
)


@pytest.mark.parametrize(
    ("state", "ended", "words"),
    [
        ("succeeded", "1", "two attempts succeeded"),
        ("running", "NULL", "two attempts are under way"),
    ],
)
def test_two_attempts_at_once_are_found(ledger: Bench, state: str, ended: str, words: str) -> None:
    """A run never has two attempts that live or two that succeeded."""
    for number in (1, 2):
        plant(ledger, ATTEMPT.format(number=number, state=state, ended=ended))
    assert words in problems(ledger)


def test_an_attempt_that_outlives_its_run_is_found(ledger: Bench) -> None:
    """No job is under way for a run that has ended."""
    plant(ledger, ATTEMPT.format(number=1, state="running", ended="NULL"))
    plant(ledger, f"UPDATE runs SET state = 'cancelled', ended_at = 1 WHERE {THIRD}")
    assert "an attempt is under way" in problems(ledger)


def test_one_trigger_is_audited_alone(ledger: Bench) -> None:
    """The fault of one trigger is not told of another."""
    ledger.register(name="other")
    plant(ledger, f"DELETE FROM runs WHERE {THIRD}")
    assert ledger.app.auditor.audit("other")["ok"]
    assert not ledger.app.auditor.audit("tick")["ok"]


@pytest.fixture
def inbox(bench: Bench) -> Bench:
    """Three events of a source without order: one succeeded, one dead, one under way."""
    document = specs.from_data(
        {
            "apiVersion": "orch/v1",
            "kind": "webhook",
            "name": "hook",
            "signature": "github",
            "secret": {"secret": "HOOK"},
        }
    )
    checker = bench.app.registrar.checker
    checked = checker.check(checker.parse(document), base_dir=None)
    [trigger] = bench.app.registrar.register([checked], "test")
    source = bench.app.source_store.get(trigger.uid)
    assert source is not None
    batches = [EventBatch(events=[Event(id=id_)], values={}, at=0) for id_ in "abc"]
    how = How(room=None, rate=None, blocks=False)
    Inboxes(bench.app.database).take_in(source, batches, how, Terms(keep_us=HOUR))
    plant(bench, "UPDATE runs SET state = 'dead', queue = NULL, ended_at = 1 WHERE key = 'b'")
    plant(bench, "UPDATE inbox SET state = 'done' WHERE id = 'b'")
    return bench


def test_an_inbox_without_fault_is_ok(inbox: Bench) -> None:
    """Its runs are counted in one line; a trigger is found although it has no partition."""
    for trigger in (None, "hook"):
        result = inbox.app.auditor.audit(trigger)
        assert result["findings"] == []
        assert result["triggers"] == [
            {
                "name": "hook",
                "partition": "inbox",
                "runs": 3,
                "open": 2,
                "dead": 1,
                "from": None,
                "to": None,
            }
        ]
    with pytest.raises(Missing):
        inbox.app.auditor.audit("hoo")


STRAYS = {
    "held, and its run is over": (
        "UPDATE inbox SET state = 'held' WHERE id = 'b'",
        "held for a run that is over",
    ),
    "held without a run": ("DELETE FROM runs WHERE key = 'a'", "held for a run that is not there"),
    "told without a run": ("DELETE FROM runs WHERE key = 'b'", "its run is not there"),
}


@pytest.mark.parametrize("fault", STRAYS)
def test_an_event_without_its_run_is_found(inbox: Bench, fault: str) -> None:
    """By its id, in words."""
    statement, words = STRAYS[fault]
    plant(inbox, statement)
    assert problems(inbox) == words


def test_an_event_whose_run_was_kept_long_enough_is_no_fault(inbox: Bench) -> None:
    """Retention has removed the run; the event is known for longer."""
    plant(inbox, "DELETE FROM runs WHERE key = 'b'")
    inbox.clock.set("2026-12-01T12:00:00Z")
    assert problems(inbox) == ""
