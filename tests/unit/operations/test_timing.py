"""Commands on triggers: change, pause, resume, backfill, fire. No due time gets lost between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.domain.clock import MINUTE, from_rfc3339, to_rfc3339
from orchestrator.operations.resuming import COUNTED, Passed
from orchestrator.store.errors import Conflict

if TYPE_CHECKING:
    from conftest import Bench


def audit(bench: Bench) -> None:
    assert bench.app.auditor.audit()["findings"] == []


def test_a_changed_schedule_is_bridged_in_the_ledger(bench: Bench) -> None:
    """What came due by the old schedule is in the ledger; the new one goes on from now."""
    bench.register(overlap="allow")
    bench.clock.set("2026-06-01T12:02:30Z")
    assert bench.apply(overlap="allow", every="5m").action == "changed"
    bench.fire_until("2026-06-01T12:10:00Z")
    assert bench.states() == [
        ("12:01", "pending", ""),
        ("12:02", "pending", ""),
        ("", "skipped", "changed"),
        ("12:05", "pending", ""),
        ("12:10", "pending", ""),
    ]
    assert bench.runs()[2].key == "version-2"
    audit(bench)


def test_a_changed_job_leaves_the_schedule_alone(bench: Bench) -> None:
    """Another job is another version, and due times go on without a seam."""
    bench.register()
    before = bench.app.reads.partitions(bench.app.triggers.get("tick").uid)
    assert bench.apply(timeout="7m").trigger.version == 2
    assert bench.app.reads.partitions(bench.app.triggers.get("tick").uid) == before
    assert bench.apply(timeout="7m").action == "unchanged"


def test_resume_follows_catch_up(bench: Bench) -> None:
    """Due times of a pause run as far back as catch_up says; the others are missed."""
    bench.register(overlap="allow", catch_up="2m")
    bench.app.triggers.pause("tick", "lunch", "test")
    bench.fire_until("2026-06-01T12:05:30Z")
    assert bench.runs() == []
    bench.app.timing.resume("tick", skip=False, actor="test")
    bench.fire_until("2026-06-01T12:05:30Z")
    assert [s[1:] for s in bench.states()] == [("skipped", "missed")] * 3 + [("pending", "")] * 2
    audit(bench)


def test_resume_and_skip_leaves_the_pause_out(bench: Bench) -> None:
    """With --skip every due time of the pause is in the ledger as skipped."""
    bench.register(overlap="allow")
    bench.app.triggers.pause("tick", "", "test")
    bench.clock.set("2026-06-01T12:03:30Z")
    bench.app.timing.resume("tick", skip=True, actor="test")
    bench.fire_until("2026-06-01T12:04:00Z")
    assert [s[1:] for s in bench.states()] == [("skipped", "paused")] * 3 + [("pending", "")]
    audit(bench)


@pytest.mark.parametrize(
    ("minutes", "skip", "told"),
    [
        (5, False, Passed(count=5, more=False, caught_up=2)),
        (5, True, Passed(count=5, more=False, caught_up=0)),
        (0, False, Passed(count=0, more=False, caught_up=0)),
        (3000, False, Passed(count=COUNTED, more=True, caught_up=None)),
    ],
)
def test_resume_tells_what_came_due_and_what_is_next(
    bench: Bench, minutes: int, skip: bool, told: Passed
) -> None:
    """Resuming counts the due times of the pause, and names a next one that is still to come."""
    bench.register(overlap="allow", catch_up="2m")
    bench.app.triggers.pause("tick", "", "test")
    now = from_rfc3339("2026-06-01T12:00:30Z") + minutes * MINUTE
    bench.clock.set(to_rfc3339(now))
    done = bench.app.timing.resume("tick", skip=skip, actor="test")
    assert done.passed == told
    assert done.next_at == now + MINUTE // 2


def test_resume_of_what_was_not_paused(bench: Bench) -> None:
    """A trigger that fires already tells its next firing, and of no pause."""
    bench.register()
    done = bench.app.timing.resume("tick", skip=False, actor="test")
    assert done.passed is None
    assert done.next_at == from_rfc3339("2026-06-01T12:01:00Z")


def test_a_second_pause_keeps_the_note(bench: Bench) -> None:
    """Pausing again without a note leaves the one that is there; with one it takes its place."""
    bench.register()
    notes = [bench.app.triggers.pause("tick", n, "test").note for n in ("disk full", "", "sold")]
    assert notes == ["disk full", "disk full", "sold"]
    bench.app.timing.resume("tick", skip=True, actor="test")
    assert bench.app.triggers.pause("tick", "", "test").note == ""


def test_a_schedule_changed_in_a_pause_keeps_what_came_due(bench: Bench) -> None:
    """Due times of a pause under the old schedule are skipped(paused), not forgotten."""
    bench.register(overlap="allow")
    bench.app.triggers.pause("tick", "", "test")
    bench.clock.set("2026-06-01T12:02:30Z")
    bench.apply(overlap="allow", every="1h")
    bench.app.timing.resume("tick", skip=False, actor="test")
    bench.fire_until("2026-06-01T13:00:00Z")
    reasons = [run.reason for run in bench.runs()]
    assert reasons == ["paused", "paused", "changed", ""]
    audit(bench)


def test_backfill_fills_only_gaps(bench: Bench) -> None:
    """Due times before the registration get runs, missed ones run after all, others are kept."""
    bench.register(overlap="allow", catch_up="1m")
    bench.fire_until("2026-06-01T12:04:00Z")
    window = from_rfc3339("2026-06-01T11:58:00Z"), from_rfc3339("2026-06-01T12:04:00Z")
    told = bench.app.timing.backfill("tick", *window, "test", dry_run=True)
    assert (told.created, told.revived, told.kept) == (3, 2, 1)
    assert len(bench.runs()) == 4
    assert bench.app.timing.backfill("tick", *window, "test") == told
    assert {run.state.value for run in bench.runs()} == {"pending"}
    assert len(bench.runs()) == 7
    again = bench.app.timing.backfill("tick", *window, "test")
    assert (again.created, again.revived, again.kept) == (0, 0, 6)
    audit(bench)


def test_a_backfilled_due_time_is_not_fired_again(bench: Bench) -> None:
    """The schedule joins the run that a backfill has made of its due time."""
    bench.register(overlap="allow")
    bench.clock.set("2026-06-01T12:02:30Z")
    window = from_rfc3339("2026-06-01T12:01:00Z"), from_rfc3339("2026-06-01T12:02:30Z")
    bench.app.timing.backfill("tick", *window, "test")
    bench.fire_until("2026-06-01T12:03:00Z")
    assert [run.origin.value for run in bench.runs()] == ["backfill", "backfill", "source"]
    assert [run.ordinal for run in bench.runs()] == [0, 1, 2]
    audit(bench)


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        ("2026-06-01T12:00:00Z", "2026-06-01T12:00:00Z", "--since must be before --until"),
        ("2026-06-01T11:00:00Z", "2026-06-01T13:00:00Z", "ends in the future"),
        ("2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "choose a smaller"),
    ],
)
def test_a_window_that_cannot_be_filled_is_refused(
    bench: Bench, since: str, until: str, words: str
) -> None:
    """A backfill says what is wrong with its window and changes nothing."""
    bench.register()
    with pytest.raises(Conflict, match=words):
        bench.app.timing.backfill("tick", from_rfc3339(since), from_rfc3339(until), "test")
    assert bench.runs() == []


def test_fire_waits_behind_an_open_run(bench: Bench) -> None:
    """A run by command is no way round `overlap`: it stands in line."""
    bench.register()
    first = bench.app.reads.run(bench.app.timing.fire("tick", "test"))
    second = bench.app.reads.run(bench.app.timing.fire("tick", "test"))
    assert (first.queue, second.queue) == ("ready", "line")


def test_a_deleted_name_is_free_and_its_ledger_stays(bench: Bench) -> None:
    """Deleting lets the name go; the runs of the old trigger are still told under it."""
    bench.register(overlap="allow")
    bench.fire_until("2026-06-01T12:01:00Z")
    bench.app.triggers.delete("tick", cancel=True, actor="test")
    bench.app.completer.run_once()
    assert bench.states() == [("12:01", "cancelled", "trigger deleted")]
    assert bench.register().uid
    with pytest.raises(Conflict, match="exists already"):
        bench.register()


def test_description_and_labels_are_part_of_a_trigger(bench: Bench) -> None:
    """What a file says about a trigger is kept; changing it is a new version, without a seam."""
    bench.register(description="minutely", labels={"team": "a"})
    assert bench.apply(description="minutely", labels={"team": "a"}).action == "unchanged"
    changed = bench.apply(description="every minute", labels={"team": "b"})
    assert changed.action == "changed"
    definition = bench.app.definitions.get(changed.trigger.definition)
    assert (definition.description, definition.labels) == ("every minute", {"team": "b"})
    bench.fire_until("2026-06-01T12:01:00Z")
    assert len(bench.runs()) == 1
