"""Local commands that stand for images, and a Docker daemon."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from bacalhau_client.devnode.config import ConfigError, DevNodeConfig, parse_image
from bacalhau_client.devnode.executors import TaskFailed
from bacalhau_client.devnode.executors.command import command_line
from tests.unit.devnode.conftest import (
    ENDED,
    Api,
    MakeNode,
    executions,
    inline,
    output,
    shell_task,
)


def test_exit_code_and_output(api: Api) -> None:
    """The job is Completed whatever the exit code; both streams are kept."""
    job = api.run("three", shell_task("echo out; echo err >&2; exit 3"))
    assert executions(job) == [(9, "Running", 3)]
    assert (output(job)["Stdout"], output(job)["stderr"]) == ("out\n", "err\n")


@pytest.mark.parametrize(("size", "truncated"), [(2048, False), (2049, True)])
def test_output_is_cut_at_2048_bytes(api: Api, size: int, truncated: bool) -> None:
    """The first 2,048 bytes are kept, and it is said that there was more."""
    job = api.run("big", shell_task(f"head -c {size} /dev/zero | tr '\\0' x"))
    assert (output(job)["Stdout"], output(job)["StdoutTruncated"]) == ("x" * 2048, truncated)


def test_a_signal_is_128_and_its_number(api: Api) -> None:
    """As a shell and Docker say it."""
    assert executions(api.run("kill", shell_task("kill -9 $$")))[0][2] == 137


@pytest.mark.parametrize(
    ("command", "parameters", "argv"),
    [
        ("-", {"Entrypoint": ["/bin/sh", "-c"], "Parameters": ["true"]}, ["/bin/sh", "-c", "true"]),
        ("-", {"Parameters": ["date", "-u"]}, ["date", "-u"]),
        ("jq -c", {"Entrypoint": ["/x"], "Parameters": [".a b"]}, ["jq", "-c", ".a b"]),
        ("'/a b/run'", {}, ["/a b/run"]),
    ],
)
def test_which_command_stands_for_an_image(
    command: str, parameters: dict[str, object], argv: list[str]
) -> None:
    """The command replaces the entrypoint; `-` runs the task's own words."""
    assert command_line(command, parameters) == argv


def test_nothing_to_run() -> None:
    """`-` and a task without words: an image's own command is not known here."""
    with pytest.raises(TaskFailed, match="no Entrypoint or Parameters"):
        command_line("-", {})


@pytest.mark.parametrize("option", ["", "x", "x=", "=y", " = "])
def test_bad_image_options(option: str) -> None:
    """The message shows how it is written."""
    with pytest.raises(ConfigError, match="NAME=COMMAND"):
        parse_image(option)


@pytest.mark.parametrize("settings", [{"capacity": 0}, {"nodes": ()}, {"engines": {"podman"}}])
def test_bad_settings(tmp_path: Path, settings: dict[str, object]) -> None:
    """A setting that cannot work is refused where it is made, by name."""
    with pytest.raises(ConfigError, match=next(iter(settings))):
        DevNodeConfig(data_dir=tmp_path, **settings)  # type: ignore[arg-type]


def test_timeout_kills_the_whole_group(api: Api, tmp_path: Path) -> None:
    """What a command started in the background is gone as well."""
    pids = tmp_path / "pids"
    script = f"sleep 600 & echo $! >> {pids}; wait"
    job = api.run("group", shell_task(script, Timeouts={"ExecutionTimeout": 1}))
    assert executions(job) == [(10, "Execution timed out after 1s", 0)] * 2
    for pid in pids.read_text().split():
        api.wait(lambda pid=pid: not _alive(int(pid)), "the background process ends")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_background_processes_do_not_hold_the_job(api: Api) -> None:
    """The job ends with its command, though a child keeps the output open."""
    started = time.monotonic()
    assert executions(api.run("leaves", shell_task("sleep 600 & exit 6")))[0][2] == 6
    assert time.monotonic() - started < 60


