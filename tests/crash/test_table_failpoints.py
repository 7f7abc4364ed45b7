"""The daemon dies at the named points of a queue that is a table, one after the other.

Afterwards every row is in one run that succeeded, was handled once, and says so itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import checker
from tests.support.daemon import Daemon, Gone
from tests.support.inprocess import Witness, lines
from tests.support.jobs import IMAGE
from tests.support.jobtable import JobTable
from tests.support.waiting import until

_POINTS = [
    *("queue.polled", "commit.inbox.before=2", "commit.inbox.after=2"),
    *("queue.tell.before", "queue.tell.after"),
]


@pytest.fixture
def table(postgres_url: str) -> Iterator[JobTable]:
    """A table that outlives every daemon."""
    made = JobTable.postgres(postgres_url)
    yield made
    made.close()


def _file(table: JobTable, out: Path) -> str:
    script = 'echo "$ORCH_RUN_ID $ROW" >> "$OUT"'
    params = {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    task = {
        "Name": "main",
        "Engine": {"Type": "docker", "Params": params},
        "Env": {"ROW": "row ${{ event.id }}", "OUT": str(out)},
    }
    return json.dumps(
        {
            "apiVersion": "orch/v1",
            "kind": "table",
            "name": "jobs",
            **table.settings(every="100ms"),
            "retry": {"max_attempts": 2, "backoff": {"initial": "50ms", "max": "50ms"}},
            "job": {"Type": "batch", "Tasks": [task]},
        }
    )


@pytest.mark.slow
def test_killed_between_a_table_and_its_runs(
    daemon: Daemon, witness: Witness, table: JobTable, tmp_path: Path
) -> None:
    """From rows that were claimed to rows whose end was written back."""
    out, count = tmp_path / "out", 0
    file = _file(table, out)

    def drive() -> None:
        with suppress(Gone):
            if not daemon.triggers():
                daemon.apply(file)

    for point in _POINTS:
        table.put(["a", "b"])
        count += 2
        daemon.start(point)

        def dead() -> bool:
            nonlocal count
            if daemon.alive:
                drive()
                if not table.open():
                    table.put(["more"])
                    count += 1
            return not daemon.alive

        until(dead, f"death at {point}", within=60, show=lambda: daemon.said()[-3000:])
        assert daemon.exit_code == -9, daemon.said()[-3000:]
    daemon.start()
    until(lambda: not table.open(), "all rows are finished", within=60, show=table.open)
    runs = daemon.drained(within=60)
    audit = daemon.call("GET", "/api/v1/audit")
    assert audit["ok"], audit["findings"]
    checker.runs_have_ended(runs)
    checker.jobs_match_ledger(witness.jobs(), runs)
    assert len(runs) == count
    assert {run["state"] for run in runs} == {"succeeded"}
    rows = dict(table.rows("id", "run_id", where="finished_at IS NOT NULL"))
    handled = [line.split() for line in lines(out)]
    assert {int(row): run for run, _, row in handled} == rows
    assert set(Counter(row for _, _, row in handled).values()) == {1}
    assert len(rows) == count
    assert daemon.stop() == 0
