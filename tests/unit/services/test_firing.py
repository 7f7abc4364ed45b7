"""Due times become runs, whatever the clock does."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.cron import CronConnector
from orchestrator.domain.clock import DAY, HOUR, MINUTE, SECOND, to_rfc3339
from orchestrator.domain.overlap import Overlap
from orchestrator.domain.signals import Signal, Topic
from orchestrator.domain.states import RunState
from orchestrator.services.clockwatch import ClockWatch, Steps
from orchestrator.services.definitions import Definitions
from orchestrator.services.firing import FiringService, wake_offset
from orchestrator.store.values import Run, Trigger
from tests.support.clocks import START, FakeClock
from tests.support.desk import Desk
from tests.support.ledger import define


@pytest.fixture
def firing(desk: Desk) -> FiringService:
    return FiringService(
        desk.clock,
        desk.signals,
        desk.ledger.intake,
        Definitions(desk.ledger.triggers),
        {"cron": CronConnector()},
    )


def register(desk: Desk, name: str = "tick", every: str = "1m", **policies: Any) -> Trigger:
    """A trigger that is due at START, and then every so often."""
    overlap = policies.pop("overlap", Overlap.ALLOW)
    settings = {"every": every, **policies.pop("settings", {})}
    definition = define(settings=settings, overlap=overlap, **policies)
    return desk.ledger.trigger(name, definition=definition)


def dues(runs: list[Run]) -> list[int]:
    return [(run.due_at - START) // SECOND for run in runs]


def test_a_due_time_fires_once(desk: Desk, firing: FiringService) -> None:
    """At its time, with its own key, and the answer says when the next comes."""
    register(desk)
    desk.clock.step(-1)
    assert firing.run_once() == START
    assert desk.ledger.runs() == []
    desk.clock.step(1)
    for _ in range(3):
        assert firing.run_once() == START + MINUTE
    [run] = desk.ledger.runs()
    assert (run.key, run.due_at) == (to_rfc3339(START), START)


def test_what_is_planned_beforehand_fires_at_its_time(desk: Desk, firing: FiringService) -> None:
    """Not before, not twice; and the trigger that came up meanwhile fires with the others."""
    register(desk)
    desk.clock.step(-1)
    firing.prepare(START)
    assert firing.run_once() == START
    assert desk.ledger.runs() == []
    firing.prepare(START)
    register(desk, "late")
    desk.clock.step(1)
    assert firing.run_once() == START + MINUTE
    assert sorted(run.trigger_name for run in desk.ledger.runs()) == ["late", "tick"]
    assert firing.run_once() == START + MINUTE
    assert dues(desk.ledger.runs()) == [0, 0]


def test_what_changes_after_it_was_planned(desk: Desk, firing: FiringService) -> None:
    """A trigger that is paused in the last moment does not fire; the others do."""
    register(desk)
    register(desk, "other")
    desk.clock.step(-1)
    firing.prepare(START)
    desk.ledger.triggers.pause("tick", "in the last moment", "test")
    desk.clock.step(1)
    firing.run_once()
    assert [run.trigger_name for run in desk.ledger.runs()] == ["other"]


def test_asleep_for_a_day(desk: Desk, firing: FiringService) -> None:
    """Every missed due time is in the ledger; those of the last ten minutes run."""
    register(desk)
    desk.clock.advance(DAY)
    assert firing.run_once() == START + DAY + MINUTE
    runs = desk.ledger.runs()
    assert dues(runs) == list(range(0, DAY // SECOND + 1, 60))
    assert [run.state for run in runs[-11:]] == [RunState.PENDING] * 11
    assert {(run.state, run.reason) for run in runs[:-11]} == {(RunState.SKIPPED, "missed")}


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE_ONE, Overlap.REPLACE])
def test_of_a_long_sleep_the_latest_runs(
    desk: Desk, firing: FiringService, overlap: Overlap
) -> None:
    """Also where it is caught up in several pieces: an old one must not stand in the way."""
    register(desk, every="20s", overlap=overlap, catch_up=DAY)
    desk.clock.advance(DAY)
    firing.run_once()
    runs = desk.ledger.runs()
    assert len(runs) == DAY // SECOND // 20 + 1
    will_run = [run for run in runs if run.ended_at is None and run.cancel is None]
    assert will_run[-1].due_at == START + DAY
    assert dues(will_run)[0] >= DAY // SECOND - 20
    assert {run.reason for run in runs if run.state is RunState.SKIPPED} == {"overlap"}


@pytest.mark.parametrize(("catch_up", "expected"), [("none", 0), (0, 1), (90 * SECOND, 2)])
def test_catch_up(desk: Desk, firing: FiringService, catch_up: Any, expected: int) -> None:
    """None, only the latest, or a window."""
    register(desk, catch_up=catch_up)
    desk.clock.advance(HOUR + 30 * SECOND)
    firing.run_once()
    runs = desk.ledger.runs()
    assert len(runs) == 61
    assert len([run for run in runs if run.state is RunState.PENDING]) == expected


def test_a_clock_set_back_fires_nothing_twice(desk: Desk, firing: FiringService) -> None:
    """What has fired has fired; the next due time comes when the clock shows it."""
    register(desk)
    desk.clock.advance(5 * MINUTE)
    firing.run_once()
    desk.clock.step(-HOUR)
    assert firing.run_once() == START + 6 * MINUTE
    assert len(desk.ledger.runs()) == 6
    desk.clock.advance(HOUR + MINUTE)
    firing.run_once()
    assert dues(desk.ledger.runs()) == list(range(0, 7 * 60, 60))


def test_a_clock_set_forward_catches_up(desk: Desk, firing: FiringService) -> None:
    """The hour that never was is caught up as a sleep would be."""
    register(desk)
    desk.clock.step(HOUR)
    firing.run_once()
    assert dues(desk.ledger.runs()) == list(range(0, 3601, 60))


def test_jitter(desk: Desk, firing: FiringService) -> None:
    """The firing is late by the trigger's share, the due time is not."""
    trigger = register(desk, settings={"jitter": "30s"})
    offset = wake_offset(trigger.uid, CronConnector().schedule({"every": "1m", "jitter": "30s"}))
    firing.run_once()
    if offset:
        assert desk.ledger.runs() == []
    desk.clock.advance(offset)
    assert firing.run_once() == START + MINUTE + offset
    assert dues(desk.ledger.runs()) == [0]


