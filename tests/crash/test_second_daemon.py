"""One daemon a data directory."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.inprocess import Witness
from tests.support.jobs import shell
from tests.support.proxy import Proxy
from tests.support.waiting import until


def test_second_daemon_ends_and_the_first_goes_on(
    daemon: Daemon, proxy: Proxy, witness: Witness, pycache: Path
) -> None:
    """A second `serve` on the same data directory says so in one line and ends with code 1."""
    daemon.start()
    daemon.apply(shell("tick", "exit 0", every="1s", overlap="allow"))
    second = Daemon(daemon.data_dir, proxy.url, pycache=pycache)
    second.log = daemon.data_dir.with_suffix(".second.log")
    try:
        second.start()
        until(lambda: not second.alive, "the second ends")
        assert second.exit_code == 1
        said = second.said().strip().splitlines()
        assert len(said) == 1, said
        assert "another orchestrator runs on" in said[0]
        assert "--data-dir" in said[0]
    finally:
        second.close()
    before = len(daemon.runs(trigger="tick", state="succeeded"))
    until(
        lambda: len(daemon.runs(trigger="tick", state="succeeded")) > before + 1,
        "the first goes on",
    )
    daemon.pause_all()
    runs = daemon.drained()
    assert {run["state"] for run in runs} == {"succeeded"}
    assert len(witness.jobs()) == len(runs)
    assert daemon.call("GET", "/api/v1/audit")["ok"]
    assert daemon.stop() == 0


def test_killed_daemon_leaves_no_lock(daemon: Daemon) -> None:
    """After `kill -9` the next one starts at once."""
    daemon.start()
    daemon.kill()
    daemon.start()
    assert daemon.alive
    assert daemon.call("GET", "/healthz")
    assert daemon.stop() == 0
