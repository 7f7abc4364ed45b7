"""`orch new`: what it writes for a script is whole, valid, and overwrites nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from connectors.registry import Registry
from orchestrator.images import kinds
from tests.support.cli import orch

_SCRIPT = """# /// script
# requires-python = ">=3.12"
# dependencies = ["requests>=2"]
# ///
import helpers
"""


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("report.py").write_text(_SCRIPT)
    Path("helpers.py").write_text("")
    Path("requirements.txt").write_text("rich\n")


def test_files_for_a_python_script() -> None:
    """Beside the script, with what it needs; the next steps are said."""
    done = orch("new", "--from", "report.py")
    assert done.code == 0, done.err
    assert Path("Dockerfile").read_text().splitlines()[1:] == [
        "FROM python:3.13-slim",
        "WORKDIR /app",
        "# Programs that the script calls are installed here, such as:",
        "# RUN apt-get update && apt-get install -y --no-install-recommends git",
        'COPY ["requirements.txt", "./"]',
        'RUN ["pip", "install", "--no-cache-dir", "-r", "requirements.txt"]',
        'RUN ["pip", "install", "--no-cache-dir", "requests>=2"]',
        "# What else it reads is copied here; .dockerignore has to let it in.",
        'COPY ["report.py", "helpers.py", "./"]',
        "USER nobody",
        'ENTRYPOINT ["python", "-u", "/app/report.py"]',
    ]
    assert Path(".dockerignore").read_text().splitlines()[1:] == [
        *("*", "!report.py", "!requirements.txt", "!helpers.py", "**/__pycache__"),
    ]
    trigger = yaml.safe_load(Path("report.yaml").read_text())
    assert (trigger["kind"], trigger["name"]) == ("cron", "report")
    (task,) = trigger["job"]["Tasks"]
    assert task["Engine"] == {"Type": "docker", "Params": {"Image": "report"}}
    assert done.out.splitlines()[0] == "report.yaml: cron report: at 02:00 every day in UTC"
    assert done.out.splitlines()[-4:] == [
        "  edit report.yaml: schedule",
        "  orch image build report.yaml",
        "  orch image push report.yaml # once `Image:` there names a registry",
        "  orch apply -f report.yaml",
    ]


def test_files_for_a_shell_script() -> None:
    """Its first line says which shell; nothing is installed for it."""
    Path("clean up.sh").write_text("#!/bin/sh\nrm -rf /data/old\n")
    done = orch("new", "--from", "clean up.sh", "--image", "registry.example/ops/clean")
    assert done.code == 0, done.err
    text = Path("Dockerfile").read_text()
    assert "FROM debian:12-slim\n" in text
    assert 'COPY ["clean up.sh", "./"]\n' in text
    assert 'ENTRYPOINT ["sh", "/app/clean up.sh"]\n' in text
    assert "pip" not in text
    assert "Image: registry.example/ops/clean #" in Path("clean-up.yaml").read_text()
    assert done.out.splitlines()[-2] == "  orch image push clean-up.yaml"


@pytest.mark.parametrize("kind", Registry.load().kinds)
def test_the_trigger_file_of_every_kind_is_valid(kind: str) -> None:
    """`orch validate` takes it, and every kind that comes with orch has an example of its own."""
    done = orch("new", "--from", "report.py", "--kind", kind, "--name", f"a-{kind}")
    assert done.code == 0, done.err
    checked = orch("validate", "-f", f"a-{kind}.yaml")
    assert checked.out == f"a-{kind}.yaml: {kind} a-{kind}: ok\n"
    assert kind in kinds.KINDS
    commented = "\n".join(
        line.replace("# ", "", 1) if line.lstrip().startswith(tuple(f"# {k}: " for k in _OPTIONAL))
        else line
        for line in Path(f"a-{kind}.yaml").read_text().splitlines()
    )  # fmt: skip
    Path("all.yaml").write_text(commented)
    assert orch("validate", "-f", "all.yaml").code == 0
    task = yaml.safe_load(commented)["job"]["Tasks"][0]
    assert {"Env", "Network", "Resources"} <= task.keys()


_OPTIONAL = ("Parameters", "Env", "Network", "Resources")


@pytest.mark.parametrize("name", ["2026", "null", "true", "1e5", "n", "a.b-c"])
def test_names_that_look_like_something_else(name: str) -> None:
    """A script that is called like a number or a word of YAML becomes a trigger like any other."""
    script = Path(f"{name}.py")
    script.write_text("print()\n")
    assert orch("new", "--from", str(script), "--name", name, "--image", "1/2").code == 0
    assert orch("validate", "-f", f"{name}.yaml").out == f"{name}.yaml: cron {name}: ok\n"


def test_nothing_is_overwritten_without_force() -> None:
    """Files that are there are named and stay; with --force they are written anew."""
    Path("Dockerfile").write_text("FROM mine\n")
    Path("report.yaml").write_text("mine: true\n")
    refused = orch("new", "--from", "report.py")
    assert refused.code == 1
    assert refused.err == (
        "orch: report.yaml, Dockerfile are there already: --force overwrites, --dir names another "
        "directory\n"
    )
    assert Path("Dockerfile").read_text() == "FROM mine\n"
    assert not Path(".dockerignore").exists()
    assert orch("new", "--from", "report.py", "--force").code == 0
    assert "FROM python" in Path("Dockerfile").read_text()
    again = orch("new", "--from", "report.py")
    assert again.code == 0, "what is there is what would be written"


def test_force_writes_through_no_link(tmp_path: Path) -> None:
    """A link is left alone: what it leads to is somebody else's."""
    Path("other").write_text("other\n")
    Path("Dockerfile").symlink_to("other")
    refused = orch("new", "--from", "report.py", "--force")
    assert refused.code == 1
    assert "Dockerfile is a link or a directory" in refused.err
    assert Path("other").read_text() == "other\n"


