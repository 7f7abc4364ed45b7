"""What tasks print: whole in a file as the log stream sends it, its start in the job's record."""

from __future__ import annotations

import asyncio
import codecs
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

from .model import dumps

STDOUT, STDERR = 1, 2
HEAD_BYTES = 2048
MAX_LOG_BYTES = 16 * 1024 * 1024
_CHUNK = 64 * 1024


def _each_byte(error: UnicodeError) -> tuple[str, int]:
    """One replacement character for every bad byte, as Go's JSON encoder writes them."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\ufffd" * (error.end - error.start), error.end


codecs.register_error("devnode-each-byte", _each_byte)


def text(data: bytes) -> str:
    """Output as JSON shows it."""
    return data.decode("utf-8", "devnode-each-byte")


class LogWriter:
    """Collects the output of one execution; may be written to from any thread.

    `first_write_only` keeps only the first write of each stream for the record, as the WASM
    engine of a real node does.
    """

    def __init__(self, path: Path, *, first_write_only: bool, notify: Callable[[], None]) -> None:
        self._path = path
        self._first_only = first_write_only
        self._notify = notify
        self._lock = threading.Lock()
        self._heads = {STDOUT: b"", STDERR: b""}
        self._truncated = {STDOUT: False, STDERR: False}
        self._lines = {STDOUT: b"", STDERR: b""}
        self._written = 0
        self._file: BinaryIO | None = None

    def write(self, stream: int, data: bytes) -> None:
        """Takes the next piece of output."""
        if not data:
            return
        with self._lock:
            self._keep_head(stream, data)
            complete, newline, rest = (self._lines[stream] + data).rpartition(b"\n")
            if len(rest) > _CHUNK:
                complete, newline, rest = complete + newline + rest, b"", b""
            self._lines[stream] = rest
            if complete or newline:
                self._append(stream, complete + newline)
        self._notify()

    def _keep_head(self, stream: int, data: bytes) -> None:
        head = self._heads[stream]
        if self._first_only and head:
            return
        kept = data[: HEAD_BYTES - len(head)]
        self._heads[stream] = head + kept
        if len(kept) < len(data):
            self._truncated[stream] = True

    def _append(self, stream: int, data: bytes) -> None:
        if self._written > MAX_LOG_BYTES:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        entries = "".join(
            dumps({"value": {"Type": stream, "Line": text(line)}}) + "\n"
            for line in data.splitlines(keepends=True)
        )
        self._written += self._file.write(entries.encode())

    def close(self) -> None:
        """Writes unfinished lines; the output is complete afterwards."""
        with self._lock:
            for stream, rest in self._lines.items():
                if rest:
                    self._append(stream, rest)
            self._lines = {STDOUT: b"", STDERR: b""}
            if self._file is not None:
                self._file.close()
                self._file = None
        self._notify()

    def head(self, stream: int) -> bytes:
        """The start of a stream that goes into the record."""
        return self._heads[stream]

    def render(self, exit_code: int) -> str:
        """The execution's `RunOutput`."""
        return dumps(
            {
                "Stdout": text(self._heads[STDOUT]),
                "StdoutTruncated": self._truncated[STDOUT],
                "stderr": text(self._heads[STDERR]),
                "StderrTruncated": self._truncated[STDERR],
                "ExitCode": exit_code,
                "ErrorMsg": "",
            }
        )


class LogBook:
    """The log files of all executions, and who is waiting for more of them."""

    def __init__(self, directory: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._directory = directory
        self._loop = loop
        self._writers: dict[str, LogWriter] = {}
        self._followers: dict[str, set[asyncio.Event]] = {}

    def writer(self, execution_id: str, *, first_write_only: bool) -> LogWriter:
        """A new execution's writer, known as live until `finish`."""
        writer = LogWriter(
            self._directory / f"{execution_id}.log",
            first_write_only=first_write_only,
            notify=lambda: self._notify(execution_id),
        )
        self._writers[execution_id] = writer
        return writer

    def finish(self, execution_id: str) -> None:
        """Nothing more comes from this execution."""
        writer = self._writers.pop(execution_id, None)
        if writer is not None:
            writer.close()
        self._wake(execution_id)

    def _notify(self, execution_id: str) -> None:
        if execution_id in self._followers:
            self._loop.call_soon_threadsafe(self._wake, execution_id)

    def _wake(self, execution_id: str) -> None:
        for follower in self._followers.get(execution_id, ()):
            follower.set()

    async def stream(self, execution_id: str, *, follow: bool) -> AsyncIterator[str]:
        """The messages of an execution's log so far, then with `follow` those to come."""
        more = asyncio.Event()
        followers = self._followers.setdefault(execution_id, set())
        followers.add(more)
        position = 0
        try:
            while True:
                more.clear()
                live = execution_id in self._writers
                data = _read_from(self._directory / f"{execution_id}.log", position)
                position += len(data)
                for entry in data.splitlines(keepends=True):
                    yield entry.decode()
                if not data:
                    if not (follow and live):
                        return
                    await more.wait()
        finally:
            followers.discard(more)
            if not followers:
                self._followers.pop(execution_id, None)


def _read_from(path: Path, position: int) -> bytes:
    """Whole messages from a position on; a message that is still being written waits."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read(16 * _CHUNK)
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def error_message(message: str) -> str:
    """What the stream sends where there is nothing to stream."""
    return json.dumps({"error": message, "value": {"Type": 0, "Line": ""}}) + "\n"
