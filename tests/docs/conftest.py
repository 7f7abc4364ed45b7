"""The set-up that the documentation assumes: a dev node and an orchestrator, both running."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from orchestrator.cli.devnode import task_commands
from tests.support.fakedocker import install
from tests.support.inprocess import Orch

_SECRET = "of-the-page-on-webhooks"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the commands of one page run."""

    directory: Path
    environment: dict[str, str]

    def run(self, line: str, *, timeout: float = 90.0) -> tuple[int, str]:
        """Run a command line as a person would; its exit code and everything it printed."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stdout.decode()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A fresh one for each page, so that a page says all that it needs."""
    directory = tmp_path / "work"
    directory.mkdir()
    held = tmp_path / "orch" / "secrets"
    held.mkdir(parents=True)
    (held / "DEPLOY_HOOK").write_text(_SECRET)
    images = {"alpine:3.20": "-", **task_commands()}
    # Nothing is built or pushed: this `docker` only answers as one would.
    engines = install(tmp_path / "engines", "docker")
    node = DevNode(DevNodeConfig(data_dir=tmp_path / "node", images=images))
    node.start()
    try:
        with Orch.start(tmp_path / "orch", node.url) as orch:
            binaries = Path(sys.executable).parent
            environment = {
                **{
                    k: v
                    for k, v in os.environ.items()
                    if not k.startswith("ORCH_") and k != "COLUMNS"
                },
                "PATH": os.pathsep.join(
                    [str(binaries), str(engines.directory), os.environ["PATH"]]
                ),
                "ORCH_URL": orch.app.server.url,
                "DEPLOY_HOOK": _SECRET,
                "NO_COLOR": "1",
                "TZ": "UTC",
            }
            yield Stage(directory=directory, environment=environment)
    finally:
        node.stop()
