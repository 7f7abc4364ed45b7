"""The example plugin is installed as a stranger's would be, passes the kit, and runs jobs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import DevNode, DevNodeConfig
from tests.support.daemon import Daemon
from tests.support.markdown import ROOT, blocks
from tests.support.waiting import until

_EXAMPLE = ROOT / "docs" / "examples" / "mailbox"
_GUIDE = ROOT / "docs" / "how-to" / "write-a-connector.md"
_BROKEN = """[project]
name = "orch-broken"
version = "0.3"
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[project.entry-points."orch.connectors"]
broken = "orch_broken:BrokenConnector"
[tool.setuptools]
py-modules = ["orch_broken"]
"""


def install(source: Path, target: Path) -> None:
    """With pip, from a directory, without asking anybody for anything."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--disable-pip-version-check", "--no-warn-conflicts"),
            *("--target", str(target), str(source)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\n(setuptools 77 or later is needed)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the plugin is installed, and one that does not work beside it."""
    place = tmp_path_factory.mktemp("plugin")
    # A build leaves files in the source.
    example = place / "mailbox"
    shutil.copytree(_EXAMPLE, example, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    install(example, place / "site")
    broken = place / "broken"
    broken.mkdir()
    (broken / "pyproject.toml").write_text(_BROKEN)
    (broken / "orch_broken.py").write_text("raise RuntimeError('half installed')\n")
    install(broken, place / "site")
    return place / "site"


@pytest.fixture
def environment(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """That of a shell in which the plugin is installed."""
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ORCH_")}
    return {**clean, "NO_COLOR": "1", "COLUMNS": "300"}


def orch(environment: dict[str, str], *args: str, url: str = "") -> str:
    """A command in a process of its own; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *args],
        capture_output=True,
        text=True,
        timeout=90,
        env={**environment, **({"ORCH_URL": url} if url else {})},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_passes_the_kit(site: Path, environment: dict[str, str], tmp_path: Path):
    """Its own tests, run beside what was installed, and not beside its source."""
    shutil.copytree(_EXAMPLE / "tests", tmp_path / "tests")
    shutil.copy(_EXAMPLE / "pyproject.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[1-9][0-9]+ passed", done.stdout)
    assert "skipped" not in done.stdout


def test_it_is_listed_and_a_broken_one_harms_nothing(environment: dict[str, str]):
    """With version and origin; what cannot be loaded stands there with its reason."""
    found = {
        item["kind"]: item
        for item in json.loads(orch(environment, "connectors", "--json"))["items"]
    }
    assert found["mailbox"]["version"] == "0.1.0"
    assert found["mailbox"]["origin"] == "orch-mailbox 0.1.0"
    assert found["mailbox"]["error"] is None
    assert found["broken"]["origin"] == "orch-broken 0.3"
    assert "half installed" in found["broken"]["error"]
    assert found["cron"]["error"] is None
    table = orch(environment, "connectors")
    assert re.search(r"broken +- +orch-broken 0\.3 .*RuntimeError: half installed", table)
    assert re.search(r"mailbox +0\.1\.0 +orch-mailbox 0\.1\.0 +new messages in a Maildir", table)


def test_its_options_and_schema_are_made_of_its_settings(environment: dict[str, str]):
    """Help, schema and validation know the kind like one of orch's own."""
    text = orch(environment, "register", "mailbox", "--help")
    assert {"--path", "--every", "--then", "--max-text"} <= set(re.findall(r"--[a-z-]+", text))
    schema: Any = json.loads(orch(environment, "schema", "mailbox"))
    assert schema["required"] == ["apiVersion", "kind", "name", "path", "job"]
    assert orch(environment, "validate", "-f", str(_EXAMPLE / "mail.yaml")).endswith(": ok\n")


@pytest.fixture
def daemon(environment: dict[str, str], tmp_path: Path) -> Iterator[Daemon]:
    """`orch serve` with the plugin, and a node."""
    images = {"alpine:3.20": "-"}
    with DevNode(DevNodeConfig(data_dir=tmp_path / "node", images=images)) as node:
        started = Daemon(tmp_path / "orch", node.url, pycache=tmp_path / "pycache")
        try:
            yield started
        finally:
            started.close()


def deliver(mailbox: Path, number: int) -> None:
    """As a mail server does."""
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "a@example.org", f"order {number}"
    mail.set_content("text")
    name = f"1750000000.M{number:06}.host"
    (mailbox / "tmp" / name).write_bytes(bytes(mail))
    (mailbox / "tmp" / name).rename(mailbox / "new" / name)


def test_mail_becomes_jobs(daemon: Daemon, environment: dict[str, str], tmp_path: Path):
    """Registered by its options, served, killed and served again: each message is one run that
    succeeded, and is marked as seen then."""
    mailbox = tmp_path / "Maildir"
    for part in ("cur", "new", "tmp"):
        (mailbox / part).mkdir(parents=True)
    daemon.start()
    orch(
        environment,
        *("register", "mailbox", "--name", "mail", "--spec", str(_EXAMPLE / "mail.yaml")),
        *("--path", str(mailbox), "--every", "200ms"),
        url=daemon.url,
    )
    for number in range(3):
        deliver(mailbox, number)
    until(lambda: len(daemon.runs(trigger="mail")) == 3, "three runs", show=daemon.runs)
    daemon.kill()
    for number in range(3, 5):
        deliver(mailbox, number)
    daemon.start()
    until(lambda: len(daemon.runs(trigger="mail")) == 5, "five runs", show=daemon.runs)
    runs = daemon.drained()
    assert [run["state"] for run in runs] == ["succeeded"] * 5
    until(lambda: not list((mailbox / "new").iterdir()), "nothing is new", show=daemon.said)
    assert len(list((mailbox / "cur").iterdir())) == 5
    said = {
        attempt["stdout"].strip()
        for run in runs
        for attempt in daemon.call("GET", f"/api/v1/runs/{run['id']}")["attempts"]
    }
    assert said == {f"subject order {number}" for number in range(5)}
    assert json.loads(orch(environment, "audit", "--json", url=daemon.url))["ok"]


def test_the_guide_shows_what_is_in_the_example():
    """Blocks that carry the name of a file of the example are parts of that file."""
    named = [block for block in blocks(_GUIDE) if block.language == "python" and block.name]
    assert named
    for block in named:
        (file,) = (path for path in _EXAMPLE.rglob(block.name))
        assert block.text.strip() in file.read_text(), f"{block.place} is not in {file}"
