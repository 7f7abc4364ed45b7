"""The Docker engine: local commands for the images that have one, a daemon for the others."""

from __future__ import annotations

from collections.abc import Mapping

from ..states import Json, mapping
from . import Executor, TaskRun
from .command import CommandExecutor
from .docker import DockerExecutor, docker_tool


class ImageExecutor:
    """Chooses by the task's image; a configured command wins over the daemon."""

    def __init__(self, images: Mapping[str, str], *, use_daemon: bool) -> None:
        self._images = images
        self._commands = CommandExecutor(images)
        tool = docker_tool() if use_daemon else None
        self._daemon = DockerExecutor(tool) if tool else None

    @property
    def available(self) -> bool:
        """Whether there is anything to run Docker tasks with."""
        return bool(self._images) or self._daemon is not None

    def _chosen(self, task: Json) -> Executor:
        image = mapping(task["Engine"], "Params").get("Image")
        if self._daemon is None or image in self._images:
            return self._commands
        return self._daemon

    def check(self, task: Json) -> None:
        """Raises TaskFailed where the image is not to be had."""
        self._chosen(task).check(task)

    def run(self, run: TaskRun) -> int:
        """Runs to the end and returns the exit code; raises TaskFailed."""
        return self._chosen(run.task).run(run)

    def close(self) -> None:
        """Nothing outlives a run."""
