"""Crew: a bounded number of threads for calls that may hang.

A call into somebody else's code can hang for ever, and a thread cannot be ended from outside. The
crew lets go of such a thread and puts a fresh one in its place, so that the others' work goes on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_JOIN = 10.0  # seconds that `stop` waits for calls under way


class Crew:
    """Carries out calls, each by one thread. Thread-safe."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[threading.Thread] = set()
        self._lost: set[threading.Thread] = set()
        self._made = 0
        self._idle = 0
        self._stopped = False

    @property
    def threads(self) -> int:
        """Threads at work or waiting for it, without those that were let go."""
        with self._lock:
            return len(self._workers)

    def submit(self, call: Callable[[], None]) -> None:
        """Carry out a call as soon as a thread is free. It must not raise."""
        with self._lock:
            if self._stopped:
                return
            if self._queue.qsize() >= self._idle and len(self._workers) < self._size:
                self._hire()
            self._queue.put(call)

    def _hire(self) -> None:
        self._made += 1
        thread = threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True)
        self._workers.add(thread)
        thread.start()

    def let_go(self, thread: threading.Thread) -> None:
        """Wait no more for a thread that hangs; when its call comes back, it ends."""
        with self._lock:
            if thread in self._workers:
                self._workers.discard(thread)
                self._lost.add(thread)
                if not self._queue.empty():
                    self._hire()

    def stop(self) -> None:
        """End the threads after what they do now; those that hang are left behind."""
        with self._lock:
            self._stopped = True
            workers = list(self._workers)
            for _ in workers:
                self._queue.put(None)
        for thread in workers:
            thread.join(_JOIN)

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self._lock:
                self._idle += 1
            call = self._queue.get()
            with self._lock:
                self._idle -= 1
            if call is None:
                break
            call()
            with self._lock:
                if me in self._lost:
                    self._lost.discard(me)
                    return
        with self._lock:
            self._workers.discard(me)
