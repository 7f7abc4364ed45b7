"""Services when somebody else goes on with them: a restored store, another orchestrator."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode
from orchestrator.store import backup
from tests.support.inprocess import ACTOR, Orch
from tests.support.services import end, never_two_at_once, service, sessions, shown, states
from tests.support.waiting import until


def _address() -> str:
    """An address that stays: tasks know it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("with_key", [True, False], ids=["with its key", "without its key"])
def test_a_restored_backup_makes_no_second_one(
    tmp_path: Path, node: DevNode, with_key: bool
) -> None:
    """A life that began after the backup was made goes on at the cluster, and may or may not be
    heard: no other one works beside it, and the next goes on from the store's checkpoint."""
    file, listen = tmp_path / "out", _address()
    with Orch.start(tmp_path / "orch", node.url, listen=listen) as orch:
        orch.register(service(file, lease="3s"))
        until(lambda: states(orch) == ["running"], "it is well", show=lambda: shown(orch))
        until(lambda: shown(orch)[0]["checkpoint"], "it reports", show=lambda: shown(orch))
        backup.create(orch.app.database, tmp_path / "backup.db")
        [first] = orch.runs()
        orch.app.commands.cancel(first.id, "for the test", ACTOR)
        until(lambda: len(sessions(file)) == 2, "another life", show=lambda: shown(orch))
        until(lambda: states(orch) == ["running"], "it is well", show=lambda: shown(orch))
        second = orch.runs()[-1].id
    restored = tmp_path / "restored"
    backup.restore(tmp_path / "backup.db", restored, copy=False)
    if with_key:
        (restored / "orch.key").write_bytes((tmp_path / "orch" / "orch.key").read_bytes())
        (restored / "orch.key").chmod(0o600)
    with Orch.start(restored, node.url, listen=listen) as again:
        until(lambda: second in {run.id for run in again.runs()}, "it is put back")
        again.app.commands.cancel(second, "for the test", ACTOR)
        again.until_ended(second)
        until(lambda: len(sessions(file)) >= 3, "a third life", show=lambda: shown(again))
        until(lambda: states(again) == ["running"], "it is well", show=lambda: shown(again))
        end(again)
        keys = {run.key for run in again.runs()}
        assert keys >= {"copy-0/1", "copy-0/2", "copy-0/3"}
        again.audit()
    found = never_two_at_once(file)
    assert found[2].first >= found[0].first


@pytest.mark.postgres
def test_two_orchestrators_keep_one_copy(tmp_path: Path, node: DevNode, postgres_url: str) -> None:
    """One of them keeps it, the other goes on where that one ends: the task cannot be heard any
    more, ends itself, and is followed by one."""
    file = tmp_path / "out"
    shared: dict[str, Any] = {"database": postgres_url, "key_file": tmp_path / "orch.key"}
    first = Orch.start(tmp_path / "first", node.url, **shared)
    try:
        with Orch.start(tmp_path / "second", node.url, **shared) as second:
            second.register(service(file, copies=2, lease="3s"))
            until(
                lambda: states(first) == states(second) == ["running"] * 2,
                "both copies are well, whoever is asked",
                show=lambda: (shown(first), shown(second)),
            )
            assert len(sessions(file)) == 2
            first.app.stop()
            # Those that the other had sent are told to leave as well.
            for run in second.runs():
                second.app.commands.cancel(run.id, "for the test", ACTOR)
            until(lambda: len(sessions(file)) == 4, "both again", show=lambda: shown(second))
            until(lambda: states(second) == ["running"] * 2, "well", show=lambda: shown(second))
            end(second)
            second.audit()
    finally:
        first.app.stop()
    found = never_two_at_once(file)
    assert sorted(session.copy for session in found[:2]) == ["0", "1"]
