"""What the executors share: how a task is told to stop, and how it ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from ..logs import LogWriter
from ..states import Json


class Stop(Enum):
    """Why a task must end before it does so by itself."""

    TIMEOUT = "timeout"  # its ExecutionTimeout passed: killed at once
    REQUESTED = "requested"  # the job was stopped: asked first, then killed
    SHUTDOWN = "shutdown"  # the dev node or its compute node ends: killed at once


class TaskFailed(Exception):
    """A task that has no exit code: it could not start, trapped, or was killed for a reason.

    `topic` and `details` go into the job's history as a real node writes them.
    """

    def __init__(
        self, message: str, topic: str = "Running Execution", details: Json | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.topic, self.details = message, topic, details or {}


class Control:
    """The way to a running task from other threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupt: Callable[[Stop], None] | None = None
        self._stop: Stop | None = None
        self.stopping = threading.Event()

    @property
    def stop_reason(self) -> Stop | None:
        """The reason of the first `stop`, None while the task may go on."""
        return self._stop

    def stop(self, reason: Stop) -> None:
        """Ends the task; later calls with other reasons change nothing."""
        with self._lock:
            if self._stop is not None:
                return
            self._stop = reason
            self.stopping.set()
            if self._interrupt is not None:
                self._interrupt(reason)

    def on_stop(self, interrupt: Callable[[Stop], None] | None) -> None:
        """Registers what ends the task, None when it has ended.

        The call must not block. It comes at once where a stop came before, and never after
        `on_stop(None)` has returned: what it interrupts may belong to another task by then.
        """
        with self._lock:
            self._interrupt = interrupt
            if interrupt is not None and self._stop is not None:
                interrupt(self._stop)


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A file or directory of this machine that the task sees at `target`."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, kw_only=True)
class TaskRun:
    """Everything that an executor needs for one execution."""

    execution_id: str
    task: Json
    environment: Mapping[str, str]
    memory_bytes: int
    directory: Path  # scratch space; exists where mounts need it
    log: LogWriter
    control: Control
    mounts: tuple[Mount, ...] = field(default=())
    module: bytes = b""  # the entry module of a WASM task


class Executor(Protocol):
    """Runs tasks of one engine."""

    def check(self, task: Json) -> None:
        """Raises TaskFailed where the task cannot run on this node at all."""
        ...

    def run(self, run: TaskRun) -> int:
        """Runs to the end and returns the exit code; raises TaskFailed."""
        ...

    def close(self) -> None:
        """Frees what outlives a run."""
        ...
