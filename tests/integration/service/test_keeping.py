"""Services from trigger to job: started again whatever ends them, and never one too many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import specs
from orchestrator.domain.states import RunState, TriggerState
from orchestrator.store.errors import Conflict
from tests.support.inprocess import ACTOR, Orch
from tests.support.jobs import shell
from tests.support.services import (
    NAME,
    QUICK,
    end,
    never_two_at_once,
    service,
    sessions,
    shown,
    states,
)
from tests.support.waiting import until

PATIENT = "5s"  # a lease that no busy machine lets pass


def saying(orch: Orch, state: str, words: str) -> dict[str, Any]:
    """The only copy, once it is in this state and says so."""

    def look() -> dict[str, Any] | None:
        found = [c for c in shown(orch) if c["state"] == state and c["detail"].startswith(words)]
        return found[0] if found else None

    return until(look, f"{state}: {words}", show=lambda: shown(orch))


def apply(orch: Orch, text: str) -> None:
    """Change the trigger as `orch apply` does."""
    checker = orch.app.registrar.checker
    checked = checker.check(checker.parse(specs.load(text)), base_dir=None)
    orch.app.registrar.apply(checked, ACTOR)


def test_copies_are_there_and_well(orch: Orch, tmp_path: Path) -> None:
    """As many as asked for, each by itself; what they report is seen."""
    file = tmp_path / "out"
    orch.register(service(file, copies=3, lease=PATIENT))
    until(lambda: states(orch) == ["running"] * 3, "all are well", show=lambda: shown(orch))
    until(lambda: all(copy["checkpoint"] for copy in shown(orch)), "they report")
    assert sorted({session.copy for session in sessions(file)}) == ["0", "1", "2"]
    found = shown(orch)[1]
    assert (found["copy"], found["failures"], found["lives"], found["version"]) == (1, 0, 1, 1)
    assert found["progress"]["steps"] >= 1
    assert len(never_two_at_once(file)) == 3
    orch.audit()


def test_a_copy_is_started_again_whatever_it_exits_with(orch: Orch, tmp_path: Path) -> None:
    """Also with 0. The next life goes on from the checkpoint, is another run, and what failed
    waits for nobody."""
    file = tmp_path / "out"
    orch.register(service(file, "once"))
    until(lambda: len(sessions(file)) >= 3, "three lives", show=lambda: shown(orch))
    end(orch)
    lives = never_two_at_once(file)
    assert [life.first for life in lives[:3]] == [0, 3, 6]
    good = orch.succeeded(NAME)
    assert [run.key for run in good[:2]] == ["copy-0/1", "copy-0/2"]
    apply(orch, service(file, "exit 3"))
    orch.app.triggers.resume(NAME, {}, ACTOR)
    copy = saying(orch, "crash_loop", "crash loop, exit 3, next start in 1 s")
    assert copy["failures"] >= 3
    end(orch)
    dead = [run for run in orch.runs(NAME) if run.state is RunState.DEAD]
    assert dead
    assert all(run.discarded and run.released for run in dead)
    with pytest.raises(Conflict, match="life of a service"):
        orch.app.commands.retry(dead[0].id, ACTOR)
    with pytest.raises(Conflict, match="run by themselves"):
        orch.app.timing.fire(NAME, ACTOR)
    never_two_at_once(file)


def test_pauses_grow_and_a_change_ends_them(orch: Orch, tmp_path: Path) -> None:
    """A copy that crashes waits; a new version of its trigger is tried at once."""
    file = tmp_path / "out"
    slow = {"initial": "30s", "max": "5m", "healthy_after": "1m"}
    orch.register(service(file, "exit 1", backoff=slow))
    copy = saying(orch, "waiting", "exit 1, next start in ")
    assert copy["next_at"] is not None
    apply(orch, service(file, "good", backoff=slow))
    until(lambda: states(orch) == ["running"], "it is well", show=lambda: shown(orch))
    assert shown(orch)[0]["failures"] == 0
    end(orch)


def test_a_task_that_falls_silent_is_replaced(orch: Orch, tmp_path: Path) -> None:
    """After its lease; the next begins once the silent one has had the time to end itself."""
    file = tmp_path / "out"
    orch.register(service(file, "mute"))
    until(lambda: len(sessions(file)) >= 2, "another life", within=30, show=lambda: shown(orch))
    end(orch)
    first, second = never_two_at_once(file)[:2]
    [run] = [run for run in orch.runs(NAME) if run.key == "copy-0/1"]
    assert (run.state, run.reason) == (RunState.DEAD, "no heartbeat for 1.5 s")
    [attempt] = orch.attempts(run)
    assert attempt.ended_at is not None
    assert attempt.stopped_at is not None
    assert attempt.ended_at - attempt.stopped_at >= 1_700_000, "lease and grace"
    assert second.begun // 1000 >= attempt.ended_at
    assert first.last >= second.first


def test_a_change_starts_the_new_one_first(orch: Orch, tmp_path: Path) -> None:
    """The old one goes on until the new one is well, and is told to leave then; it says so."""
    file, other = tmp_path / "out", tmp_path / "other"
    orch.register(service(file, lease=PATIENT))
    until(lambda: states(orch) == ["running"], "version 1 is well", show=lambda: shown(orch))
    [old] = orch.runs(NAME)
    seen: list[str] = []
    apply(orch, service(other, lease=PATIENT))

    def taken_over() -> bool:
        seen.extend(copy["detail"] for copy in shown(orch) if copy["state"] == "replacing")
        return orch.run(old.id).cancel is not None

    until(taken_over, "the old one has left", show=lambda: shown(orch))
    assert any(detail.startswith("version 2 beside version 1") for detail in seen)
    assert orch.run(old.id).cancel == "replaced by version 2"
    ended = orch.until_ended(old.id)
    assert (ended.state, ended.reason) == (RunState.CANCELLED, "replaced by version 2")
    until(lambda: states(orch) == ["running"], "version 2 is well", show=lambda: shown(orch))
    [before], [after] = sessions(file), sessions(other)
    assert after.first >= 1, "it goes on from what the old one had reported"
    assert before.last >= after.first


def test_a_change_that_fails_leaves_the_old_one(orch: Orch, tmp_path: Path) -> None:
    """It is tried again and again beside it, and the old one works on."""
    file = tmp_path / "out"
    orch.register(service(file, lease=PATIENT))
    until(lambda: states(orch) == ["running"], "version 1 is well", show=lambda: shown(orch))
    [old] = orch.runs(NAME)
    text = json.loads(service(file, lease=PATIENT))
    text["job"]["Tasks"][0]["Engine"]["Params"]["Entrypoint"] = ["/bin/false"]
    apply(orch, json.dumps(text))

    def tried() -> bool:
        return sum(run.state is RunState.DEAD for run in orch.runs(NAME)) >= 3

    until(tried, "it was tried three times", show=lambda: shown(orch))
    assert orch.run(old.id).cancel is None
    assert orch.run(old.id).ended_at is None
    apply(orch, service(tmp_path / "mended", lease=PATIENT))
    until(lambda: orch.run(old.id).cancel is not None, "replaced", show=lambda: shown(orch))


def test_stop_first_never_has_two(orch: Orch, tmp_path: Path) -> None:
    """The old one has left, and its lease is over, before the new one begins."""
    file = tmp_path / "out"
    orch.register(service(file, update="stop_first"))
    until(lambda: states(orch) == ["running"], "version 1 is well", show=lambda: shown(orch))
    apply(orch, service(file, update="stop_first", priority=1))
    until(lambda: len(sessions(file)) == 2, "version 2 works", show=lambda: shown(orch))
    end(orch)
    never_two_at_once(file)


def test_fewer_copies_leave(orch: Orch, tmp_path: Path) -> None:
    """A copy that is not wanted any more is told to leave, and comes back when it is."""
    file = tmp_path / "out"
    orch.register(service(file, copies=2))
    until(lambda: states(orch) == ["running"] * 2, "both are well", show=lambda: shown(orch))
    apply(orch, service(file, copies=0))
    until(lambda: states(orch) == ["off"] * 2, "none is there", show=lambda: shown(orch))
    apply(orch, service(file, copies=1))
    until(lambda: states(orch) == ["running", "off"], "one is", show=lambda: shown(orch))
    end(orch)
    never_two_at_once(file)


@pytest.mark.parametrize("state", ["running", "waiting", "replacing"])
def test_deleted_in_any_state(orch: Orch, tmp_path: Path, state: str) -> None:
    """Its lives end, whatever it was about to do, and none begins any more."""
    file = tmp_path / "out"
    slow = {"initial": "30s", "max": "5m", "healthy_after": "1m"}
    bad: dict[str, Any] = {"mode": "exit 1", "backoff": slow} if state == "waiting" else {}
    uid = orch.register(service(file, lease=PATIENT, **bad)).uid
    if state == "replacing":
        until(lambda: states(orch) == ["running"], "it is well", show=lambda: shown(orch))
        apply(orch, service(file, "plain", lease=PATIENT))
    until(lambda: states(orch) == [state], state, show=lambda: shown(orch))
    orch.app.triggers.delete(NAME, cancel=True, actor=ACTOR)
    ended = orch.drained()

    def deleted() -> bool:
        row = orch.app.source_store.get(uid)
        return row is None or row.trigger_state is TriggerState.DELETED

    until(deleted, "it is gone", show=lambda: orch.app.source_store.get(uid))
    assert [run.id for run in orch.runs()] == [run.id for run in ended]
    assert {run.state for run in ended} <= {RunState.CANCELLED, RunState.DEAD}
    orch.audit()


def test_copies_follow_the_work_of_another_trigger(orch: Orch, tmp_path: Path) -> None:
    """From none, when runs of it wait, and back to none once none do."""
    file = tmp_path / "out"
    orch.register(shell("orders", f"while [ ! -e {tmp_path / 'go'} ]; do sleep 0.05; done"))
    scale = {"min": 0, "max": 2, "of": "orders", "target": 2, "down_after": "1s"}
    orch.register(service(file, scale=scale))
    until(lambda: states(orch) == ["off"] * 0, "none at first")
    orch.pause("orders")
    for _ in range(4):
        orch.app.timing.fire("orders", ACTOR)
    until(lambda: states(orch) == ["running"] * 2, "two", show=lambda: shown(orch))
    (tmp_path / "go").touch()
    until(lambda: states(orch) == ["off"] * 2, "none", within=30, show=lambda: shown(orch))
    end(orch)
    orch.drained()


def test_a_scale_needs_its_trigger(orch: Orch, tmp_path: Path) -> None:
    """Where it is not there, the service says so."""
    orch.register(service(tmp_path / "out", scale={"max": 2, "of": "nobody", "target": 2}))

    def detail() -> str:
        source = orch.app.source_store.get(orch.app.triggers.get(NAME).uid)
        return "" if source is None else f"{source.state}: {source.detail}"

    expected = "refused: scale.of: there is no trigger 'nobody'"
    until(lambda: detail() == expected, "it says so", show=detail)


def test_a_task_without_a_network_reports_by_its_output(orch: Orch) -> None:
    """The first line of a life that ended well is the checkpoint of the next one."""
    script = 'n=$((ORCH_CHECKPOINT + 1)); echo "{\\"orch.checkpoint\\": $n}"'
    job = json.loads(shell("x", f"[ $ORCH_CHECKPOINT = null ] && ORCH_CHECKPOINT=0; {script}"))
    document = {"apiVersion": "orch/v1", "kind": "service", "name": NAME, "job": job["job"]}
    quick = {"heartbeat": "none", "backoff": QUICK["backoff"]}
    orch.register(json.dumps({**document, **quick}))
    until(
        lambda: (shown(orch) or [{}])[0].get("checkpoint") == 3, "three", show=lambda: shown(orch)
    )
    assert shown(orch)[0]["failures"] == 0
    end(orch)


def test_without_heartbeats_a_job_that_runs_is_well(orch: Orch, tmp_path: Path) -> None:
    """A change replaces it once the new one has run for some seconds."""
    file = tmp_path / "out"
    plain = {"heartbeat": "none", "lease": None}
    orch.register(service(file, "plain", **plain))
    until(lambda: states(orch) == ["running"], "it runs", show=lambda: shown(orch))
    apply(orch, service(file, "plain", priority=1, **plain))
    [old] = orch.runs(NAME)[:1]
    until(lambda: orch.run(old.id).ended_at is not None, "replaced", show=lambda: shown(orch))
    assert orch.run(old.id).reason == "replaced by version 2"
    end(orch)


def test_what_is_meant_for_work_that_ends_is_refused(orch: Orch, tmp_path: Path) -> None:
    """Retries, timeouts, rates: a service has its own words for them."""
    policies: list[dict[str, Any]] = [
        {"retry": {"max_attempts": 2}},
        {"timeout": "1m"},
        {"rate": 5},
        {"overlap": "skip"},
        {"on_dead": "skip"},
        {"max_in_flight": 3},
        {"trip_after": 3},
    ]
    for policy in policies:
        with pytest.raises(specs.SpecError, match="always run"):
            orch.register(service(tmp_path / "out", **policy))