def test_another_directory_gets_copies() -> None:
    """With --dir elsewhere it holds all that the image is made of."""
    Path("lib/sub/__pycache__").mkdir(parents=True)
    Path("lib/__init__.py").write_text("")
    Path("lib/sub/data.txt").write_text("data")
    Path("lib/sub/__pycache__/x.pyc").write_text("")
    Path("report.py").write_text(_SCRIPT + "import lib\n")
    done = orch("new", "--from", "report.py", "--dir", "jobs/report", "--json")
    assert done.code == 0, done.err
    found = {
        p.relative_to("jobs/report").as_posix() for p in Path("jobs").rglob("*") if p.is_file()
    }
    assert found == {
        *("report.yaml", "Dockerfile", ".dockerignore", "report.py", "helpers.py"),
        *("requirements.txt", "lib/__init__.py", "lib/sub/data.txt"),
    }
    assert set(done.json["files"]) == {f"jobs/report/{name}" for name in found}
    assert done.json["trigger"] == "jobs/report/report.yaml"
    assert done.json["next"][1] == "orch image build jobs/report/report.yaml"
    assert not Path("Dockerfile").exists()


def test_what_the_author_has_to_know_is_a_note() -> None:
    """On standard error, so that --json stays JSON."""
    Path("requirements.txt").write_text("-e .\n")
    done = orch("new", "--from", "report.py")
    assert done.code == 0
    assert done.err.startswith("note: requirements.txt:1: '-e .' names something of this machine")
    again = orch("new", "--from", "report.py", "--json")
    assert again.err == ""
    assert len(json.loads(again.out)["notes"]) == 1


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--from", "none.py"), 1, "none.py: no such file"),
        (("--from", "report.py", "--kind", "crom"), 2, "--kind: "),
        (("--from", "report.py", "--name", "a b"), 2, "--name: 'a b' is no name"),
        (("--from", "report.py", "--image", "-v"), 2, "--image: '-v' is not the name"),
        (("--from", "requirements.txt"), 1, "does not say what runs it"),
        ((), 2, "--from"),
    ],
)
def test_what_cannot_be_done(args: tuple[str, ...], code: int, said: str) -> None:
    """Usage is 2; a script that is none is 1; nothing is written."""
    before = set(Path().iterdir())
    done = orch("new", *args)
    assert done.code == code
    assert said in done.err
    assert set(Path().iterdir()) == before
