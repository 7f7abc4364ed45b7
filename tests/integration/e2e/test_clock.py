"""The system clock steps while the daemon runs, and a daemon that slept for a day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode
from orchestrator.domain.clock import DAY, HOUR, MINUTE, SECOND
from orchestrator.domain.states import RunState
from tests.support.inprocess import ACTOR, Orch, ShiftedClock, Witness
from tests.support.jobs import NEVER, shell
from tests.support.waiting import until

_FLAKY = "[ $ORCH_ATTEMPT = 3 ] || exit 3"
_RETRY = {"max_attempts": 3, "backoff": {"initial": "1s", "max": "2s"}}


@pytest.fixture
def clock() -> ShiftedClock:
    """A clock to be set."""
    return ShiftedClock()


@pytest.fixture
def orch(tmp_path: Path, node: DevNode, clock: ShiftedClock) -> Iterator[Orch]:
    """An orchestrator on that clock."""
    with Orch.start(tmp_path / "orch", node.url, clock=clock) as orch:
        yield orch


def _keys(orch: Orch, trigger: str) -> list[str]:
    return [run.key for run in orch.runs(trigger)]


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_what_is_under_way_ends_as_without_the_step(
    orch: Orch, clock: ShiftedClock, tmp_path: Path, step: int
) -> None:
    """A running job is neither stopped nor forgotten, a retry comes after its own backoff, and a
    run fired afterwards starts at once, when the clock is set by an hour."""
    gate = tmp_path / "gate"
    orch.register(shell("long", f"until [ -e {gate} ]; do sleep .1; done", at=NEVER, timeout="10m"))
    orch.register(shell("flaky", _FLAKY, at=NEVER, retry=_RETRY))
    long = orch.app.timing.fire("long", ACTOR)
    orch.until_run(long, lambda run: run.state is RunState.RUNNING, "runs")
    flaky = orch.app.timing.fire("flaky", ACTOR)
    orch.until_run(flaky, lambda run: run.tries == 1, "has failed once")
    clock.step(step)
    run = orch.until_ended(flaky)
    assert (run.state, run.attempts) == (RunState.SUCCEEDED, 3)
    orch.register(shell("new", "exit 0", at=NEVER))
    assert orch.until_ended(orch.app.timing.fire("new", ACTOR)).state is RunState.SUCCEEDED
    assert orch.run(long).state is RunState.RUNNING
    gate.touch()
    run = orch.until_ended(long)
    assert (run.state, run.attempts) == (RunState.SUCCEEDED, 1)


def test_back_an_hour_fires_nothing_twice(orch: Orch, clock: ShiftedClock) -> None:
    """Due times that have run do not run again; those to come wait for the clock to reach them."""
    orch.register(shell("tick", "exit 0", every="1s", overlap="allow"))
    until(lambda: len(orch.succeeded("tick")) >= 3, "ticks")
    clock.step(-HOUR)
    orch.drained()
    before = _keys(orch, "tick")
    # Another trigger shows that time goes on: it begins at the time that it is now.
    orch.register(shell("late", "exit 0", every="1s", overlap="allow"))
    until(lambda: len(orch.succeeded("late")) >= 2, "the other ticks")
    assert _keys(orch, "tick") == before
    clock.step(HOUR)
    until(lambda: len(_keys(orch, "tick")) > len(before), "ticks go on")
    orch.pause("tick", "late")
    orch.drained()
    keys = _keys(orch, "tick")
    assert len(keys) == len(set(keys))
    orch.audit()


def test_forward_an_hour_takes_every_due_time_in(orch: Orch, clock: ShiftedClock) -> None:
    """What the step passed over is in the ledger: the newest run, the others are skipped."""
    orch.register(
        shell("tick", "exit 0", every="10s", overlap="allow", catch_up="1m", catch_up_limit=3)
    )
    clock.step(HOUR)
    until(lambda: len(_keys(orch, "tick")) >= 359, "the hour is in the ledger")
    orch.pause("tick")
    runs = orch.drained()
    due = [run.due_at for run in runs]
    assert due == [due[0] + n * 10 * SECOND for n in range(len(due))]
    ran = [run for run in runs if run.state is RunState.SUCCEEDED]
    assert 3 <= len(ran) <= 4  # one more may have come due since
    assert {run.reason for run in runs if run.state is RunState.SKIPPED} == {"missed"}
    assert runs[-1].state is RunState.SUCCEEDED
    orch.audit()


def test_asleep_for_a_day(
    orch: Orch, clock: ShiftedClock, tmp_path: Path, node: DevNode, witness: Witness
) -> None:
    """Started after a day, every due time of it has a row; those of the last ten minutes run."""
    orch.register(shell("minutely", "exit 0", every="1m", overlap="allow"))
    orch.register(shell("daily", "exit 0", every="1d", overlap="skip"))
    long = orch.app.timing.fire(orch.register(shell("long", "sleep 1", at=NEVER)).name, ACTOR)
    orch.until_run(long, lambda run: run.state is RunState.RUNNING, "runs")
    orch.app.stop()
    begun = clock.now()
    until(lambda: not witness.live(), "the job has ended meanwhile")
    clock.step(DAY)
    with Orch.start(tmp_path / "orch", node.url, clock=clock) as again:
        until(lambda: len(_keys(again, "minutely")) >= 1440, "the day is in the ledger")
        again.pause("minutely")
        runs = [r for r in again.drained() if r.trigger_name == "minutely" and r.due_at > begun]
        due = [run.due_at for run in runs]
        assert due[0] <= begun + MINUTE
        assert due == [due[0] + n * MINUTE for n in range(len(due))]
        ran = [run for run in runs if run.state is RunState.SUCCEEDED]
        assert 10 <= len(ran) <= 12
        assert ran == runs[-len(ran) :]
        assert [run.state for run in again.runs("daily")] == [RunState.SUCCEEDED]
        run = again.run(long)
        assert (run.state, run.attempts) == (RunState.SUCCEEDED, 1)
        again.audit()
