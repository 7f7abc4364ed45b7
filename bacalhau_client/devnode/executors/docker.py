"""Runs Docker tasks through the `docker` command, where a daemon answers."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading

from ..states import Json, mapping, sequence
from . import Stop, TaskFailed, TaskRun
from .command import STOP_GRACE, image_not_available, supervise

_ANSWER_WITHIN = 10.0
_PULL_WITHIN = 600.0
_END_AGAIN_AFTER = 0.5


def docker_tool() -> str | None:
    """The path of a `docker` command whose daemon answers."""
    tool = shutil.which("docker")
    if tool is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            [tool, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=_ANSWER_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tool if answer.returncode == 0 and answer.stdout.strip() else None


class DockerExecutor:
    """One container for each execution, named after it and removed when it has ended."""

    def __init__(self, tool: str) -> None:
        self._tool = tool

    def close(self) -> None:
        """Nothing outlives a run."""

    def check(self, task: Json) -> None:
        """Raises TaskFailed where the image is neither here nor in its registry."""
        image = str(mapping(task["Engine"], "Params").get("Image", ""))
        if not image or image.startswith("-"):
            raise image_not_available(image)
        if self._docker("image", "inspect", image).returncode == 0:
            return
        try:
            pulled = self._docker("pull", "--quiet", image, timeout=_PULL_WITHIN)
        except subprocess.TimeoutExpired as error:
            raise image_not_available(image) from error
        if pulled.returncode != 0:
            raise image_not_available(image)

    def run(self, run: TaskRun) -> int:
        """Runs the container to its end; raises TaskFailed."""
        name = f"devnode-{run.execution_id}"
        created = self._docker("create", "--name", name, *_options(run), timeout=_PULL_WITHIN)
        if created.returncode != 0:
            words = created.stderr.decode(errors="replace").strip()
            raise TaskFailed(f"failed to create container: {words}")
        try:
            process = subprocess.Popen(  # noqa: S603 - arguments are separate, no shell
                [self._tool, "start", "--attach", name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            with process:
                code = supervise(
                    process,
                    run.log,
                    run.control,
                    end=lambda reason: self._end_soon(name, reason, process),
                )
            if self._outgrew_memory(name):
                raise TaskFailed("memory limit exceeded")
            return code
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._docker("rm", "--force", name, timeout=_ANSWER_WITHIN)

    def _end_soon(self, name: str, reason: Stop, process: subprocess.Popen[bytes]) -> None:
        ending = threading.Thread(target=self._end, args=(name, reason, process), daemon=True)
        ending.start()

    def _end(self, name: str, reason: Stop, process: subprocess.Popen[bytes]) -> None:
        """Ends a container: asked first for a stop, killed at once for anything else.

        Again and again, because the daemon may not have started the container yet.
        """
        words = ["kill"]
        if reason is Stop.REQUESTED:
            words = ["stop", "--time", str(int(STOP_GRACE))]
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired, OSError):
                self._docker(*words, name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_AGAIN_AFTER)

    def _outgrew_memory(self, name: str) -> bool:
        state = self._docker("inspect", "--format", "{{.State.OOMKilled}}", name)
        return state.stdout.strip() == b"true"

    def _docker(
        self, *arguments: str, timeout: float = _ANSWER_WITHIN
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - arguments are separate, no shell
            [self._tool, *arguments], capture_output=True, timeout=timeout, check=False
        )


def _options(run: TaskRun) -> list[str]:
    parameters: Json = run.task["Engine"]["Params"]
    network = str(mapping(run.task, "Network").get("Type", "Default"))
    options = ["--network", {"Host": "host", "None": "none"}.get(network, "bridge")]
    if run.memory_bytes:
        options += ["--memory", str(run.memory_bytes)]
    if parameters.get("WorkingDirectory"):
        options += ["--workdir", str(parameters["WorkingDirectory"])]
    for key, value in run.environment.items():
        options += ["--env", f"{key}={value}"]
    for mount in run.mounts:
        mode = "rw" if mount.writable else "ro"
        options += ["--volume", f"{mount.source.resolve()}:{mount.target}:{mode}"]
    entrypoint = [str(value) for value in sequence(parameters, "Entrypoint")]
    if entrypoint:
        options += ["--entrypoint", entrypoint[0]]
    arguments = [str(value) for value in sequence(parameters, "Parameters")]
    return [*options, str(parameters["Image"]), *entrypoint[1:], *arguments]
