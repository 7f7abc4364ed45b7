"""From a script to a run: what `orch new` and `orch image` write is what a node is asked to run.

There is no docker here: `tests/support/fakedocker.py` answers for it, and the dev node runs the
script itself where a job names its image.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import yaml

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.cli import orch
from tests.support.fakedocker import install
from tests.support.inprocess import Orch

_SCRIPT = "import os\nprint('hello', os.environ['SUBJECT'], os.environ['ORCH_TRIGGER'])\n"


@pytest.fixture(autouse=True)
def _log_elsewhere(tmp_path: Path) -> Iterator[None]:
    """The orchestrator in this process writes its log to a file, not into the output of `orch`."""
    with (tmp_path / "log").open("w") as file:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=file))
        yield
        structlog.reset_defaults()


def test_a_script_becomes_a_job_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pushed image is the one that the job names; it runs with the parameters of a request."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "greet.py"
    script.write_text(_SCRIPT)
    engines = install(tmp_path / "engines", "docker")
    environment = {"PATH": str(engines.directory)}
    asked = ("--kind", "job", "--image", "registry.example/team/greet")
    assert orch("new", "--from", "greet.py", *asked).code == 0
    pushed = orch("image", "push", "greet.yaml", "--json", env=environment).json["image"]
    job = yaml.safe_load(Path("greet.yaml").read_text())["job"]
    assert job["Tasks"][0]["Engine"]["Params"]["Image"] == pushed
    assert "@sha256:" in pushed

    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"
    config = DevNodeConfig(data_dir=tmp_path / "node", images={pushed: command}, docker=False)
    with DevNode(config) as node, Orch.start(tmp_path / "data", node.url) as running:
        here = {"ORCH_URL": running.app.server.url}
        assert orch("apply", "-f", "greet.yaml", env=here).code == 0
        args = ("--parameters", "{subject: you}", "--wait", "60s", "--json")
        done = orch("jobs", "submit", "greet", *args, env=here)
        assert done.code == 0, done.err
        assert done.json["result"]["stdout"] == "hello you greet\n"
