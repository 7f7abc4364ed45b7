"""The daemon dies at the named points of services, one after the other.

Afterwards every copy is there, its tasks have never worked twice at once, and each has gone on from
what was reported.
"""

from __future__ import annotations

import itertools
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Gone
from tests.support.inprocess import Witness
from tests.support.services import NAME, never_two_at_once, service, sessions
from tests.support.waiting import until


@pytest.fixture
def listen() -> str:
    """An address that stays: tasks know it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


class Change:
    """Registers the service, and changes its file now and then."""

    def __init__(self, file: Path, mode: str, **settings: Any) -> None:
        self._text = service(file, mode, **settings)
        self.version = 0

    def drive(self, daemon: Daemon, *, changes: bool) -> None:
        """The daemon may die of it."""
        with suppress(Gone):
            if not daemon.triggers():
                daemon.apply(self._text)
            if changes and _state(daemon) == ["running"]:
                self.version += 1
                daemon.apply(json.dumps({**json.loads(self._text), "priority": self.version}))


def _copies(daemon: Daemon) -> list[dict[str, Any]]:
    return daemon.call("GET", f"/api/v1/triggers/{NAME}")["copies"]


def _state(daemon: Daemon) -> list[str]:
    return [copy["state"] for copy in _copies(daemon)]


def _die(daemon: Daemon, point: str, listen: str, change: Change, *, changes: bool) -> None:
    daemon.start(point, listen=listen)

    def dead() -> bool:
        if daemon.alive:
            change.drive(daemon, changes=changes)
        return not daemon.alive

    until(dead, f"death at {point}", within=60, show=lambda: daemon.said()[-3000:])
    assert daemon.exit_code == -9, daemon.said()[-3000:]


def _prove(daemon: Daemon, listen: str, witness: Witness) -> None:
    """It comes back, is well, and is ended in good order."""
    daemon.start(listen=listen)
    until(lambda: _state(daemon) == ["running"], "it is well", show=lambda: _copies(daemon))
    daemon.pause_all()

    def ended() -> bool:
        for run in daemon.runs(state="pending,submitting,running"):
            if run["cancel"] is None:
                daemon.try_post(f"/api/v1/runs/{run['id']}/cancel", {"reason": "end"})
        return not daemon.runs(state="pending,submitting,running")

    until(ended, "all lives have ended", within=40)
    audit = daemon.call("GET", "/api/v1/audit")
    assert audit["ok"], audit["findings"]
    assert witness.live() == []
    names = [job.name for job in witness.jobs()]
    assert len(names) == len(set(names)) == sum(len(run["attempts"]) for run in daemon.runs())
    assert daemon.stop() == 0


@pytest.mark.slow
def test_killed_while_a_life_begins_and_is_heard(
    daemon: Daemon, witness: Witness, listen: str, tmp_path: Path
) -> None:
    """From the number of a life to its end: tasks that leave are followed by one."""
    file = tmp_path / "out"
    change = Change(file, "once")
    points = [
        *("commit.life.before", "service.after"),
        *("commit.heartbeat.after=2", "commit.settle.before"),
    ]
    for point in points:
        _die(daemon, point, listen, change, changes=False)
    change = Change(file, "good")
    daemon.start(listen=listen)
    daemon.apply(service(file, "good"))
    daemon.kill()
    _prove(daemon, listen, witness)
    found = never_two_at_once(file)
    for before, after in itertools.pairwise(found):
        assert after.first <= before.last + 1


@pytest.mark.slow
def test_killed_while_one_life_replaces_another(
    daemon: Daemon, witness: Witness, listen: str, tmp_path: Path
) -> None:
    """Between the start of the new one and the end of the old one; and when one falls silent."""
    file = tmp_path / "out"
    change = Change(file, "good", update="stop_first")
    for point in ["service.leaving", "stop.after"]:
        _die(daemon, point, listen, change, changes=True)
    silent = Change(file, "mute", update="stop_first")
    silent.version = change.version
    daemon.start(listen=listen)
    daemon.apply(service(file, "mute", update="stop_first"))
    daemon.kill()
    _die(daemon, "commit.lapse.after", listen, silent, changes=False)
    daemon.start(listen=listen)
    daemon.apply(service(file, "good", update="stop_first"))
    daemon.kill()
    _prove(daemon, listen, witness)
    assert len(sessions(file)) >= 3
    never_two_at_once(file)


@pytest.mark.slow
def test_killed_while_the_new_one_starts_first(
    daemon: Daemon, witness: Witness, listen: str, tmp_path: Path
) -> None:
    """Two are there for a while, and one is left."""
    file = tmp_path / "out"
    change = Change(file, "good")
    for point in ["service.after=2", "commit.heartbeat.after=9"]:
        _die(daemon, point, listen, change, changes=True)
    _prove(daemon, listen, witness)
    # Of one life there is one process, whatever was killed.
    lives = [session.who.rpartition("/")[0] for session in sessions(file)]
    assert len(lives) == len(set(lives))
