"""Data from outside never becomes program text, however the command line is put together."""

from __future__ import annotations

import pytest

import specs

X = "${{ event.x }}"
KNOWN = specs.BASE_PATHS.extended(outside=("event.*",), trusted=("kafka.topic",))


def refused(entrypoint: list[str] | None, parameters: list[str], *, allowed: bool = False) -> bool:
    """Whether a docker task with this command line is refused for its program text."""
    params = {"Image": "x", "Parameters": parameters}
    if entrypoint is not None:
        params["Entrypoint"] = entrypoint
    engine = {"Type": "docker", "Params": params}
    job = {"Type": "batch", "Tasks": [{"Name": "m", "Engine": engine}]}
    policies = specs.Policies(allow_shell_data=allowed)
    problems = specs.validate_job(job, known=KNOWN, policies=policies)
    assert all("program text" in problem.message for problem in problems), problems
    return bool(problems)


ATTACKS = [
    (["sh", "-c"], [f"echo {X}"]),
    (["sh"], ["-c", X]),
    (["sh", "-c", X], []),
    (None, ["sh", "-c", X]),
    (None, ["-c", X]),
    (None, ["-ec", f"run {X}"]),
    (["/bin/sh", "-c"], [X]),
    (["/usr/local/bin/bash", "-lc"], [X]),
    (["bash", "-e", "-u", "-c"], [X]),
    (["bash", "-euo", "pipefail", "-c"], [X]),
    (["bash", "-ceu"], [X]),
    (["bash", "-c", "--"], [X]),
    (["bash", "--norc", "--noprofile", "-c"], [X]),
    (["bash", "--rcfile", "/x", "-c"], [X]),
    (["bash", "-o", "pipefail", "-c"], [X]),
    (["bash", "+x", "-c"], [X]),
    (["sh", f"-c{X}"], []),
    (["sh", X, "true"], []),
    (["sh", "-o", X], []),
    (["sh"], [X]),
    (["dash", "-c"], [X]),
    (["ash", "-c"], [X]),
    (["zsh", "-fc"], [X]),
    (["ksh93", "-c"], [X]),
    (["bash-5.2", "-c"], [X]),
    (["busybox", "sh", "-c"], [X]),
    (["/bin/busybox", "ash", "-ec"], [X]),
    (["fish", "--command", X], []),
    (["fish", f"--command={X}"], []),
    (["env", "sh", "-c"], [X]),
    (["env", "-i", "A=b", "/bin/sh", "-c"], [X]),
    (["/usr/bin/env", "-S", "sh -c", X], []),
    (["/usr/bin/env", "-S", f"bash -c 'echo {X}'"], []),
    (["/usr/bin/env", f"-Sbash -c {X}"], []),
    (["env", f"--split-string=bash -c {X}"], []),
    (["tini", "--", "sh", "-c"], [X]),
    (["nice", "-n", "5", "timeout", "10", "bash", "-c"], [X]),
    (["xargs", "-I{}", "sh", "-c"], [X]),
    (["find", "/in", "-exec", "sh", "-c", X, ";"], []),
    (["su", "nobody", "-c"], [X]),
    (["su", "-c", X, "nobody"], []),
    (["script", "-q", "-c", X], []),
    (["flock", "/lock", "-c", X], []),
    (["ssh", "host", X], []),
    (["watch", "-n1", X], []),
    (["cmd", "/c", X], []),
    (["cmd.exe", "/s", "/k"], ["dir", X]),
    (["C:\\Windows\\System32\\CMD.EXE", "/C", X], []),
    (["powershell", "-Command", X], []),
    (["pwsh", "-NoProfile", "-c", X], []),
    (["powershell.exe", X], []),
    (["python", "-c"], [f"print('{X}')"]),
    (["python3.11", "-Bc", X], []),
    (["python3", "-W", "ignore", "-c", X], []),
    (["python3", f"-c{X}"], []),
    (["python3", X], []),
    (["perl", "-e", X], []),
    (["perl", "-lne", X], []),
    (["perl", "-MJSON", "-E", X], []),
    (["ruby", "-e", "1", "-e", X], []),
    (["node", "-e", X], []),
    (["node", "--eval", X], []),
    (["nodejs", f"--eval={X}"], []),
    (["node", "-pe", X], []),
    (["php", "-r", X], []),
    (["lua5.4", "-e", X], []),
    (["awk", X, "/in"], []),
    (["gawk", "-F,", f"{{ print {X} }}"], []),
    (["sed", "-n", X], []),
    (["sed", "-e", f"s/a/{X}/e"], []),
    (["deno", "eval", X], []),
    (["mytool", f"--run=sh -c 'echo {X}'"], []),
    ([X, "a"], []),
    ([f"/bin/{X}"], []),
]


@pytest.mark.parametrize(("entrypoint", "parameters"), ATTACKS, ids=str)
def test_data_in_program_text_is_refused(entrypoint, parameters):
    """Data that an interpreter would read as a program is refused at registration."""
    assert refused(entrypoint, parameters)


@pytest.mark.parametrize(("entrypoint", "parameters"), ATTACKS[:3], ids=str)
def test_it_can_be_allowed(entrypoint, parameters):
    """`allow_shell_data: true` lifts the rule."""
    assert not refused(entrypoint, parameters, allowed=True)


@pytest.mark.parametrize(
    ("entrypoint", "parameters"),
    [
        (["sh", "-c", 'cat "$1"', "sh", X], []),
        (["sh", "-c"], ['cat "$0"', X]),
        (["bash", "-euo", "pipefail", "-c", 'run "$1"', "run", X], []),
        (["sh", "script.sh", X], []),
        (["python3", "-c", "import sys; print(sys.argv)", X], []),
        (["python3", "-m", "tool", X], []),
        (["python3", "/app/main.py", "-c", X], []),
        (["node", "/app/index.js", "--eval", X], []),
        (["awk", "-v", f"x={X}", "{ print x }", X], []),
        (["sed", "-n", "1p", X], []),
        (["sed", "-e", "1p", X], []),
        (["perl", "-ne", "print", X], []),
        (["node", "-e", "run(process.argv)", X], []),
        (["mytool", "-c", X], []),
        (["grep", "perl", X], []),
        (["grep", "-c", X, "/in/sh"], []),
        (["git", "watch", X], []),
        (None, [X]),
        (None, ["--name", X]),
        (["sh", "-c", "echo ${{ trigger.name }} ${{ kafka.topic }} ${{ firing.time }}"], []),
        (["sh", "-c", "echo $${{ event.x }}"], []),
        (["echo", X], []),
    ],
    ids=str,
)
def test_plain_arguments_are_taken(entrypoint, parameters):
    """Data as a plain argument, and the orchestrator's own values anywhere, are taken."""
    assert not refused(entrypoint, parameters)


def test_interpreters_in_wasm():
    """A WASM module named after an interpreter is read as one."""
    params = {"EntryModule": "/python.wasm", "Parameters": ["-c", X]}
    job = {
        "Type": "batch",
        "Tasks": [{"Name": "m", "Engine": {"Type": "wasm", "Params": params}}],
    }
    (problem,) = specs.validate_job(job, known=KNOWN)
    assert "program text by python" in problem.message
