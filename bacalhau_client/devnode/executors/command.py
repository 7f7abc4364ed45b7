"""Runs a local command where a task asks for an image: for development, without isolation.

The task's inputs and result paths lie where the task expects them, in a view of this machine's
files of its own (a mount namespace, Linux only). The command dies with the dev node.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..config import RUN_AS_WRITTEN
from ..logs import STDERR, STDOUT, LogWriter
from ..states import Json, mapping, sequence
from . import Control, Stop, TaskFailed, TaskRun
from .view import view_command

STOP_GRACE = 1.0
"""Seconds between the request to end and the kill, when a job is stopped."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLL = 0.05


class CommandExecutor:
    """Knows which command stands for which image."""

    def __init__(self, images: Mapping[str, str]) -> None:
        self._images = images
        # Lets the kernel kill a command whose dev node was killed without a chance to do so.
        guard = shutil.which("setpriv") if sys.platform.startswith("linux") else None
        self._guard = [guard, "--pdeathsig", "KILL"] if guard else []

    def check(self, task: Json) -> None:
        """Raises TaskFailed where no command stands for the image."""
        image = str(mapping(task["Engine"], "Params").get("Image", ""))
        if image not in self._images:
            raise image_not_available(image)

    def close(self) -> None:
        """Nothing outlives a run."""

    def run(self, run: TaskRun) -> int:
        """Runs the command to its end; raises TaskFailed."""
        parameters: Json = run.task["Engine"]["Params"]
        argv = command_line(self._images[parameters["Image"]], parameters)
        if run.mounts:
            argv = view_command(run.directory, run.mounts, argv)
        run.directory.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ.get("PATH", _PATH),
            "HOME": str(run.directory),
            **run.environment,
        }
        try:
            process = subprocess.Popen(  # noqa: S603 - running commands is what this is for
                [*self._guard, *argv],
                cwd=str(parameters.get("WorkingDirectory") or run.directory),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise TaskFailed(f"failed to start container: {error}") from error
        with process:
            return supervise(process, run.log, run.control, memory_bytes=run.memory_bytes)


def image_not_available(image: str) -> TaskFailed:
    """The failure of an image that cannot be had."""
    return TaskFailed(
        f'image not available: "{image}"',
        "Exec Scanning",
        {
            "ErrorCode": "Docker:ImageNotFound",
            "Hint": "To resolve this, either:\n"
            "1. Check if the image exists in the registry and the name is correct\n"
            "2. If the image is private, supply the node with valid Docker login credentials "
            "using the DOCKER_USERNAME and DOCKER_PASSWORD environment variables",
            "Image": image,
        },
    )


def command_line(command: str, parameters: Json) -> list[str]:
    """What runs for a task: the image's command with the task's Parameters.

    The command `-` stands for the task's own Entrypoint and Parameters.
    """
    arguments = [str(value) for value in sequence(parameters, "Parameters")]
    if command.strip() != RUN_AS_WRITTEN:
        return shlex.split(command) + arguments
    own = [str(value) for value in sequence(parameters, "Entrypoint")] + arguments
    if not own:
        raise TaskFailed("failed to start container: the task has no Entrypoint or Parameters")
    return own


def supervise(
    process: subprocess.Popen[bytes],
    log: LogWriter,
    control: Control,
    *,
    memory_bytes: int = 0,
    end: Callable[[Stop], None] | None = None,
) -> int:
    """Reads a process's output until it ends; its exit code, or TaskFailed.

    `end` ends the task where signals to the process group do not.
    """
    group = process.pid
    deadline = float("inf")  # when to give up on whoever holds the pipes open

    def interrupt(reason: Stop) -> None:
        nonlocal deadline
        if end is not None:
            end(reason)
        elif reason is Stop.REQUESTED:
            _signal(group, signal.SIGTERM)
            deadline = time.monotonic() + STOP_GRACE
        else:
            _signal(group, signal.SIGKILL)

    control.on_stop(interrupt)
    outgrown = False
    try:
        with selectors.DefaultSelector() as selector:
            for pipe, stream in ((process.stdout, STDOUT), (process.stderr, STDERR)):
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
                    selector.register(pipe.fileno(), selectors.EVENT_READ, stream)
            while selector.get_map():
                for key, _ in selector.select(_POLL):
                    data = _read(key.fd)
                    if data:
                        log.write(key.data, data)
                    elif data is not None:
                        selector.unregister(key.fd)
                if memory_bytes and resident_bytes(group) > memory_bytes:
                    outgrown = True
                    _signal(group, signal.SIGKILL)
                if time.monotonic() > deadline:
                    _signal(group, signal.SIGKILL)
                if process.poll() is not None:
                    # What the command left running in its group must not hold the pipes open,
                    # and what left the group is not waited for.
                    _signal(group, signal.SIGKILL)
                    deadline = min(deadline, time.monotonic() + STOP_GRACE)
                    if time.monotonic() > deadline:
                        break
        code = process.wait()
    finally:
        control.on_stop(None)
        _signal(group, signal.SIGKILL)
    if outgrown:
        raise TaskFailed("memory limit exceeded")
    return 128 - code if code < 0 else code


def _read(descriptor: int) -> bytes | None:
    try:
        return os.read(descriptor, 65536)
    except BlockingIOError:
        return None


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def resident_bytes(process: int) -> int:
    """Memory of a process and its descendants; 0 where the system does not tell (not Linux)."""
    if not sys.platform.startswith("linux"):
        return 0
    total, todo = 0, [process]
    while todo:
        base = Path("/proc") / str(todo.pop())
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int((base / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for thread in (base / "task").iterdir():
                todo += [int(child) for child in (thread / "children").read_text().split()]
    return total
