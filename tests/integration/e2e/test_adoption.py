"""Which jobs are ours: foreign names, other versions, other clusters, lost stores, copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode
from orchestrator.domain import names
from orchestrator.domain.states import AttemptState, RunState, TriggerState
from orchestrator.services.cluster import ClusterState
from orchestrator.store import backup
from tests.support.inprocess import ACTOR, Orch, Witness, lines
from tests.support.jobs import IMAGE, NEVER, shell
from tests.support.proxy import Exchange, Proxy, answer
from tests.support.waiting import until

_BACKOFF = {"initial": "50ms", "max": "100ms"}
_LONG = "sleep 60"


def _foreign(name: str, script: str = "exit 0", **labels: str) -> dict[str, Any]:
    """Somebody else's job."""
    params = {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    task = {"Name": "main", "Engine": {"Type": "docker", "Params": params}}
    return {"Name": name, "Type": "batch", "Count": 1, "Labels": labels, "Tasks": [task]}


def _fire(orch: Orch, text: str) -> str:
    return orch.app.timing.fire(orch.register(text).name, ACTOR)


@pytest.fixture
def patient(tmp_path: Path, node: DevNode) -> Iterator[Orch]:
    """An orchestrator without a proxy, whose node the test changes."""
    with Orch.start(tmp_path / "orch", node.url) as orch:
        yield orch


def test_foreign_job_of_our_name_is_not_adopted(orch: Orch, proxy: Proxy, witness: Witness) -> None:
    """In doubt, a job of our name with other labels is found: the run is dead, loudly."""

    def usurp(exchange: Exchange) -> None:
        foreign = _foreign(exchange.job_name, **{"orch.run": "another", "orch.attempt": "1"})
        witness.client.jobs.put(foreign)

    proxy.rule(usurp, method="PUT", times=1)
    run = orch.until_ended(_fire(orch, shell("ours", "exit 0", at=NEVER)))
    assert (run.state, run.attempts) == (RunState.DEAD, 1)
    assert "another job of the name" in run.reason
    assert "not adopted" in run.reason
    assert [job.version for job in witness.jobs()] == [1]


def test_foreign_name_taken_before_the_first_put(
    orch: Orch, proxy: Proxy, witness: Witness
) -> None:
    """Where the name was somebody else's already, our PUT made a version 2 of it: no success."""

    def usurp(exchange: Exchange) -> None:
        witness.client.jobs.put(_foreign(exchange.job_name))
        exchange.send(exchange.forward())

    proxy.rule(usurp, method="PUT", times=1)
    run = orch.until_ended(_fire(orch, shell("ours", "exit 0", at=NEVER)))
    assert (run.state, run.attempts) == (RunState.DEAD, 1)
    assert "version 2" in run.reason


def test_other_version_of_our_job_is_not_ours(orch: Orch, witness: Witness) -> None:
    """Somebody sends other bytes under our running job's name: the run is dead, loudly."""
    run_id = _fire(orch, shell("ours", _LONG, at=NEVER))
    orch.until_run(run_id, lambda run: run.state is RunState.RUNNING, "runs")
    witness.client.jobs.put(_foreign(witness.jobs()[0].name))
    run = orch.until_ended(run_id)
    assert (run.state, run.attempts) == (RunState.DEAD, 1)
    assert "version 2" in run.reason


def test_changed_cluster_stops_the_dispatch_until_it_is_accepted(
    patient: Orch, node: DevNode, witness: Witness, tmp_path: Path
) -> None:
    """Another cluster at the same address gets nothing, also over a restart, until `accept`."""
    orch = patient
    orch.until_ended(_fire(orch, shell("first", "exit 0", at=NEVER)))
    node.become_another_cluster()
    long = _fire(orch, shell("second", _LONG, at=NEVER, stop_grace="200ms"))
    cluster = orch.app.cluster
    until(lambda: cluster.status.state is ClusterState.CHANGED, "the change is noticed")
    orch.app.stop()
    before = len(witness.jobs())
    with Orch.start(tmp_path / "orch", node.url) as orch:
        third = _fire(orch, shell("third", "exit 0", at=NEVER))
        assert orch.app.cluster.status.state is ClusterState.CHANGED
        assert orch.app.cluster.status.blocked
        assert len(witness.jobs()) == before
        orch.app.cluster.accept()
        assert orch.until_ended(third).state is RunState.SUCCEEDED
        orch.app.commands.cancel(long, "enough", ACTOR)
        assert orch.until_ended(long).state is RunState.CANCELLED
        assert not witness.live()


def test_changed_cluster_after_a_restart_gets_nothing(
    patient: Orch, node: DevNode, witness: Witness, tmp_path: Path
) -> None:
    """The daemon asks who answers before it sends anything."""
    patient.until_ended(_fire(patient, shell("first", "exit 0", at=NEVER)))
    patient.app.stop()
    node.become_another_cluster()
    before = len(witness.jobs())
    with Orch.build(tmp_path / "orch", node.url) as orch:
        run_id = _fire(orch, shell("second", "exit 0", at=NEVER))
        orch.app.start()
        until(lambda: orch.app.cluster.status.state is ClusterState.CHANGED, "it is noticed")
        assert len(witness.jobs()) == before
        orch.app.cluster.accept()
        assert orch.until_ended(run_id).state is RunState.SUCCEEDED


def test_lost_store_stops_the_dispatch_until_it_is_accepted(
    patient: Orch, node: DevNode, witness: Witness
) -> None:
    """A cluster that has forgotten its jobs gets no more of them; after `accept` they are tried
    again there."""
    orch = patient
    orch.register(shell("short", "exit 0", at=NEVER, overlap="allow"))
    orch.register(shell("long", "[ $ORCH_ATTEMPT = 2 ] || sleep 60", at=NEVER, overlap="allow"))
    for _ in range(2):
        orch.until_ended(orch.app.timing.fire("short", ACTOR))
    long = [orch.app.timing.fire("long", ACTOR) for _ in range(3)]
    for run_id in long:
        orch.until_run(run_id, lambda run: run.state is RunState.RUNNING, "runs")
    node.wipe()
    cluster = orch.app.cluster
    until(lambda: cluster.status.state is ClusterState.LOST, "the loss is noticed", within=40)
    for run_id in long:
        assert orch.run(run_id).state is RunState.RUNNING
    waiting = orch.app.timing.fire("short", ACTOR)
    assert not witness.jobs()
    cluster.accept()
    assert orch.until_ended(waiting).state is RunState.SUCCEEDED
    for run_id in long:
        run = orch.until_ended(run_id, within=40)
        assert (run.state, run.attempts) == (RunState.SUCCEEDED, 2)
        assert orch.attempts(run)[0].reason == "the cluster lost the job"
    orch.audit()


def test_one_lost_job_is_a_failed_attempt(orch: Orch, proxy: Proxy, witness: Witness) -> None:
    """A cluster that has forgotten one job and knows the others is used on."""
    orch.until_ended(_fire(orch, shell("before", "exit 0", at=NEVER)))
    run_id = _fire(
        orch,
        shell(
            "lost",
            "[ $ORCH_ATTEMPT = 2 ] || sleep 60",
            at=NEVER,
            retry={"max_attempts": 2, "backoff": _BACKOFF},
        ),
    )
    orch.until_run(run_id, lambda run: run.state is RunState.RUNNING, "runs")
    job_id = orch.attempts(run_id)[0].job_id
    assert job_id
    proxy.rule(answer(404, body=b'{"Message":"job not found"}'), path=job_id)
    run = orch.until_ended(run_id)
    assert (run.state, run.attempts) == (RunState.SUCCEEDED, 2)
    assert orch.attempts(run)[0].reason == "the cluster lost the job"
    assert orch.app.cluster.status.state is ClusterState.OK


def test_keys_that_look_alike_have_jobs_of_their_own(witness: Witness) -> None:
    """Keys that differ only in case, slashes, dashes or spaces are different jobs to the node."""
    keys = ["a/b", "a-b", "A-B", "a b", "a//b", "a-b-", "-a-b", "a_b", "ä-b", "a\u200bb", "a.b"]
    taken = [
        names.job_name(
            instance="abcdefgh", trigger="T/x", trigger_uid="0123456789", key=k, attempt=1
        )
        for k in keys
    ]
    for name in taken:
        witness.client.jobs.put(_foreign(name))
    jobs = witness.jobs()
    assert Counter(job.name for job in jobs) == Counter(taken)
    assert {job.version for job in jobs} == {1}
    for name in taken:
        assert witness.find(name) is not None


def test_copy_of_a_store_never_touches_the_originals_jobs(
    patient: Orch, node: DevNode, witness: Witness, tmp_path: Path
) -> None:
    """`restore --copy` has an instance name of its own and paused triggers; what runs for the
    original goes on, whatever the copy does."""
    original = patient
    long = _fire(original, shell("long", _LONG, at=NEVER, stop_grace="200ms"))
    original.register(shell("tick", "exit 0", every="1s", overlap="allow"))
    original.until_run(long, lambda run: run.state is RunState.RUNNING, "runs")
    until(lambda: len(original.succeeded("tick")) >= 2, "ticks")
    backup.create(original.app.database, tmp_path / "backup.db")
    backup.restore(tmp_path / "backup.db", tmp_path / "copy", copy=True)
    with Orch.start(tmp_path / "copy", node.url) as copy:
        assert copy.app.database.instance != original.app.database.instance
        triggers = copy.app.reads.triggers(limit=100).items
        assert {trigger.state for trigger in triggers} == {TriggerState.PAUSED}
        assert not copy.open_runs()
        copy.app.timing.resume("tick", skip=True, actor=ACTOR)
        copy.app.timing.fire("long", ACTOR)
        before = len(copy.succeeded("tick"))
        until(lambda: len(copy.succeeded("tick")) > before + 1, "the copy works by itself")
        copy.app.triggers.delete("long", cancel=True, actor=ACTOR)
        copy.pause("tick")
        copy.drained()
        copy.audit()
    mine = {run.id for run in original.runs()}
    theirs = [
        j for j in witness.jobs() if j.labels["orch.instance"] != original.app.database.instance
    ]
    assert theirs
    assert not mine & {job.labels["orch.run"] for job in theirs}
    assert original.run(long).state is RunState.RUNNING
    assert original.attempts(long)[0].state in (AttemptState.ACCEPTED, AttemptState.RUNNING)
    original.app.commands.cancel(long, "over", ACTOR)
    assert original.until_ended(long).reason == "over"
    original.audit()


@pytest.mark.parametrize("with_key", [True, False], ids=["with its key", "without its key"])
def test_restored_backup_puts_back_what_it_does_not_know(
    orch: Orch, proxy: Proxy, witness: Witness, tmp_path: Path, with_key: bool
) -> None:
    """What ran after the backup was made is put back after one listing, and runs no second time."""
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    note = f'echo "$ORCH_RUN_ID $ORCH_ATTEMPT" >> {notes}'
    orch.register(shell("tick", note, every="1s", overlap="allow"))
    orch.register(
        shell("held", f"{note}; until [ -e {gate} ]; do sleep .1; done", at=NEVER, overlap="allow")
    )
    orch.register(
        shell(
            "flaky",
            f"{note}; exit 3",
            at=NEVER,
            overlap="allow",
            retry={"max_attempts": 3, "backoff": _BACKOFF},
        )
    )
    before = orch.app.timing.fire("held", ACTOR)
    orch.until_run(before, lambda run: run.state is RunState.RUNNING, "runs")
    until(lambda: len(orch.succeeded("tick")) >= 2, "ticks")
    backup.create(orch.app.database, tmp_path / "backup.db")
    after = orch.app.timing.fire("held", ACTOR)
    failed = orch.app.timing.fire("flaky", ACTOR)
    orch.until_run(after, lambda run: run.state is RunState.RUNNING, "runs")
    orch.until_ended(failed)
    known = len(orch.succeeded("tick"))
    until(lambda: len(orch.succeeded("tick")) >= known + 2, "ticks after the backup")
    orch.app.stop()
    sent = {(job.labels["orch.run"], job.labels["orch.attempt"]) for job in witness.jobs()}

    restored = tmp_path / "restored"
    backup.restore(tmp_path / "backup.db", restored, copy=False)
    if with_key:
        (restored / "orch.key").write_bytes((tmp_path / "orch" / "orch.key").read_bytes())
        (restored / "orch.key").chmod(0o600)
    puts, lists = len(proxy.seen("PUT")), _listings(proxy)
    with Orch.start(restored, proxy.url) as again:
        until(lambda: after in {run.id for run in again.runs()}, "is put back")
        again.until_run(after, lambda run: run.state is RunState.RUNNING, "runs still")
        assert _listings(proxy) == lists + 1
        gate.touch()
        for run_id in (before, after):
            assert again.until_ended(run_id).state is RunState.SUCCEEDED
        run = again.until_ended(failed)
        assert (run.state, run.attempts) == (RunState.DEAD, 3)
        known = len(again.succeeded("tick"))
        until(lambda: len(again.succeeded("tick")) >= known + 2, "it goes on")
        again.pause("tick")
        again.drained()
        again.audit()
        assert {run.id for run in again.runs()} >= {run for run, _ in sent}
    resent = {name for _, name in proxy.seen("PUT")[puts:]}
    assert resent
    twice = [line for line, count in Counter(lines(notes)).items() if count > 1]
    assert not twice
    assert {job.version for job in witness.jobs()} == {1}
    jobs = Counter((j.labels["orch.run"], j.labels["orch.attempt"]) for j in witness.jobs())
    assert max(jobs.values()) == 1


def _listings(proxy: Proxy) -> int:
    return sum("/orchestrator/jobs?" in path for path, _ in proxy.seen("GET"))
