"""Changes in directories, told by the kernel: inotify, through the C library.

No thread and no other process: a descriptor that becomes readable. Where there is no inotify (other
systems, no instances left), or the file system is a remote one, nobody tells anything, and whoever
uses this has to look now and then.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, cast

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
OVERFLOW = 0x4000
IGNORED = 0x8000
IS_DIR = 0x40000000
_ONLY_DIRECTORIES = 0x01000000
_WATCHED = (
    MODIFY
    | ATTRIB
    | CLOSE_WRITE
    | MOVED_FROM
    | MOVED_TO
    | CREATE
    | DELETE
    | DELETE_SELF
    | MOVE_SELF
)
_HEAD = struct.Struct("iIII")
_READ = 64 * 1024
_STEP = 0.05  # seconds between two looks at the stop event


class _C(Protocol):
    def inotify_init1(self, flags: int, /) -> int: ...
    def inotify_add_watch(self, file: int, path: bytes, mask: int, /) -> int: ...
    def inotify_rm_watch(self, file: int, watch: int, /) -> int: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Something has happened. With `OVERFLOW` in `mask`: more than was kept, look at everything."""

    directory: str
    name: str
    """Of the file in it; "" for the directory itself."""
    mask: int


class Watcher:
    """Directories that are watched. For one thread; `close` may be called by another one."""

    def __init__(self) -> None:
        self._c = _library()
        self._file = -1 if self._c is None else self._c.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watches: dict[int, str] = {}
        self._lock = threading.Lock()

    @property
    def active(self) -> bool:
        """Whether anything is told at all."""
        return self._file >= 0

    def watch(self, directories: Collection[str]) -> bool:
        """Watch exactly these. Returns whether all of them can be watched."""
        if self._c is None or self._file < 0:
            return False
        complete = True
        kept: dict[int, str] = {}
        for directory in directories:
            # A directory that is watched already keeps its number; a new one of its name has
            # another one.
            mask = _WATCHED | _ONLY_DIRECTORIES
            number = self._c.inotify_add_watch(self._file, os.fsencode(directory), mask)
            if number < 0:
                complete = False
            else:
                kept[number] = directory
        for number in self._watches.keys() - kept.keys():
            self._c.inotify_rm_watch(self._file, number)
        self._watches = kept
        return complete

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Return once there are changes, the time is over, or `stop` is set."""
        deadline = time.monotonic() + seconds
        while not stop.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            with self._lock:
                file = self._file
            if file < 0:
                stop.wait(left)
                return
            poller = select.poll()
            poller.register(file, select.POLLIN)
            if poller.poll(1000 * min(left, 10 * _STEP)):
                return

    def changes(self) -> Iterator[Change]:
        """What has happened since the last call."""
        while self._file >= 0:
            try:
                block = os.read(self._file, _READ)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                yield Change(directory="", name="", mask=OVERFLOW)
                return
            at = 0
            while at < len(block):
                watch, mask, _, length = _HEAD.unpack_from(block, at)
                at += _HEAD.size
                name = os.fsdecode(block[at : at + length].rstrip(b"\0"))
                at += length
                if mask & OVERFLOW:
                    yield Change(directory="", name="", mask=OVERFLOW)
                elif watch in self._watches:
                    yield Change(directory=self._watches[watch], name=name, mask=mask)

    def close(self) -> None:
        """Let go of the descriptor. May be called twice."""
        with self._lock:
            file, self._file = self._file, -1
            self._watches = {}
            if file >= 0:
                os.close(file)


def _library() -> _C | None:
    with suppress(OSError):
        library = ctypes.CDLL(None, use_errno=True)
        if hasattr(library, "inotify_init1"):
            return cast(_C, library)
    return None
