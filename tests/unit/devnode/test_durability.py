"""What a dev node has taken survives it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.devnode.conftest import (
    ENDED,
    IMAGE,
    Api,
    MakeNode,
    executions,
    shell_task,
    wasm_source,
    wasm_task,
)


class Process:
    """A dev node in a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        command = [sys.executable, "-m", "bacalhau_client.devnode", "--listen", "127.0.0.1:0"]
        command += ["--data-dir", str(data_dir), "--image", f"{IMAGE}=-"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        self.api = Api(words[words.index("on") + 1].rstrip(","))

    def end(self, number: signal.Signals) -> int:
        """Sends a signal and returns the exit code."""
        self.api.session.close()
        self.process.send_signal(number)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def test_accepted_jobs_survive_kill_9(tmp_path: Path) -> None:
    """Every job that got a 200 is there after kill -9, and runs to its end."""
    first = Process(tmp_path)
    taken: list[str] = []
    enough = threading.Event()

    def submit() -> None:
        task = wasm_task(wasm_source("nop"))
        try:
            while True:
                taken.append(first.api.submit(f"job-{len(taken)}", task))
                if len(taken) == 30:
                    enough.set()
        except OSError:
            return

    thread = threading.Thread(target=submit)
    thread.start()
    assert enough.wait(20)
    first.end(signal.SIGKILL)
    thread.join()
    second = Process(tmp_path)
    for job in taken:
        assert second.api.until(job, ENDED)["Job"]["State"]["StateType"] == "Completed"
    assert second.end(signal.SIGTERM) == 0


def test_running_task_is_tried_again_after_a_restart(make_node: MakeNode, tmp_path: Path) -> None:
    """A task dies with the node: its execution is lost, and the job has its second try."""
    node, api = make_node()
    mark = tmp_path / "first try"
    script = f'[ -e "{mark}" ] && exit 0; : > "{mark}"; sleep 60'
    job = api.submit("again", shell_task(script))
    api.wait(mark.exists, "the task runs")
    node.stop()
    node.start()
    done = api.until(job, ENDED)
    lost = "Execution stop requested because node has disappeared"
    assert done["Job"]["State"]["StateType"] == "Completed"
    assert executions(done) == [(10, lost, 0), (9, "Running", 0)]


def test_stopped_and_failed_jobs_stay_so(make_node: MakeNode) -> None:
    """States, executions and history are the same after a restart."""
    node, api = make_node()
    failed = api.run("failed", wasm_task(wasm_source("unreachable")))
    stopped = api.submit("stopped", shell_task("sleep 60"))
    api.until(stopped, {"Running"})
    api.stop(stopped)
    before = [api.get("failed"), api.get("stopped")]
    node.stop()
    node.start()
    assert [api.get("failed"), api.get("stopped")] == before
    assert before[0] == failed


def test_total_timeout_is_remembered(make_node: MakeNode) -> None:
    """TotalTimeout counts from the submission, also across a restart."""
    node, api = make_node()
    job = api.submit("late", shell_task("sleep 60", Timeouts={"TotalTimeout": 2}))
    api.until(job, {"Running"})
    node.stop()
    node.start()
    assert api.until(job, ENDED)["Job"]["State"]["Message"].startswith("Job timed out")


def test_start_and_stop_in_any_order(make_node: MakeNode) -> None:
    """Both may be called twice, and a node that was stopped starts again at its address."""
    node, api = make_node()
    url = node.url
    node.start()
    node.stop()
    node.stop()
    node.start()
    assert node.url == url
    assert api.call("GET", "agent/alive").json() == {"Status": "OK"}


def test_versions_survive(make_node: MakeNode) -> None:
    """All versions of a job can be read after a restart, each with its own spec."""
    node, api = make_node()
    api.run("job", shell_task("exit 1"))
    api.run("job", shell_task("exit 2"))
    node.stop()
    node.start()
    versions = api.call("GET", "orchestrator/jobs/job/versions").json()["Items"]
    assert [version["Version"] for version in versions] == [1, 2]
    first = api.call("GET", "orchestrator/jobs/job", params={"job_version": "1"}).json()
    assert first["Job"]["Tasks"] == versions[0]["Tasks"]


def test_same_bytes_after_a_restart(make_node: MakeNode) -> None:
    """The node still knows that it has them."""
    node, api = make_node()
    api.run("job", shell_task("true"))
    node.stop()
    node.start()
    assert "no changes detected" in api.put("job", shell_task("true")).json()["Message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end the node with exit code 0, though a task runs."""
    process = Process(tmp_path)
    job = process.api.submit("long", shell_task("sleep 60"))
    process.api.until(job, {"Running"})
    assert process.end(number) == 0


def test_each_version_keeps_its_last_state(api: Api) -> None:
    """A version that has just ended is shown as it ended, though the next one came at once."""
    for number in range(5):
        api.run("job", wasm_task(wasm_source("nop")), Labels={"number": str(number)})
    versions = api.call("GET", "orchestrator/jobs/job/versions").json()["Items"]
    assert [version["State"]["StateType"] for version in versions] == ["Completed"] * 5


def test_old_jobs_are_read_from_the_store(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job shows the same whether it is still held in memory or not."""
    monkeypatch.setattr("bacalhau_client.devnode.journal._RECENT_JOBS", 1)
    _, api = make_node()
    first = api.run("first", wasm_task(wasm_source("unreachable")))
    for number in range(3):
        api.run(f"later-{number}", wasm_task(wasm_source("nop")))
    assert api.get("first") == first
    assert "no changes" in api.put("first", wasm_task(wasm_source("unreachable"))).text


def test_commands_die_with_a_killed_node(tmp_path: Path) -> None:
    """After kill -9 no command goes on that the node does not know of."""
    process = Process(tmp_path / "node")
    mark = tmp_path / "pid"
    script = f"echo $$ > {mark}.new; mv {mark}.new {mark}; while :; do sleep 0.1; done"
    process.api.submit("orphan", shell_task(script))
    process.api.wait(mark.exists, "the task runs")
    process.end(signal.SIGKILL)
    stat = Path(f"/proc/{mark.read_text().strip()}/stat")
    Api.wait(lambda: not stat.exists() or stat.read_text().split()[2] == "Z", "it is gone")
