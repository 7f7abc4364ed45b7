"""The files beside the database: the key and the lock."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.store import backup
from orchestrator.store.database import Database, sqlite_url
from orchestrator.store.errors import Locked, StoreError
from orchestrator.store.lock import DirectoryLock
from orchestrator.store.seal import Seal, Unsealable, load_key


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, 32 bytes, the same at the next start, and no draft left."""
    path = tmp_path / "orch.key"
    key = load_key(path)
    assert load_key(path) == key
    assert (len(key), path.stat().st_mode & 0o777) == (32, 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    """Also a careless umask makes no readable key."""
    before = os.umask(0)
    try:
        load_key(tmp_path / "orch.key")
    finally:
        os.umask(before)
    assert (tmp_path / "orch.key").stat().st_mode & 0o777 == 0o600


def test_a_new_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The database and what SQLite puts beside it have mode 0600, whatever the umask, also in a
    directory that others may read; one that is there keeps its mode."""
    before = os.umask(0)
    try:
        database = Database(sqlite_url(tmp_path))
        files = list(tmp_path.glob("orch.db*"))
        assert {file.name for file in files} == {"orch.db", "orch.db-wal", "orch.db-shm"}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        backup.create(database, tmp_path / "copy")
        database.close()
        backup.restore(tmp_path / "copy", tmp_path / "restored", copy=True)
    finally:
        os.umask(before)
    restored = tmp_path / "restored"
    assert restored.stat().st_mode & 0o777 == 0o700
    assert (restored / "orch.db").stat().st_mode & 0o777 == 0o600
    (tmp_path / "orch.db").chmod(0o640)
    Database(sqlite_url(tmp_path)).close()
    assert (tmp_path / "orch.db").stat().st_mode & 0o777 == 0o640


def test_concurrent_starts_share_one_key(tmp_path: Path) -> None:
    """Whoever comes second reads the first one's, whole."""
    keys: list[bytes] = []
    together = threading.Barrier(8)

    def load() -> None:
        together.wait()
        keys.append(load_key(tmp_path / "orch.key"))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Never overwritten: what was sealed with the right one could not be opened again."""
    path = tmp_path / "orch.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StoreError, match="is not a key of 32 bytes: bring back the file"):
        load_key(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_readable_key_is_refused(tmp_path: Path, mode: int) -> None:
    """With the command that mends it."""
    path = tmp_path / "orch.key"
    load_key(path)
    path.chmod(mode)
    with pytest.raises(StoreError, match="chmod 600"):
        load_key(path)


def test_a_key_that_cannot_be_made_or_read(tmp_path: Path) -> None:
    """A directory that is missing, and a directory in the key's place."""
    with pytest.raises(StoreError, match="cannot be made"):
        load_key(tmp_path / "missing" / "orch.key")
    (tmp_path / "orch.key").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        load_key(tmp_path / "orch.key")


def test_sealing() -> None:
    """Bytes come back whole; the same bytes never look the same; another key opens nothing."""
    seal = Seal(b"k" * 32)
    for data in (b"", b"x", b"{}" * 100_000, os.urandom(1000)):
        assert seal.open(seal.seal(data)) == data
    assert seal.seal(b"x") != seal.seal(b"x")
    assert b"secret-value" not in seal.seal(b"secret-value")
    with pytest.raises(Unsealable, match="key file does not fit"):
        Seal(b"o" * 32).open(seal.seal(b"x"))


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 20])
def test_damaged_seals(size: int) -> None:
    """Bytes cut short are told as such, not as the library's exception."""
    seal = Seal(b"k" * 32)
    with pytest.raises(Unsealable):
        seal.open(seal.seal(b"some data")[:size])


def test_one_orchestrator_a_directory(tmp_path: Path) -> None:
    """The second is refused with the first one's process id; after the release it may begin."""
    lock = DirectoryLock(tmp_path)
    with pytest.raises(Locked, match=rf"process {os.getpid()}.*another --data-dir"):
        DirectoryLock(tmp_path)
    lock.release()
    lock.release()
    DirectoryLock(tmp_path).release()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    """A process that was killed leaves a file and no lock."""
    program = (
        "import sys, os; from pathlib import Path; "
        "from orchestrator.store.lock import DirectoryLock; "
        f"lock = DirectoryLock(Path({str(tmp_path)!r})); print('held', flush=True); "
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=f"process {process.pid}"):
            DirectoryLock(tmp_path)
        process.kill()
    DirectoryLock(tmp_path).release()
