"""What the kit watches a connector for: I/O where none may be, and threads that are left."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import Any

_STEP = 0.02  # seconds between two looks
_OUTSIDE = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto")
_ACTS = (*_OUTSIDE, "subprocess.Popen", "os.posix_spawn", "os.system", "sqlite3.connect")
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.listdir", "os.scandir")
_CODE = (".py", ".pyc", ".so", ".pyi")

_here = threading.local()
_installed = threading.Lock()
_hooked: list[bool] = []


def eventually(condition: Callable[[], Any], what: str, within: float) -> None:
    """Look until something is so; AssertionError after so many seconds."""
    pause = threading.Event()
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        pause.wait(_STEP)


@contextmanager
def no_io() -> Generator[None]:
    """AssertionError if this thread opens a connection, a process or a file, or changes one.

    What loads code is passed over, because modules may be imported on use.
    """
    with _installed:
        if not _hooked:
            sys.addaudithook(_hook)  # there for good: Python has no way to take one away
            _hooked.append(True)
    seen: list[str] = []
    _here.seen = seen
    try:
        yield
    finally:
        _here.seen = None
    assert not seen, f"this may do no I/O, but there was {', '.join(seen)}"


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    seen: list[str] | None = getattr(_here, "seen", None)
    if seen is None:
        return
    if event in _ACTS or (event in _CHANGES and not _is_code(arguments[0])):
        seen.append(event)
    elif event == "open" and not _is_code(arguments[0]):
        seen.append(f"open of {arguments[0]!r}")


def _is_code(path: object) -> bool:
    if not isinstance(path, str | bytes):
        return isinstance(path, int)  # a descriptor that is open already
    text = os.fsdecode(path)
    whole = os.path.abspath(text)
    # The import system lists the directories in which it looks.
    return text.endswith(_CODE) or any(whole.startswith(root) for root in _roots())


def _roots() -> Collection[str]:
    return {os.path.abspath(place) for place in (sys.prefix, sys.base_prefix, *sys.path) if place}


class Threads:
    """The threads that there are when this is made; those that come later have to go."""

    def __init__(self, shared: Sequence[str] = ()) -> None:
        self._before = set(threading.enumerate())
        self._shared = tuple(shared)

    def new(self) -> list[str]:
        """Names of threads that have come since and are still there."""
        return sorted(
            thread.name
            for thread in threading.enumerate()
            if thread not in self._before and not any(part in thread.name for part in self._shared)
        )

    def gone(self, lingers: float) -> None:
        """AssertionError if some stay for so many seconds."""
        eventually(lambda: not self.new(), f"threads end after close: {self.new()}", lingers)


def within(seconds: float, what: str, act: Callable[[], object]) -> None:
    """Do something in a thread of its own; AssertionError if it takes longer. What it raises is
    raised here."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - raised again below, by whoever waits
            failures.append(error)

    thread = threading.Thread(target=run, name=f"kit: {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"{what} takes longer than {seconds:g} s"
    if failures:
        raise failures[0]
