"""The daemon dies at named points, between any two steps, and is started again.

Afterwards the ledger, the node's list of jobs and plain arithmetic agree: each due time has one
run, each run has ended, no attempt was submitted twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, Gone
from tests.support.inprocess import Witness
from tests.support.proxy import Proxy, lose_answer
from tests.support.scenario import cancel, go_on, prove, register, triggers
from tests.support.waiting import until

Drive = Callable[[Daemon], None]


def _nothing(daemon: Daemon) -> None:
    """Time alone does it."""


def _command(daemon: Daemon) -> None:
    """Somebody plays with every command."""
    now = datetime.now(UTC)
    window = {"since": (now - timedelta(seconds=30)).isoformat(), "until": now.isoformat()}
    cancel(daemon)
    daemon.try_post("/api/v1/triggers/module/fire")
    daemon.try_post("/api/v1/triggers/module/backfill", window)
    daemon.try_post("/api/v1/triggers/module/pause", {"note": "a moment"})
    daemon.try_post("/api/v1/triggers/module/resume")
    for run in daemon.runs(trigger="doomed", state="cancelled", limit=1)[:1]:
        daemon.try_post(f"/api/v1/runs/{run['id']}/retry")
    daemon.try_post("/api/v1/dead/redrive", {"trigger": "late"})
    file = json.loads(triggers(Path("/dev/null"))["late"])
    file["timeout"] = "2s" if now.second % 2 else "1s"
    daemon.apply(json.dumps(file))


def _points(label: str, *, count: int = 1) -> list[str]:
    return [f"commit.{label}.before={count}", f"commit.{label}.after={count}"]


_GROUPS: dict[str, tuple[Drive, Sequence[str]]] = {
    "birth": (
        _nothing,
        [*_points("instance"), *_points("lease"), *_points("register", count=2)],
    ),
    "intake": (_nothing, ["firing.planned=2", *_points("intake", count=2), "dispatch.rendered=2"]),
    "claim": (_nothing, [*_points("identity"), *_points("claim", count=2), "send.before=2"]),
    "answer": (_nothing, ["send.after=2", *_points("accept", count=2), *_points("running")]),
    "watch": (_nothing, ["watch.before=3", "watch.after=3", *_points("end", count=2)]),
    "settle": (_nothing, [*_points("settle", count=2), *_points("wake")]),
    "stop": (
        cancel,
        [
            *_points("cancel"),
            *_points("stopping"),
            *("stop.before", "stop.after"),
            *_points("stopped"),
        ],
    ),
    "commands": (
        _command,
        [
            *_points("backfill"),
            *("commit.fire.after", "commit.pause.after", "commit.resume.before"),
            *("commit.retry.after", "commit.redrive.before", "commit.change.after"),
        ],
    ),
}


def _die(daemon: Daemon, point: str, files: dict[str, str], drive: Drive) -> None:
    """Start the daemon and let it come to its point."""
    daemon.start(point)

    def dead() -> bool:
        if not daemon.alive:
            return True
        register(daemon, files)
        with suppress(Gone):
            drive(daemon)
        return not daemon.alive

    until(dead, f"death at {point}", within=30, show=lambda: daemon.said()[-3000:])
    assert daemon.exit_code == -9, daemon.said()[-3000:]


@pytest.mark.parametrize("group", _GROUPS)
def test_killed_at_each_point(daemon: Daemon, witness: Witness, tmp_path: Path, group: str) -> None:
    """Killed at one point after the other, the daemon loses nothing and does nothing twice."""
    drive, points = _GROUPS[group]
    files = triggers(tmp_path / "notes")
    for point in points:
        _die(daemon, point, files, drive)
    go_on(daemon, files)
    runs = prove(daemon, witness, tmp_path / "notes")
    assert {trigger["name"] for trigger in daemon.triggers()} == set(files)
    assert daemon.stop() == 0
    flaky = [run for run in runs if run["trigger"] == "flaky" and run["state"] == "succeeded"]
    for run in flaky:
        assert [a["reason"] for a in run["attempts"]] == ["exit 3", "exit 3", ""], run


def test_killed_while_in_doubt(
    daemon: Daemon, proxy: Proxy, witness: Witness, tmp_path: Path
) -> None:
    """Killed around the note that an answer was lost: the job is found, not sent again."""
    files = triggers(tmp_path / "notes")
    for point in [*_points("doubt"), "send.before=4"]:
        lift = proxy.rule(lose_answer, method="PUT")
        _die(daemon, point, files, _nothing)
        lift()
    go_on(daemon, files)
    prove(daemon, witness, tmp_path / "notes")
