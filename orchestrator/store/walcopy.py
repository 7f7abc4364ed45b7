"""Copies SQLite's write-ahead log into the database, beside the writer.

By itself SQLite does it within a commit, every thousand pages: that one commit then takes ten times
as long as the others, and it is the one in the busiest second.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path

from orchestrator.store.dialect import Companion

# Above this size (in pages of 4 KiB: 64 MiB) a commit does it after all, and the log starts anew:
# without pauses there is always somebody who still reads its end.
WRITER_FROM = 16_384
_FROM = 2**22  # bytes of the log: below, there is nothing to gain
_MUCH = 1_000  # pages in one copy: then the next follows soon
_SOON = 0.5  # seconds between two copies while there is much to copy
_LATER = 60.0


class WalCopier(Companion):
    """One thread for one database file."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._log = database.with_name(database.name + "-wal")
        self._news = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="store-wal", daemon=True)
        self._thread.start()

    def committed(self) -> None:
        """There is more in the log. Costs next to nothing."""
        if not self._news.is_set():
            self._news.set()

    def close(self) -> None:
        """End the thread. May be called twice."""
        self._stop.set()
        self._news.set()
        self._thread.join()

    def _work(self) -> None:
        apart = _SOON
        done = 0
        while True:
            self._news.wait()
            if self._stop.wait(apart):
                return
            self._news.clear()
            # Whatever is wrong with the file or the disk, the writer meets it as well, and tells.
            with suppress(sqlite3.Error, OSError):
                if self._log.stat().st_size < _FROM:
                    continue
                before, done = done, self._copy()
                # Less than before: the log has begun anew.
                copied = done - before if done >= before else done
                apart = _SOON if copied >= _MUCH else min(_LATER, 2 * apart)

    def _copy(self) -> int:
        """Returns how many pages of the log are copied by now."""
        with closing(sqlite3.connect(self._database, timeout=0)) as conn:
            conn.execute("PRAGMA synchronous=FULL")
            _, _, copied = conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return copied
