"""Killed at any moment, again and again."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.inprocess import Witness
from tests.support.nodeprocess import NodeProcess
from tests.support.scenario import go_on, prove, register, triggers

_KILLS = 10
_LONGEST = 3.0  # seconds that a daemon lives


@pytest.mark.slow
@pytest.mark.parametrize("also_node", [False, True], ids=["daemon", "daemon and node"])
def test_killed_at_random(tmp_path: Path, pycache: Path, also_node: bool) -> None:
    """Ten kills at random moments, the node's among them: nothing is lost, nothing is twice."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    node = NodeProcess(tmp_path / "node")
    daemon: Daemon | None = None
    try:
        node.start()
        daemon = Daemon(tmp_path / "orch", node.url, pycache=pycache)
        files = triggers(tmp_path / "notes")
        for number in range(_KILLS):
            daemon.start()
            register(daemon, files)
            # A life of random length is what is tested; nothing is waited for.
            threading.Event().wait(chance.uniform(0, _LONGEST))
            if also_node and number % 4 == 1:
                node.kill()
                threading.Event().wait(chance.uniform(0, 1))
                node.start()
            daemon.kill()
        go_on(daemon, files)
        with Witness(node.url) as witness:
            prove(daemon, witness, tmp_path / "notes", node_killed=also_node)
        assert daemon.stop() == 0
    finally:
        if daemon is not None:
            daemon.close()
        node.close()
