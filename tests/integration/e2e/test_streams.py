"""Streams from source to job: ranges, dead runs, halves, lives, jumps, restarts, broken sources."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode
from connectors.streams import SourceChanged, SourceRefused, SourceUnavailable
from orchestrator.domain.clock import SECOND
from orchestrator.domain.states import RunState
from orchestrator.store.errors import Conflict
from orchestrator.store.sources import SourceState
from orchestrator.store.values import Run
from tests.support.inprocess import ACTOR, Orch, lines
from tests.support.jobs import IMAGE
from tests.support.logsource import Log, LogConnector, log_registry
from tests.support.waiting import until

TELL = 'echo "$ORCH_RUN_ID $ORCH_ATTEMPT $PART $START $END" >> "$OUT"; '


@pytest.fixture
def logs() -> LogConnector:
    """The connector, with one log of one partition."""
    connector = LogConnector()
    connector.logs["main"] = Log(starts={"p0": 0}, ends={"p0": 0})
    return connector


@pytest.fixture
def start(tmp_path: Path, node: DevNode, logs: LogConnector) -> Iterator[Callable[..., Orch]]:
    """Start an orchestrator on the one data directory; the test may stop it and start another."""
    started: list[Orch] = []

    def begin(**settings: Any) -> Orch:
        orch = Orch.start(tmp_path / "orch", node.url, registry=log_registry(logs), **settings)
        started.append(orch)
        return orch

    yield begin
    for orch in started:
        orch.app.stop()


def trigger(out: Path, script: str = "", name: str = "stream", **more: Any) -> str:
    """A trigger on the log whose task writes down what it was given, and then runs `script`."""
    end = "0" if "life_ms" in more else "${{ log.end }}"
    job = {
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "docker",
                    "Params": {
                        "Image": IMAGE,
                        "Entrypoint": ["/bin/sh", "-c"],
                        "Parameters": [TELL + (script or "exit 0")],
                    },
                },
                "Env": {
                    "OUT": str(out),
                    "PART": "${{ log.partition }}",
                    "START": "${{ log.start }}",
                    "END": end,
                },
            }
        ],
    }
    document = {"apiVersion": "orch/v1", "kind": "log", "name": name, "log": "main"}
    quick = {"retry": {"max_attempts": 2, "backoff": {"initial": "50ms", "max": "50ms"}}}
    return json.dumps({**document, **quick, **more, "job": job})


def done(orch: Orch, partition: str, position: str, *, name: str = "stream") -> None:
    """Wait until everything before a position is done."""
    uid = orch.app.triggers.get(name).uid

    def at() -> str | None:
        found = [p.done for p in orch.app.source_store.partitions(uid) if p.name == partition]
        return found[0] if found else None

    until(lambda: at() == position, f"{partition} done up to {position}", within=30, show=at)


def state(orch: Orch, name: str = "stream") -> tuple[SourceState, str]:
    source = orch.app.source_store.get(orch.app.triggers.get(name).uid)
    assert source is not None
    return source.state, source.detail


def ranges(runs: list[Run]) -> list[tuple[str | None, str | None]]:
    return [(run.range_start, run.range_end) for run in runs]


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


@pytest.mark.parametrize("on_lost", ["stop", "continue"])
def test_what_the_source_has_lost_is_in_the_ledger(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path, on_lost: str
) -> None:
    """Events that are gone before they were planned are a dead run; `on_lost` says whether the
    partition waits for a person."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.starts["p0"], log.ends["p0"] = 0, 10
    orch = start()
    orch.register(trigger(out, on_lost=on_lost))
    done(orch, "p0", "10")
    with log.lock:
        log.starts["p0"], log.ends["p0"] = 15, 20
    dead = until(
        lambda: [r for r in orch.runs() if r.state is RunState.DEAD], "a lost range", within=20
    )[0]
    assert (dead.range_start, dead.range_end) == ("10", "15")
    assert dead.reason == "lost range: 5 events are gone"
    if on_lost == "stop":
        orch.app.commands.discard(None, [dead.id], "seen", ACTOR)
    done(orch, "p0", "20")
    assert [line.split()[3] for line in lines(out)] == ["0", "15"]
    orch.audit()


