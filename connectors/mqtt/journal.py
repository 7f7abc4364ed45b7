"""What the client of a lasting session remembers: under which id each packet was received.

MQTT gives a message no id. It numbers packets, and a number is used again once its message is
acknowledged. Between the two it is one message's, through all connections of the session: so a
packet that comes again (DUP) and was never acknowledged is the message that it was, and whatever
else has its number is another one. To know that after a crash, too, numbers stand in a file, and
are taken out of it, durably, *before* the broker is told that they are free.

The file is of this machine, the session is of the trigger. A *token* in the trigger's cursor says
whose file was written last: with another token, or none of its own, a file knows nothing, and what
comes again are new messages.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from connectors.streams import SourceUnavailable

_FILE = "session"
_SPARE = 5000  # lines that are of no use before the file is written anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A message that the broker has not been told about."""

    digest: str
    id: str


class Journal:
    """Of one trigger. Thread-safe; opened on first use, and by one source at a time."""

    def __init__(self, directory: Path, cursor: str | None) -> None:
        """`cursor` is the token of the file that was written last, as the store knows it; None
        where it knows none."""
        self._path = directory / _FILE
        self._cursor = cursor
        self._lock = threading.RLock()
        self._file: BinaryIO | None = None
        self._closed = False
        self._entries: dict[int, Entry] = {}
        self._subscribed: tuple[str, ...] = ()
        self._lines = 0
        self._token = ""

    @property
    def token(self) -> str:
        """The file's name for itself. Raises SourceUnavailable, as everything else that opens."""
        with self._lock:
            self._opened()
            return self._token

    @property
    def subscribed(self) -> Sequence[str]:
        """What the session is known to be subscribed to."""
        with self._lock:
            self._opened()
            return self._subscribed

    def entry(self, packet: int) -> Entry | None:
        """The message of a packet, while the broker has not been told about it."""
        with self._lock:
            self._opened()
            return self._entries.get(packet)

    def begin(self) -> None:
        """The broker has a new session: numbers of the one before mean nothing."""
        with self._lock:
            self._opened()
            self._entries.clear()
            self._subscribed = ()
            self._rewrite()

    def subscribes(self, filters: Sequence[str]) -> None:
        """The session is subscribed to these now."""
        with self._lock:
            self._opened()
            self._subscribed = tuple(filters)
            self._write([["s", *filters]])

    def note(self, entries: Iterable[tuple[int, Entry]]) -> None:
        """These packets have come. Survives the end of the process; a power cut may undo it, and
        they are other messages then."""
        with self._lock:
            self._opened()
            lines: list[list[Any]] = []
            for packet, entry in entries:
                self._entries[packet] = entry
                lines.append(["+", packet, entry.digest, entry.id])
            self._write(lines)

    def free(self, packets: Iterable[int], ids: Mapping[int, str] | None = None) -> None:
        """The numbers of these packets may be used again; with `ids` only as far as they are those
        of these messages. Durable when this returns."""
        with self._lock:
            file, gone = self._opened(), list[int]()
            for packet in packets:
                entry = self._entries.get(packet)
                if entry is not None and (ids is None or ids[packet] == entry.id):
                    del self._entries[packet]
                    gone.append(packet)
            if not gone:
                return
            if self._lines > _SPARE + 2 * len(self._entries):
                self._rewrite()
                return
            self._write([["-", *gone]])
            os.fdatasync(file.fileno())

    def close(self) -> None:
        """Let another have the file. May be called twice."""
        with self._lock:
            self._closed = True
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _opened(self) -> BinaryIO:
        if self._file is not None:
            return self._file
        if self._closed:
            raise SourceUnavailable("the source is closed")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("a+b", buffering=0)
        except OSError as error:
            raise SourceUnavailable(f"{self._path} cannot be opened: {error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise SourceUnavailable(
                "the session is still in use by what reads this trigger no more"
            ) from error
        self._file = file
        self._load(file)
        return self._file

    def _load(self, file: BinaryIO) -> None:
        file.seek(0)
        whole, _, torn = file.read().rpartition(b"\n")
        try:
            for line in whole.splitlines():
                self._apply(json.loads(line))
        except (ValueError, TypeError, IndexError):
            self._token = ""  # nobody but us writes it: a damaged disk
        known = self._token and self._cursor in (None, self._token)
        if not known:
            self._token = secrets.token_hex(8)
            self._entries.clear()
            self._subscribed = ()
        if torn or not known:
            self._rewrite()

    def _apply(self, line: list[Any]) -> None:
        self._lines += 1
        match line:
            case ["t", str(token)]:
                self._token = token
            case ["s", *filters]:
                self._subscribed = tuple(str(one) for one in filters)
            case ["+", int(packet), str(digest), str(id_)]:
                self._entries[packet] = Entry(digest=digest, id=id_)
            case ["-", *packets]:
                for packet in packets:
                    self._entries.pop(int(packet), None)
            case _:
                raise ValueError("not a line of a journal")

    def _write(self, lines: Sequence[Sequence[Any]]) -> None:
        if not lines or self._file is None:
            return
        self._lines += len(lines)
        try:
            self._file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        except OSError as error:
            raise SourceUnavailable(f"{self._path} cannot be written: {error}") from error

    def _rewrite(self) -> None:
        """Durable when this returns. The file stays the same one: the lock is on it."""
        lines: list[list[Any]] = [["t", self._token], ["s", *self._subscribed]]
        lines += [["+", packet, e.digest, e.id] for packet, e in self._entries.items()]
        text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        file = self._file
        if file is None:
            return
        try:
            # In this order a crash leaves nothing, or a part that ends before its last line: then
            # messages that come again are taken for new ones.
            file.truncate(0)
            file.write(text)
            os.fdatasync(file.fileno())
        except OSError as error:
            raise SourceUnavailable(f"{self._path} cannot be written: {error}") from error
        self._lines = len(lines)
