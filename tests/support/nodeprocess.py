"""A dev node as a process of its own, to be killed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.jobs import IMAGES
from tests.support.waiting import until

_URL = re.compile(r"listens on (http://127\.0\.0\.1:(\d+))")


class NodeProcess:
    """One data directory and one address; any number of processes, one after the other."""

    def __init__(
        self,
        data_dir: Path,
        *,
        images: Mapping[str, str] = IMAGES,
        capacity: int = 8,
        shared: Path | None = None,
    ) -> None:
        """`images` are commands by image, `shared` is a directory that tasks may read."""
        self.data_dir = data_dir
        self._options = ["--capacity", str(capacity)]
        self._options += [f"--image={image}={command}" for image, command in images.items()]
        self._options += [] if shared is None else [f"--allow-path={shared}"]
        self.url = ""
        self._port = 0
        self._log = data_dir.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        command = [sys.executable, "-m", "bacalhau_client.devnode", *self._options]
        command += ["--listen", f"127.0.0.1:{self._port}", "--data-dir", str(self.data_dir)]
        with self._log.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._process = process

        def ready() -> bool:
            assert process.poll() is None, self._log.read_text()
            said = _URL.search(self._log.read_text())
            if said:
                self.url, self._port = said[1], int(said[2])
            return said is not None

        until(ready, "the node answers", within=40, show=self._log.read_text)

    def kill(self) -> None:
        """Pull the plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it as a person would, with its tasks."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
