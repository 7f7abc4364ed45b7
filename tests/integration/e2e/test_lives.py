"""Long-lived consumers of a stream: their progress, the next one, those that stall."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.domain.states import RunState
from tests.support.inprocess import ACTOR, Orch, lines
from tests.support.logruns import done, trigger
from tests.support.logsource import LogConnector
from tests.support.waiting import until


def test_a_life_follows_its_progress_and_the_next_begins_there(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A long-lived consumer's range ends where it has committed; commits of others do not count."""
    log, out, go = logs.logs["main"], tmp_path / "out", tmp_path / "go"
    log.append("p0", 100)
    orch = start()
    script = f"while ! test -e {go}; do sleep 0.05; done; rm {go}"
    orch.register(trigger(out, script, life_ms=60_000))
    first = until(lambda: lines(out), "a life", within=20)[0].split()
    log.progress["p0"] = ("somebody", 1, 90)
    run = orch.run(first[0])
    assert (run.range_start, run.range_end) == ("0", "0")
    log.progress["p0"] = (first[0], 1, 40)
    done(orch, "p0", "40")
    log.progress["p0"] = (first[0], 1, 70)
    go.touch()
    until(lambda: len(lines(out)) == 2, "the next life", within=20)
    second = lines(out)[1].split()
    assert second[3] == "70"
    ended = orch.run(first[0])
    assert (ended.state, ended.range_start, ended.range_end) == (RunState.SUCCEEDED, "0", "70")
    log.progress["p0"] = (second[0], 1, 100)
    go.touch()
    done(orch, "p0", "100")
    until(lambda: orch.run(second[0]).ended_at is not None, "it has ended", within=20)
    assert len(orch.runs()) == 2
    orch.audit()


def test_a_life_that_dies_goes_on_from_its_progress(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """Another attempt begins where the store says; progress gives it all its attempts again."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 30)
    orch = start()
    orch.register(trigger(out, 'test "$START" = 20', life_ms=60_000, retry={"max_attempts": 3}))
    first = until(lambda: lines(out), "a life", within=20)[0].split()
    log.progress["p0"] = (first[0], 1, 20)
    run = orch.until_ended(first[0])
    assert run.state is RunState.SUCCEEDED
    begun = [line.split()[3] for line in lines(out)]
    assert begun[0] == "0"
    assert begun[-1] == "20"
    orch.pause("stream")
    orch.audit()


def test_a_life_that_lags_without_progress_is_replaced(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A consumer that is stuck is stopped and started again."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 30)
    orch = start()
    orch.register(trigger(out, "sleep 60", life_ms=60_000, stall_ms=500, stop_grace="0s"))
    until(lambda: len(lines(out)) >= 2, "a second consumer", within=40)
    run = orch.run(lines(out)[0].split()[0])
    assert "stalled: 30 events behind" in orch.attempts(run)[0].reason
    orch.pause("stream")
    orch.app.commands.cancel(run.id, "the test ends", ACTOR)
    orch.until_ended(run.id)
