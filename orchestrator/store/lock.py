"""One orchestrator a data directory: a lock that ends with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from orchestrator.store.errors import Locked


class DirectoryLock:
    """Held from construction to `release`."""

    def __init__(self, data_dir: Path) -> None:
        """Take the lock. Raises Locked if another process has it."""
        self._file = (data_dir / "orch.lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            pid = self._file.read().strip()
            self._file.close()
            holder = f" (process {pid})" if pid.isdecimal() else ""
            raise Locked(
                f"another orchestrator runs on {data_dir}{holder}: stop it first, or choose "
                "another --data-dir"
            ) from None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let go. May be called twice."""
        if not self._file.closed:
            self._file.close()
