"""Sending goes on while acceptances wait for their commit."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from orchestrator.domain.states import AttemptState, RunState
from orchestrator.services.cluster import ClusterState
from orchestrator.services.dispatcher import Dispatcher
from orchestrator.services.sender import Sender
from orchestrator.store.database import sqlite_url
from tests.support.ledger import Ledger, claim_of
from tests.support.waiting import until


class FakeCluster:
    """A cluster that takes everything; `jobs` is its own client's."""

    def __init__(self, put: Any) -> None:
        self.client = SimpleNamespace(jobs=SimpleNamespace(put_job_bytes=put, get=self._get))
        self.status = SimpleNamespace(state=ClusterState.OK)
        self.looked_up: list[str] = []

    def _get(self, name: str, namespace: str | None) -> Any:
        self.looked_up.append(name)
        run_id, _, number = name.removeprefix("orch-").rpartition("-a")
        labels = {"orch.run": run_id, "orch.attempt": number, "orch.spec": "hash"}
        return SimpleNamespace(job=SimpleNamespace(id=f"j-{run_id}", version=1, labels=labels))

    def confirm(self) -> bool:
        return True

    def pause(self) -> float:
        return 0.0

    def answered(self, *, wrote: bool = False) -> None:
        pass


def dispatcher_of(ledger: Ledger, cluster: FakeCluster) -> Dispatcher:
    """One thread that sends."""
    some = cast(Any, cluster)
    seal: Any = SimpleNamespace(open=lambda body: body)
    renderer: Any = SimpleNamespace(render=claim_of)
    return Dispatcher(
        ledger.clock,
        ledger.db.signals,
        ledger.claims,
        ledger.flights,
        renderer,
        Sender(some, ledger.flights, seal),
        some,
        max_in_flight=100,
        threads=1,
    )


def test_thread_sends_the_next_while_the_store_commits(tmp_path: Path) -> None:
    """One thread sends three jobs although the store commits nothing meanwhile."""
    ledger = Ledger(sqlite_url(tmp_path))
    ledger.fire(ledger.trigger(), 3)
    release, sent = threading.Event(), list[bytes]()

    def put(body: bytes) -> Any:
        if not sent:
            ledger.db.submit(lambda tx: release.wait(30), "test")
        sent.append(body)
        return SimpleNamespace(job_id=f"j-{body.decode()}")

    dispatcher = dispatcher_of(ledger, FakeCluster(put))
    dispatcher.start()
    until(lambda: len(sent) == 3, "three jobs sent", show=lambda: sent)
    assert {run.state for run in ledger.runs()} == {RunState.SUBMITTING}
    release.set()
    until(
        lambda: all(run.state is RunState.RUNNING for run in ledger.runs()),
        "three acceptances",
        show=ledger.runs,
    )
    dispatcher.stop()
    assert len(sent) == 3
    ledger.close()


def test_acceptance_that_is_not_written_is_looked_up(tmp_path: Path) -> None:
    """The store fails once after the answer: the job is found by its name, not sent again."""
    ledger = Ledger(sqlite_url(tmp_path))
    [run] = ledger.fire(ledger.trigger(), 1)
    sent: list[bytes] = []

    def put(body: bytes) -> Any:
        sent.append(body)
        return SimpleNamespace(job_id="j")

    cluster = FakeCluster(put)
    dispatcher = dispatcher_of(ledger, cluster)
    update_many, failed = ledger.db.dialect.update_many, list[str]()

    def failing(conn: Any, statement: Any, rows: Any) -> list[bool]:
        if statement.table.name == "attempts" and not failed:
            failed.append("accept")
            raise ValueError("the disk is full")
        return update_many(conn, statement, rows)

    ledger.db.dialect.update_many = failing
    dispatcher.start()
    until(lambda: failed, "the store to fail")

    def look() -> bool:
        ledger.clock.advance(100_000)
        dispatcher.wake()
        return ledger.run(run).state is RunState.RUNNING

    until(look, "the acceptance", show=lambda: (sent, cluster.looked_up))
    dispatcher.stop()
    assert len(sent) == 1
    [attempt] = ledger.attempts(run)
    assert attempt.state is AttemptState.ACCEPTED
    assert cluster.looked_up == [attempt.job_name]
    ledger.close()
