"""The daemon dies around the commits of jobs; a request sent again makes no second one."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Gone
from tests.support.jobs import shell
from tests.support.waiting import until


def template(name: str, script: str, **more: Any) -> str:
    """A trigger file of kind job whose task is a script."""
    file = json.loads(shell(name, script))
    del file["every"]
    return json.dumps({**file, "kind": "job", **more})


def submit(daemon: Daemon, body: dict[str, Any], key: str) -> dict[str, Any]:
    """Ask for a job with a client's key. Raises Gone."""
    session = daemon._session
    session.headers["Idempotency-Key"] = key
    try:
        return daemon.call("POST", "/jobs", body)
    finally:
        del session.headers["Idempotency-Key"]


@pytest.mark.parametrize("point", ["commit.job.before", "commit.job.after"])
def test_killed_between_commit_and_answer(daemon: Daemon, tmp_path: Path, point: str) -> None:
    """A client that got no answer sends the same again, with its key: there is one run, which ran
    once."""
    notes = tmp_path / "notes"
    daemon.start()
    daemon.apply(template("once", f"echo $ORCH_RUN_ID >> {notes}"))
    assert daemon.stop() == 0
    daemon.start(point)
    with pytest.raises(Gone):
        submit(daemon, {"template": "once"}, "key-1")
    until(lambda: not daemon.alive, "death")
    assert daemon.exit_code == -9
    daemon.start()
    found = submit(daemon, {"template": "once"}, "key-1")
    assert submit(daemon, {"template": "once"}, "key-1")["id"] == found["id"]
    runs = daemon.drained()
    assert [run["id"] for run in runs] == [found["id"]]
    assert runs[0]["state"] == "succeeded"
    assert notes.read_text().split() == [found["id"]]
    assert daemon.stop() == 0


def test_killed_while_they_come_due(daemon: Daemon, tmp_path: Path) -> None:
    """Killed before and after the commit that puts runs of the future in line, each runs once."""
    notes = tmp_path / "notes"
    daemon.start()
    daemon.apply(template("wide", f"echo $ORCH_RUN_ID >> {notes}"))
    daemon.apply(template("narrow", f"echo $ORCH_RUN_ID >> {notes}", max_in_flight=2))
    bodies = [{"template": name, "delay": "2s"} for name in ("wide", "narrow")] * 5
    asked = daemon.call("POST", "/jobs:batch", {"jobs": bodies})
    ids = [item["id"] for item in asked["items"]]
    assert daemon.stop() == 0
    for point in ("commit.due.before", "commit.due.after", "commit.claim.after=3"):
        daemon.start(point)
        until(lambda: not daemon.alive, f"death at {point}", show=daemon.said)
        assert daemon.exit_code == -9
    daemon.start()
    runs = daemon.drained()
    assert {run["id"] for run in runs} == set(ids)
    assert {run["state"] for run in runs} == {"succeeded"}
    assert sorted(notes.read_text().split()) == sorted(ids)
    assert daemon.stop() == 0


def test_killed_in_a_fan_in(daemon: Daemon, tmp_path: Path) -> None:
    """Killed around the endings that a follower waits for, it runs once for both."""
    notes = tmp_path / "notes"
    daemon.start()
    for name in ("left", "right"):
        daemon.apply(template(name, "true"))
    daemon.apply(template("both", f"echo $ORCH_RUN_ID >> {notes}", after=["left", "right"]))
    assert daemon.stop() == 0
    sides = {"left": "k-left", "right": "k-right"}
    for point in ("commit.settle.before", "commit.settle.after"):
        daemon.start(point)

        def asked() -> bool:
            with suppress(Gone):
                for name, key in sides.items():
                    submit(daemon, {"template": name}, key)
            return not daemon.alive

        until(asked, f"death at {point}", within=30, show=daemon.said)
        daemon.kill()
    daemon.start()
    runs = until(lambda: _whole(daemon), "the follower has run", within=40)
    assert sorted(run["trigger"] for run in runs) == ["both", "left", "right"]
    assert len(notes.read_text().split()) == 1
    assert daemon.call("GET", "/api/v1/audit")["ok"]
    assert daemon.stop() == 0


def _whole(daemon: Daemon) -> list[dict[str, Any]]:
    runs = daemon.runs()
    ended = [run for run in runs if run["state"] == "succeeded"]
    return ended if len(ended) == 3 else []
