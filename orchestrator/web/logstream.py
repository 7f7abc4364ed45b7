"""A job's log from the cluster, pumped by a thread of its own into the event loop.

The client reads with blocking calls, and a log may be silent for hours: in the pool that serves all
other requests, a few such readers would stop the API.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Iterator

from bacalhau_client import BacalhauClient, BacalhauError
from orchestrator.store.values import Attempt

_AT_ONCE = 64
_MAX_BYTES = 256 * 1024 * 1024
_IDLE = 24 * 3600.0  # seconds without a line
_QUEUED = 256  # lines that a slow reader is behind
_GRAIN = 0.5  # seconds

_room = threading.BoundedSemaphore(_AT_ONCE)


class TooMany(Exception):
    """So many logs are read already that this one has to wait."""


class _Ending(threading.Event):
    """Set by its own reader, or by the end of the server."""

    def __init__(self, server: threading.Event) -> None:
        super().__init__()
        self._server = server

    def is_set(self) -> bool:
        return super().is_set() or self._server.is_set()


class LogStream:
    """One reader. `lines` ends with the log; `close` ends it earlier. Raises TooMany."""

    def __init__(
        self, client: BacalhauClient, attempt: Attempt, *, follow: bool, stopping: threading.Event
    ) -> None:
        if not _room.acquire(blocking=False):
            raise TooMany
        self._ending = _Ending(stopping)
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[str | BacalhauError | None] = asyncio.Queue(_QUEUED)
        self._source: Iterator[str] = (
            piece.line
            for piece in client.jobs.logs(
                attempt.job_id or attempt.job_name,
                namespace=attempt.namespace or None,
                follow=follow,
                max_bytes=_MAX_BYTES,
                idle_timeout=_IDLE if follow else None,
                stop=self._ending,
            )
        )
        threading.Thread(target=self._pump, name="log", daemon=True).start()

    def close(self) -> None:
        """Read no more."""
        self._ending.set()

    async def first(self, wait: float) -> str | None:
        """The first line; None if the log has ended, an empty text after `wait` seconds.

        Raises BacalhauError if the cluster does not give the log.
        """
        try:
            item = await asyncio.wait_for(self._queue.get(), wait)
        except TimeoutError:
            return ""
        if isinstance(item, BacalhauError):
            raise item
        return item

    async def lines(self) -> AsyncIterator[str]:
        """The lines after the first."""
        try:
            while (item := await self._queue.get()) is not None:
                if isinstance(item, BacalhauError):
                    yield f"\n[the log ends here: {item}]\n"
                    return
                yield item
        finally:
            self.close()

    def _pump(self) -> None:
        try:
            for line in self._source:
                if not self._put(line):
                    return
            self._put(None)
        except BacalhauError as error:
            self._put(error)
        finally:
            _room.release()

    def _put(self, item: str | BacalhauError | None) -> bool:
        """Hand over, and wait for a slow reader. Returns whether there still is one."""
        putting = self._queue.put(item)
        try:
            future = asyncio.run_coroutine_threadsafe(putting, self._loop)
        except RuntimeError:  # the loop is closed
            putting.close()
            return False
        while not self._ending.is_set():
            try:
                future.result(_GRAIN)
            except TimeoutError:
                continue
            except concurrent.futures.CancelledError:
                return False
            return True
        future.cancel()
        return False