def test_stop_asks_first(api: Api, tmp_path: Path) -> None:
    """A stopped command gets TERM and may tidy up; the job is Stopped at once."""
    mark, ready = tmp_path / "tidied", tmp_path / "ready"
    script = f"trap ': > {mark}; exit 0' TERM; : > {ready}; while :; do sleep 0.05; done"
    job = api.submit("tidy", shell_task(script))
    api.wait(ready.exists, "the task runs")
    assert api.stop(job).status_code == 200
    stopped = api.get(job)
    message = "Execution stop requested because job has been stopped"
    assert (stopped["Job"]["State"], executions(stopped)) == (
        {"StateType": "Stopped"},
        [(11, message, 0)],
    )
    api.wait(mark.exists, "the task tidied up")


def test_memory_limit(api: Api) -> None:
    """A command that outgrows its memory is a failed execution."""
    task = shell_task("tail /dev/zero", Resources={"Memory": "20MB"})
    assert executions(api.run("grows", task)) == [(10, "memory limit exceeded", 0)] * 2


def test_inputs_lie_where_the_task_expects_them(api: Api) -> None:
    """Absolute targets, also in directories that do not exist on this machine."""
    sources = [inline(b"one", "/orch/a.txt"), inline(b"two", "/in/deep/b.txt")]
    job = api.run("inputs", shell_task("cat /orch/a.txt /in/deep/b.txt", InputSources=sources))
    assert output(job)["Stdout"] == "onetwo"
    assert not Path("/orch").exists()


def test_inputs_are_read_only(api: Api) -> None:
    """A task cannot change what it was given."""
    task = shell_task("echo x > /in/a.txt", InputSources=[inline(b"one", "/in/a.txt")])
    assert executions(api.run("writes", task))[0][2] != 0


def test_targets_inside_the_machine_are_refused(api: Api) -> None:
    """A local command cannot have its own /etc."""
    task = shell_task("true", InputSources=[inline(b"root::0:0", "/etc/../etc/passwd")])
    assert "use a target outside /etc" in executions(api.run("etc", task))[0][1]


def test_result_paths_are_packed(make_node: MakeNode, tmp_path: Path) -> None:
    """The local publisher leaves an archive with output, exit code and result paths."""
    import tarfile

    _, api = make_node(data_dir=tmp_path / "data")
    task = shell_task(
        "echo result > /out/r.txt; echo said; exit 2",
        Publisher={"Type": "local"},
        ResultPaths=[{"Name": "out", "Path": "/out"}],
    )
    job = api.run("results", task)
    execution = job["Executions"]["Items"][0]
    url = execution["PublishedResult"]["Params"]["URL"]
    with tarfile.open(url.removeprefix("file://")) as archive:
        contents = {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
            if member.isfile()
        }
    assert contents == {
        "stdout": b"said\n",
        "stderr": b"",
        "exitCode": b"2",
        "out/r.txt": b"result\n",
    }
    results = api.call("GET", "orchestrator/jobs/results/results").json()
    assert results["Items"] == [execution["PublishedResult"]]


def test_nothing_is_left_behind(make_node: MakeNode, tmp_path: Path) -> None:
    """A task's scratch directory is gone when it has ended."""
    _, api = make_node(data_dir=tmp_path / "data")
    api.run("scratch", shell_task("echo x > here; cat /in/a", InputSources=[inline(b"1", "/in/a")]))
    work = tmp_path / "data" / "work"
    api.wait(lambda: not any(work.iterdir()), "the scratch directory is removed")


