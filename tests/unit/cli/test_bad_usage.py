"""What is wrong is told in words: place, reason and remedy, with the right exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cli import orch

_JOB = "Type: batch\nTasks:\n  - Name: a\n    Engine: {Type: docker, Params: {Image: x}}\n"
_HEAD = "apiVersion: orch/v1\nkind: cron\nname: t\n"
_IN = "job:\n" + "".join(f"  {line}\n" for line in _JOB.splitlines())

# Arguments, exit code, words that must be on stderr.
_OPTIONS: list[tuple[list[str], int, list[str]]] = [
    (["register", "cron"], 2, ["--name is missing"]),
    (["register", "cron", "--name", "x"], 2, ["nothing says when", "schedule", "every"]),
    (["register", "cron", "--name", "x", "--every", "15"], 2, ["--every", "not a duration", "10s"]),
    (["register", "cron", "--name", "x", "--every", "1ms"], 2, ["--every", "100 ms"]),
    (["register", "cron", "--name", "a/b", "--every", "1s"], 2, ["--name"]),
    (["register", "cron", "--name", "x", "--schedule", "* * *"], 2, ["--schedule"]),
    (["register", "cron", "--name", "x", "--schedule", "0 0 31 2 *"], 2, ["--schedule"]),
    (["register", "cron", "--name", "x", "--schedule", "@reboot"], 2, ["--schedule", "@reboot"]),
    (
        ["register", "cron", "--name", "x", "--every", "1s", "--schedule", "@daily"],
        2,
        ["given together"],
    ),
    (
        ["register", "cron", "--name", "x", "--every", "1s", "--timezone", "Europe/Berln"],
        2,
        ["--timezone", "Europe/Berlin"],
    ),
    (["register", "cron", "--name", "x", "--at", "yesterday"], 2, ["--at", "not a time"]),
    (["register", "cron", "--name", "x", "--every", "1s", "--overlap", "skp"], 2, ["'skip'"]),
    (["register", "cron", "--name", "x", "--every", "1s", "--timeout", "5"], 2, ["--timeout"]),
    (["register", "cron", "--name", "x", "--every", "1s", "--rate", "0"], 2, ["--rate"]),
    (["register", "cron", "--name", "x", "--every", "1s", "--rate", "much"], 2, ["--rate"]),
    (
        ["register", "cron", "--name", "x", "--every", "1s", "--max-attempts", "0"],
        2,
        ["--max-attempts", "1 to 1,000"],
    ),
    (
        ["register", "cron", "--name", "x", "--every", "1s", "--on-failure", "ftp://x"],
        2,
        ["--on-failure", "https"],
    ),
    (["register", "cron", "--name", "x", "--spec", "missing.yaml"], 1, ["missing.yaml"]),
    (["register", "cron", "--topic", "x"], 2, ["no such option", "--topic"]),
    (
        ["register", "webhook", "--name", "x"],
        2,
        ["--signature: is missing: write one of github, stripe, generic, none"],
    ),
    (
        ["register", "webhook", "--name", "x", "--signature", "github"],
        2,
        ["--secret: is missing: write NAME and set ORCH_SECRET_NAME"],
    ),
    (
        ["register", "webhook", "--name", "x", "--signature", "github", "--secret", "a-b"],
        2,
        ["--secret: the secret has no name that can be used: write NAME: a letter"],
    ),
    (["register", "crn", "--name", "x"], 2, ["'cron'"]),
    (["schema", "kafk"], 2, ["no connector 'kafk'", "cron"]),
    (["validate"], 2, ["--file"]),
    (["validate", "-f", "missing.yaml"], 1, ["missing.yaml", "no such file"]),
    (["apply", "-f", "."], 1, ["holds no .yaml"]),
    (["simulate", "-f", "good.yaml", "--from", "tomorow"], 2, ["--from", "not a time"]),
    (["simulate", "-f", "good.yaml", "--from", "2026-03-02", "--to", "2026-03-01"], 2, ["--to"]),
    (["simulate", "-f", "good.yaml", "--duration", "x"], 2, ["--duration", "not a duration"]),
    (["simulate", "-f", "good.yaml", "--limit", "0"], 2, ["--limit"]),
    (["runs", "list", "--since", "whenever"], 2, ["--since", "2h"]),
    (["runs", "list", "--limit", "0"], 2, ["--limit"]),
    (["runs", "list", "--limit", "5000"], 2, ["--limit"]),
    (["runs", "show"], 2, ["RUN is missing"]),
    (["dead", "redrive"], 2, ["--trigger NAME", "--all"]),
    (["dead", "discard", "r1", "--all"], 2, ["--all stands alone"]),
    (["triggers", "backfill", "x"], 2, ["--since"]),
    (["restore", "missing", "--data-dir", "d"], 1, ["missing is no file"]),
    (["status", "--url", "localhost:7070"], 2, ["--url", "http://"]),
    (["status", "--url", "http://u:p@localhost"], 2, ["--url"]),
    (["serve", "--listen", "7070"], 2, ["--listen", "HOST:PORT"]),
    (["serve", "--listen", "::1:7070"], 2, ["--listen", "brackets"]),
    (["serve", "--keep", "30"], 2, ["--keep", "30"]),
    (["serve", "--send-threads", "0"], 2, ["--send-threads", "greater than or equal to 1"]),
    (["serve", "--log-level", "loud"], 2, ["--log-level", "'debug'"]),
    (["serve", "--tls-cert", "x.pem"], 2, ["tls_key"]),
    (["serve", "--config", "missing.yaml"], 2, ["missing.yaml"]),
    (["serve", "--database", "mysql://x"], 1, ["mysql", "postgresql://"]),
    (["serve", "--bacalhau", "ftp://x", "--data-dir", "d"], 1, ["ftp://x"]),
    (["demo", "--for", "long"], 2, ["--for", "not a duration"]),
    (["demo", "--listen", "0.0.0.0:7070"], 2, ["--listen", "127.0.0.1"]),
    (["dev-node", "--listen", "x"], 2, ["HOST:PORT"]),
    (["token", "create", "a/b", "--data-dir", "d"], 1, ["'a/b'", "letters"]),
    (["token", "create", "a", "--expires", "soon", "--data-dir", "d"], 2, ["--expires", "30d"]),
    (["checkpoints", "put", "x"], 2, ["no such command 'put'"]),
    (["checkpoints", "set", "x", "--reason", "y"], 2, ["PARTITION=POSITION... is missing"]),
    (["checkpoints", "set", "x", "p0=1"], 2, ["--reason is missing"]),
    (["checkpoints", "set", "x", "p0", "--reason", "y"], 2, ["'p0'", "PARTITION=POSITION"]),
    (["checkpoints", "set", "x", "p=1", "p=2", "--reason", "y"], 2, ["'p' is named twice"]),
]

# A file's text, where the problem is, words that must be there.
_FILES: list[tuple[str | bytes, str, list[str]]] = [
    (_HEAD + "every: 5\n" + _IN, ":4:", ["every", "no unit"]),
    (_HEAD + "evry: 5s\n" + _IN, ":4:", ["evry", "'every'"]),
    (_HEAD + "every: 5s\ntimeot: 5s\n" + _IN, ":5:", ["timeot", "'timeout'"]),
    (_HEAD.replace("cron", "corn") + "every: 5s\n" + _IN, ":2:", ["corn", "'cron'"]),
    (_HEAD.replace("orch/v1", "orch/v2") + "every: 5s\n" + _IN, ":1:", ["orch/v1"]),
    (_HEAD + "every: 5s\nevery: 6s\n" + _IN, ":5:", ["every"]),
    (_HEAD + "every: 5s\njob: 3\n", ":5:", ["job", "Bacalhau job"]),
    (_HEAD + "every: 5s\n" + _IN.replace("docker", "dokcer"), ":", ["'docker'"]),
    (_HEAD + "every: 5s\n" + _IN.replace("Image: x", "Image: '${{ x.y }}'"), ":", ["x.y"]),
    (_HEAD + "\tevery: 5s\n", ":4:", ["tab"]),
    ("", "", ["empty"]),
    ("- a\n- b\n", "", ["a list"]),
    (b"\xff\xfe\x00\x01", "", ["UTF-8"]),
    (b"x" * 1_100_000, "", ["bytes", "more than"]),
    (_JOB.replace("batch", "daemon"), ":1:", ["daemon"]),
]


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    if "good" not in os.listdir(tmp_path):
        (tmp_path / "good").touch()


@pytest.mark.parametrize(
    ("args", "code", "words"), _OPTIONS, ids=[" ".join(a)[:60] for a, _, _ in _OPTIONS]
)
def test_bad_options(args: list[str], code: int, words: list[str]) -> None:
    """A bad option is told with its name, what is wrong and what to write instead."""
    if "good.yaml" in args:
        Path("good.yaml").write_text(_HEAD + "every: 5s\n" + _IN)
    done = orch(*args)
    assert done.code == code, done.err
    assert done.out == ""
    for word in words:
        assert word in done.err, done.err


@pytest.mark.parametrize(("text", "place", "words"), _FILES)
@pytest.mark.parametrize("command", ["validate", "apply", "simulate", "diff"])
def test_bad_files(text: str | bytes, place: str, words: list[str], command: str) -> None:
    """A bad file is told with its line, before anybody is asked, and ends with 1."""
    if isinstance(text, str) and text.startswith("Type:") and command != "validate":
        place, words = "", ["plain Bacalhau job"]
    Path("t.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    done = orch(command, "-f", "t.yaml")
    assert done.code == 1, (done.out, done.err)
    assert f"t.yaml{place}" in done.err
    for word in words:
        assert word in done.err, done.err


def test_directories_and_special_files_are_no_spec() -> None:
    """A directory, a pipe and a file that may not be read are refused, and nothing hangs."""
    os.mkfifo("pipe.yaml")
    Path("dir.yaml").mkdir()
    for name, word in (("pipe.yaml", "regular"), ("dir.yaml", "directory")):
        done = orch("register", "cron", "--spec", name)
        assert done.code == 1
        assert word in done.err


def test_problems_of_all_files_are_told_together() -> None:
    """Files are checked together, and each problem names its file."""
    for name in "abc":
        Path(f"{name}.yaml").write_text(_HEAD + f"evry: {name}\n" + _IN)
    done = orch("validate", "-f", ".")
    assert done.code == 1
    assert all(f"{name}.yaml:4:" in done.err for name in "abc")


def test_two_files_of_one_name_are_refused() -> None:
    """Two files that call themselves the same would fight: neither is applied."""
    for name in "ab":
        Path(f"{name}.yaml").write_text(_HEAD + "every: 5s\n" + _IN)
    done = orch("apply", "-f", ".")
    assert done.code == 1
    assert "is called 't' too" in done.err
