"""What goes wrong with a source of a stream, what it loses, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from connectors.streams import SourceChanged, SourceRefused, SourceUnavailable
from orchestrator.domain.clock import SECOND
from orchestrator.domain.states import RunState
from orchestrator.store.sources import SourceState
from tests.support.inprocess import ACTOR, Orch, lines
from tests.support.logruns import done, state, trigger
from tests.support.logsource import Log, LogConnector
from tests.support.waiting import until


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


def test_trouble_with_one_partition_holds_no_other_up(
    start: Callable[..., Orch], logs: LogConnector, tmp_path: Path
) -> None:
    """It is named in the source's state and in the API; the others go on, and it does later."""
    log = logs.logs["main"]
    log.offline["p1"] = "nobody leads it"
    log.append("p0", 5)
    log.append("p1", 5)
    orch = start()
    orch.register(trigger(tmp_path / "out"))
    done(orch, "p0", "5")
    detail = "p1: nobody leads it (the other partitions go on)"
    until(lambda: state(orch) == (SourceState.UNAVAILABLE, detail), "it is named", within=10)
    answer = requests.get(f"{orch.app.server.url}/api/v1/checkpoints?trigger=stream", timeout=10)
    shown = {item["partition"]: item["trouble"] for item in answer.json()["items"]}
    assert shown == {"p0": None, "p1": "nobody leads it"}
    del log.offline["p1"]
    done(orch, "p1", "5")
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
    assert log.opened >= 2  # a slow machine may take another call for one that hangs
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
