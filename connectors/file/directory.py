"""Kind ``directory``: a run for each new file, once it is whole.

A file is whole when its writer closed it or renamed it into place, which the kernel tells; or,
where nobody tells, when it has not changed for a while. An event's id is made of what makes a file
this file in this state: device, inode, size, time of change, and path.

The cursor is the time (of change of the inode) before which everything has been handed over. Files
from up to a day before it are looked at all the same, and known by their ids: clocks go back, and
are not the same everywhere.
"""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connectors.abc import JSON
from connectors.file.directory_settings import DirectorySettings
from connectors.file.inotify import (
    CLOSE_WRITE,
    CREATE,
    DELETE,
    IS_DIR,
    MODIFY,
    MOVED_FROM,
    MOVED_TO,
    OVERFLOW,
    Watcher,
)
from connectors.file.paths import Found, Pattern, Walk, fault, found, open_file, printable
from connectors.payloads import Payloads
from connectors.queues import Described, Inbox, Message, Polled, QueueSource
from connectors.streams import SourceContext, SourceError, SourceRefused
from connectors.times import DAY, SECOND, key

LOOK = 10.0
"""Seconds between two looks at everything, where changes are told."""
LOOK_BLIND = 1.0
"""The same, where they are not."""
BACK = DAY * 1000
"""Nanoseconds before the cursor in which files are looked at again."""
REMEMBERED = 30 * DAY
"""How long ids are known, microseconds."""
_TICK = 20 * 10**6  # nanoseconds by which a file system's clock is behind
_EVERY = 600 * 10**9  # nanoseconds after which a cursor is worth writing, where nothing is new
_UNSPEAKABLE = "its name cannot be given to a job (control characters, no text, or * at its end)"
_ASKED = 500  # ids in one question


@dataclass(kw_only=True)
class _Seen:
    """A file that is not whole yet, as far as is known."""

    file: Found
    since: float
    """When it was first seen like this."""
    whole: bool = False
    """Whether somebody told so."""
    written: bool = False
    """Whether somebody was seen to write who has not closed it."""


