"""From a row to a run and back: orchestrator, local node, and real tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.inprocess import Orch
from tests.support.jobtable import SECRETS, JobTable
from tests.support.waiting import until

_IMAGE = "alpine:3.20"


@pytest.fixture
def orch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orch]:
    """An orchestrator and a node; what would be a container is a process."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"ORCH_SECRET_{name}", value)
    images = {_IMAGE: "-"}
    node = DevNode(DevNodeConfig(data_dir=tmp_path / "node", docker=False, images=images))
    node.start()
    try:
        with Orch.start(tmp_path / "orch", node.url) as started:
            yield started
    finally:
        node.stop()


def _file(table: JobTable, script: str = "", **more: Any) -> str:
    document: dict[str, Any] = {
        "apiVersion": "orch/v1",
        "kind": "table",
        "name": "jobs",
        **table.settings(every="100ms"),
        "retry": {"max_attempts": 1},
        "stop_grace": "1s",
        **more,
    }
    if script:
        engine = {"Image": _IMAGE, "Entrypoint": ["sh", "-c", script]}
        task: dict[str, Any] = {
            "Name": "handle",
            "Engine": {"Type": "docker", "Params": engine},
            "Env": {"TABLE": "table ${{ table.name }}"},
        }
        if "batch_size" not in more:
            task["Env"]["ROW"] = "row ${{ event.id }}"
        document["job"] = {"Type": "batch", "Tasks": [task]}
    return json.dumps(document)


def test_rows_are_counted_by_the_default_job(table: JobTable, orch: Orch):
    """In batches; the rows say which run they were in, and when that was."""
    table.put([str(n) for n in range(90)])
    orch.register(_file(table, batch_size=40, batch_window="500ms"))
    until(lambda: table.open() == 0, "all rows are finished", within=60)
    runs = {run.id: run for run in orch.succeeded("jobs")}
    outputs = [orch.attempts(run)[-1].stdout or "{}" for run in runs]
    counts = [json.loads(output.splitlines()[0])["count"] for output in outputs]
    assert sorted(counts) == [10, 40, 40]
    columns = ("run_id", "created_at", "queued_at", "started_at", "finished_at", "cancelled_at")
    for run_id, created, queued, started, finished, cancelled in table.rows(*columns):
        assert run_id in runs
        assert created is not None
        assert queued <= finished
        assert started <= finished
        assert cancelled is None
    orch.audit()


def test_rows_of_dead_and_cancelled_runs(table: JobTable, orch: Orch):
    """Are cancelled, with the reason; a run that is driven again takes its row with it."""
    table.put(["good", "bad", "slow", "unwanted"])
    table.run(f"UPDATE {table.quoted} SET cancelled_at = created_at WHERE id = 4")
    marker = orch.app.config.data_dir / "mended"
    script = (
        f'case "$ROW" in "row 2") test -e {marker} || exit 3;; "row 3") sleep 60;; esac;'
        ' test "$TABLE" = "table jobs"'
    )
    orch.register(_file(table, script))

    def dead() -> list[Any]:
        return [run for run in orch.runs("jobs") if run.state == "dead"]

    [run] = until(dead, "a run is dead", within=30)
    slow = until(
        lambda: [r for r in orch.runs("jobs") if r.key == "3" and r.state == "running"],
        "the slow one is running",
    )
    orch.app.commands.cancel(slow[0].id, "not wanted any more", "test")
    until(lambda: table.open() == 0, "nothing is open", within=60)
    rows = table.rows("finished_at IS NULL", "cancelled_at IS NULL", "run_id", "reason")
    assert [bool(row[0]) for row in rows] == [False, True, True, True]
    assert [bool(row[1]) for row in rows] == [True, False, False, False]
    assert rows[1][2:] == (run.id, f"dead: {run.reason}")
    assert "exit 3" in rows[1][3]
    assert rows[2][2] == slow[0].id
    assert "not wanted any more" in rows[2][3]
    assert rows[3][2:] == (None, None)
    assert len(orch.runs("jobs")) == 3
    marker.touch()
    orch.app.commands.redrive("jobs", [run.id], "test")

    def mended() -> bool:
        [row] = table.rows("finished_at", "cancelled_at", "reason", where="id = 2")
        return row[0] is not None and row[1:] == (None, None)

    until(mended, "the row is finished", within=60)
    orch.audit()


def test_rows_that_a_batch_left_undone(table: JobTable, orch: Orch):
    """Come again in other runs, and are cancelled in the end; the others are finished at once."""
    table.put([str(n) for n in range(4)])
    script = "echo '{\"orch.failed\": [[0, 1]]}'"
    orch.register(_file(table, script, batch_size=4, batch_window="300ms", max_returns=1))
    until(lambda: table.open() == 0, "nothing is open", within=60, show=orch.runs)
    rows = table.rows("finished_at IS NULL", "reason")
    assert [bool(row[0]) for row in rows] == [True, False, False, False]
    assert "not handled by 2 runs" in rows[0][1]
    orch.audit()


def test_a_notice_of_postgres_wakes_the_trigger(postgres: JobTable, orch: Orch):
    """Long before it would look by itself."""
    orch.register(_file(postgres, "true", every="1h", notify="it's new"))
    until(lambda: _listens(postgres), "it listens", within=20)
    for count in range(1, 4):
        postgres.put(["x"])
        until(lambda count=count: len(orch.succeeded("jobs")) == count, "it ran", within=30)
    until(lambda: postgres.open() == 0, "all are finished", within=20)


def _listens(table: JobTable) -> bool:
    return bool(table.run("SELECT 1 FROM pg_stat_activity WHERE left(query, 6) = 'LISTEN'"))


def test_no_password_is_seen(maria: JobTable, orch: Orch, caplog: pytest.LogCaptureFixture):
    """Not in the store, not in what is said of a source, and not in the log."""
    orch.register(_file(maria))
    maria.put(["a"])
    until(lambda: maria.open() == 0, "it is finished", within=30)
    orch.register(_file(maria, name="absent", key="absent"))

    def refused() -> str:
        found = [one.detail for one in orch.app.source_store.all() if one.state == "refused"]
        return "".join(found)

    said = until(refused, "the other one is refused", within=30)
    assert "has no column 'absent'" in said
    store = b"".join(
        path.read_bytes() for path in orch.app.config.data_dir.rglob("*") if path.is_file()
    )
    assert SECRETS["DB"].encode() not in store
    assert SECRETS["DB"] not in caplog.text