def test_the_last_due_time(desk: Desk, firing: FiringService) -> None:
    """A schedule that ends has fired, and is looked at no more."""
    register(desk, settings={"end": to_rfc3339(START + 90 * SECOND)})
    desk.clock.advance(HOUR)
    assert firing.run_once() is None
    assert dues(desk.ledger.runs()) == [0, 60]
    [partition] = desk.ledger.reads.partitions(desk.ledger.triggers.get("tick").uid)
    assert (partition.planned, partition.wake_at) == (None, None)
    assert desk.ledger.runs()[-1].range_end == "end"


def test_one_trigger_that_cannot_be_planned(desk: Desk, firing: FiringService) -> None:
    """It waits a minute and holds nobody else up."""
    register(desk, "bad", settings={"every": "no duration"})
    register(desk, "good")
    assert firing.run_once() == START + MINUTE
    assert [run.trigger_name for run in desk.ledger.runs()] == ["good"]
    [partition] = desk.ledger.reads.partitions(desk.ledger.triggers.get("bad").uid)
    assert partition.planned == str(START)


def test_many_triggers_in_one_go(desk: Desk, firing: FiringService) -> None:
    """Each fires once."""
    for n in range(30):
        register(desk, f"t{n}")
    firing.run_once()
    assert len({run.trigger_name for run in desk.ledger.runs()}) == 30


class TestClockWatch:
    """Notices when the clock is set."""

    @pytest.mark.parametrize("step", [-HOUR, HOUR, SECOND, -SECOND])
    def test_a_step_wakes_everyone(self, desk: Desk, step: int) -> None:
        """Once for a step, whoever waits for a time."""
        watch, heard = (
            ClockWatch(desk.clock, desk.signals, desk.ledger.waits, Steps(desk.clock)),
            Signal(),
        )
        desk.signals.listen(heard, [Topic.SCHEDULE])
        watch.run_once()
        desk.clock.advance(SECOND)
        watch.run_once()
        assert heard.seen() == 0
        desk.clock.step(step)
        watch.run_once()
        assert heard.seen() == 1
        watch.run_once()
        assert heard.seen() == 1

    def test_drift_is_no_step(self, desk: Desk) -> None:
        """What NTP corrects by and by wakes nobody."""
        watch, heard = (
            ClockWatch(desk.clock, desk.signals, desk.ledger.waits, Steps(desk.clock)),
            Signal(),
        )
        desk.signals.listen(heard, list(Topic))
        for _ in range(20):
            desk.clock.advance(SECOND)
            desk.clock.step(40_000)
            watch.run_once()
        assert heard.seen() == 0

    def test_a_thread_held_up_sees_no_step(self) -> None:
        """A pause between the readings of the two clocks is taken for a step by nobody."""

        class HeldUp(FakeClock):
            held = 0

            def now(self) -> int:
                now = super().now()
                if self.held:
                    self.held -= 1
                    self.advance(2 * SECOND)
                return now

        clock = HeldUp()
        steps = Steps(clock)
        clock.held = 3
        assert steps.look() == 0
        clock.held = 2
        assert steps.pending() == 0
        clock.step(HOUR)
        clock.held = 1
        assert steps.look() == HOUR