class DirectorySource(QueueSource):
    """New files. `poll` waits by itself."""

    def __init__(self, settings: DirectorySettings, context: SourceContext, inbox: Inbox) -> None:
        self._settings = settings
        self._context = context
        self._inbox = inbox
        self._pattern = Pattern(settings.path)
        self._payloads = Payloads(context.trigger_uid, settings.storage, keep_for=settings.keep)
        self._watcher: Watcher | None = None
        self._told: dict[str, tuple[bool, bool]] = {}  # by path: whole, being written
        self._seen: dict[str, _Seen] = {}
        self._handed: dict[str, str] = {}  # by path: the id that is known to be in the inbox
        self._denied: set[str] = set()
        self._failure: SourceError | None = None
        self._look_at = 0.0
        self._more = False
        self._begin, self._cursor = _parsed(inbox.cursor)
        self._written = self._cursor

    @property
    def interval(self) -> float:
        return 0.0

    @property
    def payloads(self) -> Payloads:
        return self._payloads

    @property
    def remember_for(self) -> int:
        return REMEMBERED

    def poll(self, room: int, wait: float) -> Polled:
        deadline = time.monotonic() + wait
        while True:
            if self._notice() or self._more:
                polled = self._look(max(1, room))
                if polled.messages or polled.cursor is not None:
                    return polled
            now = time.monotonic()
            if now >= deadline or self._context.stop.is_set() or self._watcher is None:
                return Polled()
            self._watcher.wait(min(deadline, self._look_at) - now, self._context.stop)

    def describe(self, messages: Sequence[Message]) -> Described:
        if len(messages) != 1:
            return Described()
        body = messages[0].body
        values = {"object": {name: body[name] for name in ("path", "name", "size")}}
        if self._settings.input != "source":
            return Described(values=values)
        source = {"Type": "localDirectory", "Params": {"SourcePath": body["path"]}}
        return Described(
            values=values, inputs=[{"Source": source, "Target": self._settings.target}]
        )

    def lag(self) -> int | None:
        return len(self._seen)

    def close(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.close()
        self._payloads.close()

    def _notice(self) -> bool:
        """Take in what the kernel tells; whether it is time to look."""
        if self._watcher is None:
            self._watcher = Watcher()
        news = time.monotonic() >= self._look_at
        for change in self._watcher.changes():
            path = f"{change.directory.rstrip('/')}/{change.name}"
            # Nothing is whole because somebody begins, or goes on, to write.
            news |= not change.mask & (CREATE | MODIFY) or bool(change.mask & IS_DIR)
            if change.mask & OVERFLOW:
                self._told.clear()
            elif change.mask & IS_DIR:
                continue
            elif change.mask & (CLOSE_WRITE | MOVED_TO):
                self._told[path] = (True, False)
            elif change.mask & (CREATE | MODIFY):
                self._told[path] = (False, True)
            elif change.mask & (MOVED_FROM | DELETE):
                self._told.pop(path, None)
        return news

    def _look(self, room: int) -> Polled:
        """Hand over what is whole, at most `room` and a few."""
        assert self._watcher is not None
        began = time.time_ns()
        if self._cursor is None:
            self._begin = began - _TICK if self._settings.start == "end" else 0
        walk = self._pattern.walk(symlinks=self._settings.symlinks)
        complete = self._watcher.watch(walk.directories) and self._watcher.active
        now = time.monotonic()
        whole = self._sorted_out(walk.files, now)
        known = self._known(whole)
        fresh = [file for file in whole if file_id(file) not in known]
        self._complain(walk)
        messages: list[Message] = []
        for file in fresh[:room]:
            try:
                messages.append(self._message(file))
            except FileNotFoundError:
                continue
            except OSError as error:
                self._failure = fault(file.path, error)
        self._more = len(fresh) > room
        self._look_at = now + (LOOK if complete else LOOK_BLIND)
        settle = self._settings.settle / SECOND
        waiting = [seen.since + settle for seen in self._seen.values() if not seen.written]
        self._look_at = max(now + 0.02, min([self._look_at, *waiting]))
        if self._failure is not None and not messages:
            failure, self._failure = self._failure, None
            raise failure
        return Polled(messages=messages, cursor=self._moved(began, fresh))

    def _sorted_out(self, files: Mapping[str, Found], now: float) -> list[Found]:
        """The files that are whole, oldest first; the others are remembered."""
        bound = self._bound()
        seen: dict[str, _Seen] = {}
        whole: list[Found] = []
        for path, file in files.items():
            if file.ctime < bound or self._handed.get(path) == file_id(file):
                continue
            if not _speakable(path):
                continue
            before = self._seen.get(path)
            same = before is not None and before.file == file
            one = before if same and before is not None else _Seen(file=file, since=now)
            is_whole, written = self._told.get(path, (False, False))
            one.whole, one.written = is_whole, written
            old = (time.time_ns() - max(file.mtime, file.ctime)) // 1000
            quiet = min((now - one.since) * SECOND if before else old, 10**18)
            if one.whole or (not one.written and max(quiet, old) >= self._settings.settle):
                whole.append(file)
            else:
                seen[path] = one
        self._seen = seen
        self._handed = {path: of for path, of in self._handed.items() if path in files}
        self._told = {
            path: told
            for path, told in self._told.items()
            if path in files and path not in self._handed
        }
        return sorted(whole, key=lambda file: (file.ctime, file.path))

    def _bound(self) -> int:
        """Files that were changed before this have been handed over, or are none of ours."""
        if self._cursor is None:
            return self._begin
        back = self._cursor - BACK
        if time.time_ns() - self._cursor > REMEMBERED * 1000 - BACK:
            back = self._cursor  # ids from before that may be forgotten by now
        return max(self._begin, back)

    def _known(self, whole: Sequence[Found]) -> set[str]:
        ids = {file_id(file): file.path for file in whole}
        asked = list(ids)
        known: set[str] = set()
        for at in range(0, len(asked), _ASKED):
            known |= self._inbox.known(asked[at : at + _ASKED])
        for one in known:
            self._handed[ids[one]] = one
        return known

    def _moved(self, began: int, fresh: Sequence[Found]) -> str | None:
        """The cursor, once nothing before it is left; None: not worth writing."""
        left = [seen.file.ctime for seen in self._seen.values()] + [file.ctime for file in fresh]
        cursor = max(self._cursor or 0, min([began, *left]))
        first = self._written is None
        self._cursor = cursor
        if not first and cursor - (self._written or 0) < _EVERY:
            return None
        self._written = cursor
        return f"{self._begin}.{cursor}"

    def _complain(self, walk: Walk) -> None:
        """Say once what cannot be handed over."""
        denied = walk.denied | {path: _UNSPEAKABLE for path in walk.files if not _speakable(path)}
        news = [path for path in denied if path not in self._denied]
        self._denied = set(denied)
        if news:
            more = f" (and {len(news) - 1} more)" if len(news) > 1 else ""
            self._failure = SourceRefused(f"{printable(news[0])}: {denied[news[0]]}{more}")

    def _message(self, file: Found) -> Message:
        body: dict[str, JSON] = {
            "path": file.path,
            "name": file.parts[-1],
            "size": file.size,
            "modified": key(max(0, file.mtime // 1000)),
        }
        if self._settings.input == "inline" and file.size <= self._settings.max_inline:
            body |= self._content(file)
        return Message(id=file_id(file), body=body, at=max(0, file.mtime // 1000))

    def _content(self, file: Found) -> Mapping[str, JSON]:
        opened = open_file(self._pattern.root, file.parts, symlinks=self._settings.symlinks)
        try:
            content = os.pread(opened, self._settings.max_inline + 1, 0)
            after = found(file.parts, file.path, os.fstat(opened))
        finally:
            os.close(opened)
        if file_id(after) != file_id(file):
            raise FileNotFoundError  # it is another one by now, and comes again
        try:
            return {"content": content.decode()}
        except UnicodeDecodeError:
            return {"content_base64": base64.b64encode(content).decode()}


def file_id(file: Found) -> str:
    """The id of a file in its present state."""
    state = f"{file.device}:{file.inode}:{file.mtime}:{file.size}:{file.path}"
    return hashlib.sha256(os.fsencode(state)).hexdigest()[:40]


def _speakable(path: str) -> bool:
    return printable(path.replace("%", "")) == path.replace("%", "") and not path.endswith("*")


def _parsed(cursor: str | None) -> tuple[int, int | None]:
    if cursor is None:
        return 0, None
    begin, _, at = cursor.partition(".")
    return int(begin), int(at)