FAKE_DOCKER = r"""#!/bin/sh
echo "$*" >> "$0.log"
case "$1" in
  version) echo 28.0.0 ;;
  image) [ "$3" = here:1 ] ;;
  pull) [ "$3" = pulled:1 ] ;;
  create) [ ! -e "$0.full" ] || { echo "no space" >&2; exit 1; } ;;
  start)
    echo from the container
    [ ! -e "$0.sleep" ] || { echo $$ > "$0.pid"; exec sleep 600; }
    exit 7 ;;
  inspect) [ -e "$0.oom" ] && echo true || echo false ;;
  stop|kill) kill "$(cat "$0.pid")" ;;
  rm) ;;
esac
"""


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` command that does nothing and notes what it was asked for."""
    tool = tmp_path / "bin" / "docker"
    tool.parent.mkdir()
    tool.write_text(FAKE_DOCKER)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    return tool


def _docker_task(image: str) -> dict[str, object]:
    params = {"Image": image, "Entrypoint": ["/run", "-x"], "Parameters": ["--flag", "a b"]}
    return {
        "Name": "main",
        "Engine": {"Type": "docker", "Params": params},
        "Env": {"A": "1"},
        "InputSources": [inline(b"1", "/in/a")],
        "Network": {"Type": "Host"},
    }


@pytest.mark.parametrize("image", ["here:1", "pulled:1"])
def test_docker_runs_containers(make_node: MakeNode, fake_docker: Path, image: str) -> None:
    """With a daemon a task runs in a container with its limits, network, inputs and arguments."""
    _, api = make_node(images={}, docker=True)
    job = api.run("contained", _docker_task(image))
    assert executions(job) == [(9, "Running", 7)]
    assert output(job)["Stdout"] == "from the container\n"
    calls = Path(f"{fake_docker}.log").read_text()
    create = next(line for line in calls.splitlines() if line.startswith("create"))
    for part in ("--network host", "--memory 512000000", "--env A=1", ":/in/a:ro"):
        assert part in create
    assert create.endswith(f"--entrypoint /run {image} -x --flag a b")
    assert "rm --force devnode-e-" in calls


def test_docker_image_that_cannot_be_had(make_node: MakeNode, fake_docker: Path) -> None:
    """Neither here nor in a registry: the execution fails before it starts."""
    _, api = make_node(images={}, docker=True)
    job = api.run("gone", _docker_task("gone:1"))
    assert executions(job) == [(10, 'image not available: "gone:1"', 0)] * 2


def test_docker_out_of_memory(make_node: MakeNode, fake_docker: Path) -> None:
    """The daemon tells that the container was killed for its memory."""
    Path(f"{fake_docker}.oom").touch()
    _, api = make_node(images={}, docker=True)
    job = api.run("grows", _docker_task("here:1"))
    assert executions(job) == [(10, "memory limit exceeded", 0)] * 2


def test_docker_timeout_and_stop(make_node: MakeNode, fake_docker: Path) -> None:
    """A container is killed when its time is over, and stopped when its job is."""
    Path(f"{fake_docker}.sleep").touch()
    _, api = make_node(images={}, docker=True)
    late = {**_docker_task("here:1"), "Timeouts": {"ExecutionTimeout": 1}}
    assert executions(api.run("late", late)) == [(10, "Execution timed out after 1s", 0)] * 2
    job = api.submit("stopped", _docker_task("here:1"))
    log = Path(f"{fake_docker}.log")
    api.wait(lambda: log.read_text().count("start --attach") == 3, "the container runs")
    api.stop(job)
    api.wait(api.idle, "the container has ended")
    calls = log.read_text()
    assert (calls.count("\nkill devnode-e-"), calls.count("\nstop --time 1 devnode-e-")) == (2, 1)


def test_docker_without_space(make_node: MakeNode, fake_docker: Path) -> None:
    """The daemon's own words are the reason."""
    Path(f"{fake_docker}.full").touch()
    _, api = make_node(images={}, docker=True)
    job = api.run("full", _docker_task("here:1"))
    assert executions(job)[0][:2] == (10, "failed to create container: no space")


def test_without_daemon_and_images_there_is_no_docker(make_node: MakeNode) -> None:
    """The node does not offer the engine, and jobs for it say so."""
    _, api = make_node(images={})
    job = api.run("none", _docker_task("here:1"))
    assert "does not support docker, only wasm" in job["Job"]["State"]["Message"]
    info = api.call("GET", "agent/node").json()["ComputeNodeInfo"]
    assert info["ExecutionEngines"] == ["wasm"], json.dumps(info)


def test_stop_during_a_command_that_ignores_it(api: Api) -> None:
    """What ignores TERM is killed soon after, and its place is free."""
    job = api.submit("deaf", shell_task("trap '' TERM; while :; do sleep 0.05; done"))
    api.until(job, {"Running"})
    api.stop(job)
    api.wait(api.idle, "it has ended")
    assert api.state(job) in ENDED
