"""Long polls: requests that wait for the end of a run, and hold no thread meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from anyio.to_thread import run_sync

from orchestrator.domain.signals import Signal, Topic
from orchestrator.store.errors import StoreError
from orchestrator.web.deps import Deps

LONGEST = 60  # seconds
AT_ONCE = 2000  # requests; more are answered without waiting
_APART = 0.05  # seconds between two looks: many ends are read together
_IDLE = 1.0  # seconds after which one looks anyway, as for the end of the daemon


class _Bell(Signal):
    """A signal that calls into an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
        super().__init__()
        self._loop = loop
        self._event = event

    def raise_(self) -> None:
        """Wake the look-out. Called by the store's writer."""
        with suppress(RuntimeError):  # the loop is closed: the daemon ends
            self._loop.call_soon_threadsafe(self._event.set)


class Ends:
    """Tells requests of the ends of runs. One look-out reads the store for all of them, and only
    while there are any."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._count = 0
        self._lookout: asyncio.Task[None] | None = None

    async def wait(self, run_id: str, seconds: float) -> None:
        """Return when the run has ended, or the time is over."""
        if seconds <= 0 or self._count >= AT_ONCE or self._deps.stopping.is_set():
            return
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, []).append(ended)
        self._count += 1
        if self._lookout is None:
            self._lookout = asyncio.create_task(self._look_out())
        try:
            await asyncio.wait([ended], timeout=min(seconds, LONGEST))
        finally:
            self._count -= 1
            others = self._waiting.get(run_id, [])
            if ended in others:
                others.remove(ended)
            if not others:
                self._waiting.pop(run_id, None)

    async def _look_out(self) -> None:
        event = asyncio.Event()
        bell = _Bell(asyncio.get_running_loop(), event)
        signals = self._deps.database.signals
        signals.listen(bell, [Topic.CHANGED])
        try:
            with suppress(StoreError):  # they are answered: what comes next says what is wrong
                await self._read(event)
        finally:
            signals.forget(bell)
            self._lookout = None
            for run_id in list(self._waiting):
                self._release(run_id)

    async def _read(self, event: asyncio.Event) -> None:
        while self._waiting and not self._deps.stopping.is_set():
            for run_id in await run_sync(self._deps.jobs.ended, list(self._waiting)):
                self._release(run_id)
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), _IDLE)
                await asyncio.sleep(_APART)
            event.clear()

    def _release(self, run_id: str) -> None:
        for ended in self._waiting.get(run_id, ()):
            if not ended.done():
                ended.set_result(None)