def test_a_task_that_finds_its_start_gone_says_so(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """Exit 64 is a lost range: dead at once, without further attempts."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 5)
    orch = start()
    orch.register(trigger(out, "exit 64", on_lost="continue"))
    done(orch, "p0", "5")
    [run] = orch.runs()
    assert run.state is RunState.DEAD
    assert run.reason.startswith("lost range: ")
    assert run.attempts == 1


def test_a_range_that_is_gone_before_its_next_attempt_is_not_sent(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """The log's start is looked at before each attempt."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 5)
    orch = start()
    retry = {"max_attempts": 5, "backoff": {"initial": "1s", "max": "1s"}}
    orch.register(trigger(out, "exit 1", retry=retry, on_lost="continue"))
    until(lambda: len(lines(out)) == 1, "the first attempt", within=20)
    with log.lock:
        log.starts["p0"] = 5
    done(orch, "p0", "5")
    [run] = orch.runs()
    assert run.reason == "lost range: p0 has nothing at 0 any more, its oldest is 5"
    assert [a.job_name.startswith("unsent-") for a in orch.attempts(run)][-1]


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


def test_another_source_under_the_same_name_stops_until_a_person_decides(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A source with another identity is not read; after `restart` it is, from its beginning."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 10)
    first = start()
    first.register(trigger(out))
    done(first, "p0", "10")
    first.app.stop()
    log.identity, log.ends = "two", {"p0": 4}
    orch = start()
    until(lambda: state(orch)[0] is SourceState.CHANGED, "the change is seen", within=20)
    assert "orch checkpoints restart stream" in state(orch)[1]
    assert len(lines(out)) == 1
    orch.pause("stream")
    orch.app.source_store.ask_restart("stream", "made again", ACTOR)
    orch.app.timing.resume("stream", skip=False, actor=ACTOR)
    done(orch, "p0", "4")
    assert [line.split()[3:] for line in lines(out)] == [["0", "10"], ["0", "4"]]
    orch.audit()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SourceUnavailable("nobody answers"), SourceState.UNAVAILABLE),
        (SourceRefused("no such topic"), SourceState.REFUSED),
        (SourceChanged("another one"), SourceState.CHANGED),
        (ZeroDivisionError("a plugin's own"), SourceState.BROKEN),
    ],
)
def test_trouble_with_a_source_is_a_state_of_it(
    start: Callable[..., Orch],
    logs: LogConnector,
    tmp_path: Path,
    error: Exception,
    expected: SourceState,
) -> None:
    """Whatever a source raises is shown, disturbs no other trigger, and passes by itself."""
    logs.logs["other"] = Log(starts={"p0": 0}, ends={"p0": 0})
    log, other, out = logs.logs["main"], logs.logs["other"], tmp_path / "out"

    def fail() -> None:
        raise error

    log.fault = fail
    orch = start()
    orch.register(trigger(out))
    orch.register(trigger(tmp_path / "others", name="other", log="other"))
    until(lambda: state(orch)[0] is expected, "the trouble is seen", within=20)
    assert str(error) in state(orch)[1]
    other.append("p0", 5)
    done(orch, "p0", "5", name="other")
    assert state(orch, "other") == (SourceState.OK, "")
    if expected in (SourceState.UNAVAILABLE, SourceState.REFUSED):
        log.fault = None
        log.append("p0", 5)
        done(orch, "p0", "5")
        until(lambda: state(orch) == (SourceState.OK, ""), "all is well", within=10)


def test_a_call_that_hangs_is_seen_and_the_source_opened_anew(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A connector that hangs holds nobody else up, and its trigger goes on with a new source."""
    log, out, hang = logs.logs["main"], tmp_path / "out", threading.Event()
    hung: list[int] = []

    def fault() -> None:
        if not hung:
            hung.append(1)
            hang.wait(120)

    log.fault = fault
    log.append("p0", 5)
    orch = start(hang_after=SECOND)
    orch.register(trigger(out))
    done(orch, "p0", "5")
    assert log.opened == 2
    hang.set()
    orch.audit()


def test_objects_of_ended_runs_are_removed(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """Input sources that a run brought along are sent with its job and forgotten after `keep`;
    without them the run is not tried again with nothing to read."""
    log, out, bad = logs.logs["main"], tmp_path / "out", tmp_path / "bad"
    bad.touch()
    log.append("p0", 20)
    orch = start()
    script = f'! {{ test -e {bad} && test "$START" = 10; }}'
    orch.register(trigger(out, script, stored=True, on_dead="skip"))
    done(orch, "p0", "20")
    first, second = orch.runs()
    assert (first.state, second.state) == (RunState.SUCCEEDED, RunState.DEAD)
    assert first.payload is not None
    assert second.payload is not None
    # The sweep comes round every half a minute; a new reader begins with one.
    orch.app.stop()
    orch = start()
    until(lambda: len(log.forgotten) == 2, "the objects are removed", within=20)
    until(lambda: orch.run(second.id).payload is None, "the run knows it", within=10)
    assert orch.app.commands.redrive(None, [second.id], ACTOR) == 1
    again = orch.until_ended(second.id)
    assert "has been removed after `keep`" in again.reason
    orch.audit()


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


def test_deleting_a_trigger_lets_go_of_its_source(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A deleted trigger's source is closed once its runs have ended."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 5)
    orch = start()
    orch.register(trigger(out))
    done(orch, "p0", "5")
    orch.app.triggers.delete("stream", cancel=False, actor=ACTOR)
    until(lambda: log.closed_sources == 1, "the source is closed", within=20)


def test_a_closed_partition_ends(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """A partition that is closed for ever is planned to its end and then left alone."""
    log, out = logs.logs["main"], tmp_path / "out"
    log.append("p0", 12)
    log.closed.add("p0")
    orch = start()
    orch.register(trigger(out))
    uid = orch.app.triggers.get("stream").uid
    until(
        lambda: (
            [(p.planned, p.done) for p in orch.app.source_store.partitions(uid)] == [(None, None)]
        ),
        "the partition is closed and done",
        within=20,
    )
    orch.audit()
