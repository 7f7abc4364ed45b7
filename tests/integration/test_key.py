"""The key that seals the store: one that is not its own does not go unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store import backup
from orchestrator.store.seal import KNOWN_KEY
from tests.support.api import NOBODY
from tests.support.inprocess import Orch

_ANOTHER = "not the one that this store was written with"


def _said(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a start says that the key is another one."""
    capsys.readouterr()
    with Orch.start(data_dir, NOBODY) as orch:
        assert orch.app.database.meta(KNOWN_KEY)
    return _ANOTHER in capsys.readouterr().out


def test_another_key_is_told_of_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it seals from then on is its own."""
    assert not _said(tmp_path, capsys)
    assert not _said(tmp_path, capsys)
    (tmp_path / "orch.key").unlink()
    assert _said(tmp_path, capsys)
    assert not _said(tmp_path, capsys)


def test_a_restored_store_without_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so; a copy has a key of its own, and one with its key has nothing to say."""
    with Orch.start(tmp_path / "first", NOBODY) as orch:
        backup.create(orch.app.database, tmp_path / "b")
    for name, copy, expected in (("lost", False, True), ("copy", True, False)):
        backup.restore(tmp_path / "b", tmp_path / name, copy=copy)
        assert _said(tmp_path / name, capsys) is expected
    backup.restore(tmp_path / "b", tmp_path / "whole", copy=False)
    key = (tmp_path / "first" / "orch.key").read_bytes()
    (tmp_path / "whole" / "orch.key").touch(mode=0o600)
    (tmp_path / "whole" / "orch.key").write_bytes(key)
    assert not _said(tmp_path / "whole", capsys)
