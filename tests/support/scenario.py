"""What runs while daemons are killed, and the proof afterwards that nothing was lost or twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import specs
from tests.support import checker
from tests.support.daemon import Daemon, Gone
from tests.support.inprocess import Witness, lines
from tests.support.jobs import shell, wasm
from tests.support.waiting import until

_RETRY = {"max_attempts": 3, "backoff": {"initial": "100ms", "max": "200ms"}}
_EVERY = {"tick": 1.0, "module": 2.0, "flaky": 3.0, "late": 5.0, "doomed": 1.0}


def triggers(notes: Path) -> dict[str, str]:
    """What runs meanwhile: good, failing twice, too slow, and one to be cancelled."""
    note = f'echo "$ORCH_RUN_ID $ORCH_ATTEMPT" >> {notes}'
    return {
        "tick": shell("tick", note, every="1s", overlap="allow"),
        "module": wasm("module", specs.task_path("hello"), every="2s"),
        "flaky": shell(
            "flaky",
            f"{note}; [ $ORCH_ATTEMPT -ge 3 ] || exit 3",
            every="3s",
            overlap="queue",
            retry=_RETRY,
        ),
        "late": shell(
            "late", "sleep 30", every="5s", timeout="1s", retry=_RETRY | {"max_attempts": 1}
        ),
        "doomed": shell("doomed", "sleep 60", every="1s", timeout="2m", stop_grace="200ms"),
    }


def cancel(daemon: Daemon) -> None:
    """Somebody cancels what runs."""
    for run in daemon.runs(trigger="doomed", state="running,submitting,pending"):
        if run["cancel"] is None:
            daemon.try_post(f"/api/v1/runs/{run['id']}/cancel", {"reason": "enough"})


def register(daemon: Daemon, files: Mapping[str, str]) -> None:
    """Register what is not registered yet; the daemon may die of it."""
    with suppress(Gone):
        known = {trigger["name"] for trigger in daemon.triggers()}
        for name, text in files.items():
            if name not in known:
                daemon.apply(text)


def go_on(daemon: Daemon, files: Mapping[str, str], *, more: int = 2) -> None:
    """Start it without a failpoint; it must catch up and go on."""
    daemon.start()
    register(daemon, files)
    daemon.call("POST", "/api/v1/triggers/module/resume", {})
    before = len(daemon.runs(trigger="tick", state="succeeded"))
    until(
        lambda: (
            len(daemon.runs(trigger="tick", state="succeeded")) >= before + more
            and {run["trigger"] for run in daemon.runs()} == set(files)
        ),
        "it goes on",
        show=lambda: (daemon.call("GET", "/api/v1/status"), daemon.said()[-3000:]),
    )


def prove(
    daemon: Daemon, witness: Witness, notes: Path, *, node_killed: bool = False
) -> list[dict[str, Any]]:
    """Stop firing, let everything end, and look from three sides. Returns the runs.

    A node that was killed has tried its tasks again by itself, and what it lost has failed.
    """
    daemon.pause_all()

    def over() -> bool:
        cancel(daemon)
        return all(run["ended_at"] for run in daemon.runs())

    until(over, "all runs ended", within=40, show=lambda: _open(daemon))
    runs = daemon.runs()
    audit = daemon.call("GET", "/api/v1/audit")
    assert audit["ok"], audit["findings"]
    checker.runs_have_ended(runs)
    checker.jobs_match_ledger(witness.jobs(), runs)
    for trigger in daemon.triggers():
        checker.due_times_are_complete(trigger, runs, _EVERY[trigger["name"]])
    if node_killed:
        return runs
    twice = [line for line, count in Counter(lines(notes)).items() if count > 1]
    assert not twice, f"tasks ran twice for one attempt: {twice}"
    states = {run["state"] for run in runs if run["trigger"] in ("tick", "flaky")}
    assert states <= {"succeeded", "skipped"}, states
    return runs


def _open(daemon: Daemon) -> list[Any]:
    return [run for run in daemon.runs() if run["ended_at"] is None]
