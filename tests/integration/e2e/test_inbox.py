"""From messages to jobs and back: side by side, partly failed, dead, begun anew, hanging."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode
from orchestrator.domain.clock import SECOND
from orchestrator.domain.states import AttemptState, RunState, TriggerState
from orchestrator.store.sources import SourceState
from tests.support.inprocess import ACTOR, Orch, lines
from tests.support.jobs import IMAGE
from tests.support.queuesource import MemoryConnector, MemoryQueue, queue_registry
from tests.support.waiting import until


@pytest.fixture
def outside() -> MemoryConnector:
    """Two queues."""
    connector = MemoryConnector()
    connector.queues = {"main": MemoryQueue(), "other": MemoryQueue()}
    return connector


@pytest.fixture
def start(tmp_path: Path, node: DevNode, outside: MemoryConnector) -> Iterator[Callable[..., Orch]]:
    """Start an orchestrator on the one data directory; the test may stop it and start another."""
    started: list[Orch] = []

    def begin(**settings: Any) -> Orch:
        registry = queue_registry(outside)
        orch = Orch.start(tmp_path / "orch", node.url, registry=registry, **settings)
        started.append(orch)
        return orch

    yield begin
    for orch in started:
        orch.app.stop()


def trigger(script: str, name: str = "main", **more: Any) -> str:
    """A trigger on the queue of its name."""
    engine = {
        "Type": "docker",
        "Params": {
            "Image": IMAGE,
            "Entrypoint": ["/bin/sh", "-c"],
            "Parameters": [script],
        },
    }
    task = {"Name": "main", "Engine": engine, "Env": {"COUNT": "${{ batch.count }}"}}
    document = {"apiVersion": "orch/v1", "kind": "queue", "name": name, "queue": name}
    quick = {"retry": {"max_attempts": 2, "backoff": {"initial": "50ms", "max": "50ms"}}}
    job = {"Type": "batch", "Tasks": [task]}
    return json.dumps({**document, **quick, **more, "job": job})


def empty(queue: MemoryQueue) -> None:
    until(lambda: not queue.messages, "the queue is empty", within=30, show=lambda: vars(queue))


def test_runs_stand_side_by_side(
    start: Callable[..., Orch], outside: MemoryConnector, tmp_path: Path
) -> None:
    """Without a limit of its own nothing keeps the runs of a queue apart."""
    queue, place = outside.queues["main"], tmp_path / "here"
    place.mkdir()
    queue.put(*"abc")
    wait = (
        f'touch {place}/$ORCH_RUN_ID; until [ "$(ls {place} | wc -l)" -ge 3 ]; do sleep 0.05; done'
    )
    orch = start()
    orch.register(trigger(wait))
    empty(queue)
    assert {run.state for run in orch.drained()} == {RunState.SUCCEEDED}
    orch.audit()


def test_of_a_batch_only_what_failed_comes_again(
    start: Callable[..., Orch], outside: MemoryConnector, tmp_path: Path
) -> None:
    """The task names it in its first line of output; it is another firing."""
    queue = outside.queues["main"]
    queue.put(*"abc")
    script = """[ $COUNT = 1 ] || echo '{"orch.failed": [[1, 2]]}'"""
    orch = start()
    orch.register(trigger(script, batch_size=3))
    empty(queue)
    runs = {run.key: run for run in orch.drained()}
    assert len(runs) == 2
    assert runs["b~1"].data["batch"]["count"] == 1
    assert {run.state for run in runs.values()} == {RunState.SUCCEEDED}
    assert sorted(queue.acknowledged) == ["a#1", "b#2", "c#1"]
    assert queue.returned == ["b#1"]
    orch.audit()


@pytest.mark.parametrize("more", [{"listing": True}, {"on_intake": True}])
def test_what_cannot_go_back_is_kept_by_its_run(
    start: Callable[..., Orch], outside: MemoryConnector, tmp_path: Path, more: dict[str, Any]
) -> None:
    """Dead, with all that it was given, also after a sweep; let run again, it succeeds."""
    queue, good = outside.queues["main"], tmp_path / "good"
    ids = ["a", "b"]
    queue.listed += ids if "listing" in more else []
    queue.put(*([] if "listing" in more else ids))
    script = f"""test -e {good} || echo '{{"orch.failed": [[0, 1]]}}'"""
    orch = start()
    orch.register(trigger(script, batch_size=2, **more))
    run = orch.first_run("main", within=20)
    run = orch.until_ended(run.id)
    assert (run.state, run.released) == (RunState.DEAD, False)
    assert "cannot go back" in run.reason
    assert orch.attempts(run)[0].state is AttemptState.FAILED
    orch.app.stop()  # a new one begins with a sweep
    orch = start()
    until(lambda: orch.app.sources.lag("main") is not None, "read again")
    empty(queue)
    good.touch()
    assert orch.app.commands.redrive(None, [run.id], ACTOR) == 1
    assert orch.until_ended(run.id).state is RunState.SUCCEEDED
    assert len(orch.runs()) == 1
    orch.audit()


def test_a_list_that_was_cut_off_fails_the_attempt(
    start: Callable[..., Orch], outside: MemoryConnector, tmp_path: Path
) -> None:
    """Nobody can tell what is missing: the whole batch is tried again."""
    queue = outside.queues["main"]
    queue.put(*"ab")
    pairs = ", ".join(f"[{n}, {n + 1}]" for n in range(0, 1000, 2))
    script = f"""[ $ORCH_ATTEMPT = 2 ] || echo '{{"orch.failed": [{pairs}]}}'"""
    orch = start()
    orch.register(trigger(script, batch_size=2))
    empty(queue)
    [run] = orch.drained()
    first, second = orch.attempts(run)
    assert (first.state, second.state) == (AttemptState.FAILED, AttemptState.SUCCEEDED)
    assert "cut off" in first.reason


@pytest.mark.parametrize("calls", [["poll"], ["acknowledge"], ["poll", "acknowledge", "close"]])
def test_a_connector_that_hangs_is_said_and_begun_anew(
    start: Callable[..., Orch],
    outside: MemoryConnector,
    monkeypatch: pytest.MonkeyPatch,
    calls: list[str],
) -> None:
    """Wherever it hangs, others go on, and its own trigger with a new source."""
    queue, other = outside.queues["main"], outside.queues["other"]
    hang, hung = threading.Event(), set[str]()

    def fault(call: str) -> Callable[[], None]:
        def wait() -> None:
            if call not in hung:
                hung.add(call)
                hang.wait(120)

        return wait

    orch = start(hang_after=SECOND)
    orch.register(trigger("exit 0", extend_ms=100))
    orch.register(trigger("exit 0", "other"))
    uid = orch.app.triggers.get("main").uid
    tell, told = orch.app.source_store.tell, list[SourceState]()

    def spy(trigger_uid: str, state: SourceState, detail: str = "") -> bool:
        if trigger_uid == uid:
            told.append(state)
        return tell(trigger_uid, state, detail)

    monkeypatch.setattr(orch.app.source_store, "tell", spy)
    queue.put("a")
    empty(queue)
    threads = orch.app.sources.threads
    queue.faults = {call: fault(call) for call in calls}
    queue.put("b")
    for number in range(3):
        other.put(f"o{number}")
        empty(other)
    until(lambda: SourceState.STUCK in told, "it is said", within=20, show=lambda: told)
    empty(queue)
    until(lambda: told[-1] is SourceState.OK, "all is well", within=20, show=lambda: told)
    assert {run.state for run in orch.drained()} == {RunState.SUCCEEDED}
    assert len(orch.runs("main")) == 2
    assert orch.app.sources.threads <= threads + 1
    hang.set()
    orch.audit()


def test_a_source_begins_anew_when_it_is_asked_to(
    start: Callable[..., Orch], outside: MemoryConnector
) -> None:
    """All that it has comes again, and runs again."""
    queue = outside.queues["main"]
    queue.listed += ["a", "b"]
    orch = start()
    orch.register(trigger("exit 0", listing=True))
    until(lambda: len(orch.succeeded("main")) == 2, "both ran", within=20)
    orch.pause("main")
    orch.app.source_store.ask_restart("main", "once more", ACTOR)
    orch.app.timing.resume("main", skip=False, actor=ACTOR)
    until(lambda: len(orch.succeeded("main")) == 4, "both ran again", within=30)
    assert {run.key for run in orch.drained()} == {"a", "b", "a~1", "b~1"}
    orch.audit()


def test_what_a_pause_gave_up_is_handed_over_again(
    start: Callable[..., Orch], outside: MemoryConnector
) -> None:
    """Also by a source that goes by a cursor: nothing that was gathered is left out."""
    queue = outside.queues["main"]
    queue.listed += ["a", "b"]
    orch = start()
    orch.register(trigger("exit 0", listing=True, batch_size=3, window_ms=3_600_000))
    until(lambda: "main" in orch.app.sources.lags(), "it is read", within=20)
    until(lambda: queue.opened == 1, "it is open", within=20)
    orch.pause("main")
    until(lambda: orch.app.triggers.get("main").state is TriggerState.PAUSED, "it is paused")
    queue.listed += ["c"]
    orch.app.timing.resume("main", skip=False, actor=ACTOR)
    until(lambda: orch.succeeded("main"), "one run", within=40)
    [run] = orch.drained()
    assert run.data["batch"]["count"] == 3
    assert queue.opened <= 2


def test_a_deleted_trigger_tells_its_source_first(
    start: Callable[..., Orch], outside: MemoryConnector, tmp_path: Path
) -> None:
    """What its last runs have handled is no longer at the queue."""
    queue, go, out = outside.queues["main"], tmp_path / "go", tmp_path / "out"
    queue.put("a")
    orch = start()
    orch.register(trigger(f"echo x >> {out}; until test -e {go}; do sleep 0.05; done"))
    until(lambda: lines(out), "it runs", within=20)
    orch.app.triggers.delete("main", cancel=False, actor=ACTOR)
    queue.put("b")
    go.touch()
    until(lambda: "a" not in queue.messages, "the source was told", within=30)
    assert "b" in queue.messages
    assert len(orch.drained()) == 1


@pytest.mark.postgres
def test_two_orchestrators_share_a_queue(
    node: DevNode, outside: MemoryConnector, tmp_path: Path, postgres_url: str
) -> None:
    """One of them reads it, both let its runs run; the other one goes on where it ends."""
    queue, out = outside.queues["main"], tmp_path / "out"
    shared: dict[str, Any] = {
        "database": postgres_url,
        "key_file": tmp_path / "orch.key",
        "registry": queue_registry(outside),
    }
    first = Orch.start(tmp_path / "first", node.url, **shared)
    try:
        with Orch.start(tmp_path / "second", node.url, **shared) as second:
            queue.put(*(f"m{number}" for number in range(30)))
            first.register(trigger(f"echo $ORCH_RUN_ID >> {out}", max_in_flight=4))
            until(lambda: len(queue.messages) < 20, "some are done", within=60)
            assert queue.opened == 1
            first.app.stop()
            queue.put(*(f"n{number}" for number in range(10)))
            with queue.lock:  # what was received and is in no run: its visibility is over
                for waiting in queue.messages.values():
                    waiting.out = False
            empty(queue)
            runs = second.drained()
            assert len(runs) == 40
            assert {run.state for run in runs} == {RunState.SUCCEEDED}
            assert sorted(lines(out)) == sorted(run.id for run in runs)
            second.audit()
    finally:
        first.app.stop()
