"""Streams from source to job: ranges, dead runs, halves, jumps, restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.domain.states import RunState
from orchestrator.store.errors import Conflict
from tests.support.inprocess import ACTOR, Orch, lines
from tests.support.logruns import done, trigger
from tests.support.logsource import LogConnector
from tests.support.waiting import until


def test_ranges_tile_and_each_runs_once(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """Events become ranges that tile, each handed to one job; `done` follows and is mirrored."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 25)
    log.append("p1", 10)
    orch = start()
    orch.register(trigger(out))
    done(orch, "p0", "25")
    done(orch, "p1", "10")
    log.append("p0", 3)
    done(orch, "p0", "28")
    told = sorted(line.split()[2:] for line in lines(out))
    assert told == [
        ["p0", "0", "10"],
        ["p0", "10", "20"],
        ["p0", "20", "25"],
        ["p0", "25", "28"],
        ["p1", "0", "10"],
    ]
    until(lambda: log.committed == {"p0": "28", "p1": "10"}, "done mirrored", within=10)
    orch.audit()


def test_a_restart_goes_on_where_it_stopped(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A new process plans from the checkpoints; nothing is planned twice."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 20)
    first = start()
    first.register(trigger(out))
    done(first, "p0", "20")
    first.app.stop()
    log.append("p0", 20)
    second = start()
    done(second, "p0", "40")
    assert len(lines(out)) == 4
    second.audit()


def test_a_dead_run_blocks_its_partition_until_it_is_discarded(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """With `on_dead: block` nothing behind a dead run starts, other partitions go on, and
    discarding it lets the line go."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 40)
    log.append("p1", 40)
    orch = start()
    orch.register(trigger(out, 'test "$PART$START" != p010'))
    done(orch, "p1", "40")
    dead = until(
        lambda: [r for r in orch.runs() if r.state is RunState.DEAD], "a dead run", within=20
    )[0]
    assert dead.range_start == "10"
    assert [line.split()[3] for line in lines(out) if " p0 " in line] == ["0", "10", "10"]
    until(lambda: orch.run(dead.id).kept, "the source was asked about it", within=10)
    assert [run.run_id for run in log.kept] == [dead.id]
    orch.app.commands.discard(None, [dead.id], "not worth it", ACTOR)
    done(orch, "p0", "40")
    orch.audit()


def test_a_redriven_run_lets_its_partition_go_on(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A dead run that succeeds when it is redriven unblocks its partition."""
    log, out, good = logs.logs["main"], tmp_path / "out", tmp_path / "good"
    log.append("p0", 20)
    orch = start()
    orch.register(trigger(out, f"test -e {good}"))
    dead = until(
        lambda: [r for r in orch.runs() if r.state is RunState.DEAD], "a dead run", within=20
    )[0]
    good.touch()
    assert orch.app.commands.redrive(None, [dead.id], ACTOR) == 1
    done(orch, "p0", "20")
    orch.audit()


def test_bisect_isolates_one_poison_record(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """One bad record of 1,000 ends alone among the dead letters, released, in at most 20 further
    runs; everything else succeeds, and the ranges of what is left tile."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 1000)
    orch = start()
    poison = 637
    script = f'test "$START" -gt {poison} || test "$END" -le {poison}'
    orch.register(
        trigger(out, script, on_dead="bisect", max_records=1000, retry={"max_attempts": 1})
    )
    done(orch, "p0", "1000")
    runs = orch.runs()
    [dead] = [r for r in runs if r.state is RunState.DEAD]
    assert (dead.range_start, dead.range_end) == (str(poison), str(poison + 1))
    assert dead.released
    assert json.loads(dead.kept or "null") == {"record": {"offset": poison}}
    assert len(runs) - 1 <= 20
    split = [r for r in runs if r.reason == "split"]
    assert all(r.state is RunState.SKIPPED for r in split)
    orch.audit()


def test_skip_lets_dead_runs_pass(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """With `on_dead: skip` a dead run is kept among the dead letters and holds nothing up."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 30)
    orch = start()
    orch.register(trigger(out, 'test "$START" != 10', on_dead="skip"))
    done(orch, "p0", "30")
    [dead] = [r for r in orch.runs() if r.state is RunState.DEAD]
    assert (dead.released, dead.discarded) == (True, False)
    assert orch.app.reads.run_counts()["dead"] == 1
    assert orch.app.commands.redrive(None, [dead.id], ACTOR) == 1
    assert orch.until_ended(dead.id).state is RunState.DEAD
    orch.audit()


def test_parallel_runs_of_a_partition_keep_done_contiguous(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """With `parallelism` later ranges may end first; `done` waits for the first."""
    log, out, go = logs.logs["main"], tmp_path / "out", tmp_path / "go"
    log.append("p0", 30)
    orch = start()
    wait = f'test "$START" != 0 || while ! test -e {go}; do sleep 0.05; done'
    orch.register(trigger(out, wait, parallelism=3))
    until(lambda: len(orch.succeeded("stream")) == 2, "two later ranges", within=20)
    uid = orch.app.triggers.get("stream").uid
    assert [p.done for p in orch.app.source_store.partitions(uid)] == ["0"]
    go.touch()
    done(orch, "p0", "30")
    orch.audit()


def test_checkpoints_are_set_only_while_paused_and_going_back_runs_again(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A jump back makes new runs for the same ranges; the ledger has a bridge for it."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 20)
    orch = start()
    orch.register(trigger(out))
    done(orch, "p0", "20")
    with pytest.raises(Conflict, match="only while it is paused"):
        orch.app.source_store.set_checkpoints("stream", {"p0": "10"}, "again", ACTOR)
    orch.pause("stream")
    orch.app.source_store.set_checkpoints("stream", {"p0": "10"}, "again", ACTOR)
    orch.app.timing.resume("stream", skip=False, actor=ACTOR)
    until(lambda: len(orch.succeeded("stream")) == 3, "the range again", within=20)
    keys = [r.key for r in orch.runs() if (r.range_start, r.range_end) == ("10", "20")]
    assert sorted(keys) == ["p0/10-20", "p0/10-20~1"]
    orch.audit()
