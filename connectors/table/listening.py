"""Waiting until PostgreSQL tells of new rows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from connectors.table.database import TableDatabase
from connectors.tables import quoted

_SLICE = 0.5  # seconds after which a wait looks whether it is to end


class Listener:
    """A connection that listens on one channel. `wait` is for one thread, `close` for any."""

    def __init__(self, database: TableDatabase, channel: str) -> None:
        self._database = database
        self._channel = channel
        self._lock = threading.Lock()
        self._connection: Any = None
        self._closed = False

    def begin(self) -> None:
        """Listen, so that nothing that is told from now on is missed. Raises the errors of
        :meth:`TableDatabase.transaction`."""
        with self._lock:
            if self._connection is None and not self._closed:
                made = self._database.connect()
                made.autocommit = True
                try:
                    made.execute(f"LISTEN {quoted('postgresql', self._channel)}")
                except Exception as error:
                    made.close()
                    raise self._database.meaning(error) from error
                self._connection = made

    def wait(self, seconds: float, ends: Callable[[], bool]) -> bool:
        """Whether somebody has told of rows, within so many seconds. Raises as `begin`."""
        deadline = time.monotonic() + seconds
        while not ends() and (left := deadline - time.monotonic()) > 0:
            with self._lock:
                if self._closed or self._connection is None:
                    return False
                try:
                    told = list(self._connection.notifies(timeout=min(left, _SLICE), stop_after=1))
                except Exception as error:
                    self._let_go()
                    raise self._database.meaning(error) from error
            if told:
                return True
        return False

    def close(self) -> None:
        """Let go of the connection. May be called twice, and while somebody waits."""
        self._closed = True
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()
