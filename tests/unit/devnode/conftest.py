"""Dev nodes for tests, and a small client that speaks plain HTTP to them."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import wasmtime

from bacalhau_client.devnode import DevNode, DevNodeConfig

ENDED = {"Completed", "Failed", "Stopped"}
IMAGE = "busybox:1"
WITHIN = 20.0


def wasm_source(body: str, imports: str = "", name: str = "$m.wasm") -> bytes:
    """A module whose `_start` has that body, in the text format."""
    text = f"""(module {name}
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      {imports}
      (memory (export "memory") 1)
      (func $_start (export "_start") {body}))"""
    return bytes(wasmtime.wat2wasm(text))


def inline(data: bytes, target: str, kind: str = "application/octet-stream") -> dict[str, Any]:
    """An inline input source."""
    url = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return {"Target": target, "Source": {"Type": "inline", "Params": {"URL": url}}}


def wasm_task(module: bytes, *parameters: str, **fields: Any) -> dict[str, Any]:
    """A task that runs a module; further input sources come after it."""
    sources = [inline(module, "/task.wasm"), *fields.pop("InputSources", [])]
    params = {"EntryModule": "/task.wasm", "Parameters": list(parameters)}
    engine = {"Type": "wasm", "Params": params}
    return {"Name": "main", "Engine": engine, "InputSources": sources, **fields}


def shell_task(script: str, **fields: Any) -> dict[str, Any]:
    """A task that runs a shell script in the image that a local command stands for."""
    params = {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    return {"Name": "main", "Engine": {"Type": "docker", "Params": params}, **fields}


def test_module(name: str) -> bytes:
    """A compiled module of tests/data/devnode."""
    return (Path(__file__).parents[2] / "data" / "devnode" / f"{name}.wasm").read_bytes()


test_module.__test__ = False  # type: ignore[attr-defined]


class Api:
    """The node's API as a test uses it."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/api/v1"
        self.session = requests.Session()
        self.session.trust_env = False

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request to a path below /api/v1."""
        return self.session.request(method, f"{self.url}/{path}", timeout=WITHIN, **options)

    def put(self, name: str, task: dict[str, Any], **fields: Any) -> requests.Response:
        """Submits a job with one task."""
        force = {"Force": True} if fields.pop("force", False) else {}
        job = {"Name": name, "Type": "batch", "Count": 1, "Tasks": [task], **fields}
        return self.call("PUT", "orchestrator/jobs", json={"Job": job, **force})

    def submit(self, name: str, task: dict[str, Any], **fields: Any) -> str:
        """Submits a job that must be taken; its id."""
        answer = self.put(name, task, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["JobID"]

    def get(self, job: str, include: str = "executions,history") -> dict[str, Any]:
        """A job with its executions and history."""
        answer = self.call("GET", f"orchestrator/jobs/{job}", params={"include": include})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self, job: str) -> str:
        """A job's state."""
        return self.get(job, "")["Job"]["State"]["StateType"]

    def until(self, job: str, states: set[str]) -> dict[str, Any]:
        """The job as soon as it is in one of the states."""
        self.wait(lambda: self.state(job) in states, f"{job} in {states}")
        return self.get(job)

    def run(self, name: str, task: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Submits a job and returns it when it has ended."""
        return self.until(self.submit(name, task, **fields), ENDED)

    def stop(self, job: str) -> requests.Response:
        """Stops a job."""
        return self.call("DELETE", f"orchestrator/jobs/{job}", params={"reason": "test"})

    def idle(self) -> bool:
        """Whether no task runs on the first compute node."""
        node = self.call("GET", "orchestrator/nodes").json()["Nodes"][0]
        return node["Info"]["ComputeNodeInfo"]["RunningExecutions"] == 0

    @staticmethod
    def wait(condition: Callable[[], bool], what: str) -> None:
        """Returns when a condition holds; fails after a while."""
        give_up = time.monotonic() + WITHIN
        while not condition():
            assert time.monotonic() < give_up, f"still waiting for: {what}"
            time.sleep(0.01)


def executions(job: dict[str, Any]) -> list[tuple[int, str, int]]:
    """State, message and exit code of each execution."""
    return [
        (
            execution["ComputeState"]["StateType"],
            execution["ComputeState"].get("Message", ""),
            execution["RunOutput"]["ExitCode"],
        )
        for execution in job["Executions"]["Items"]
    ]


def output(job: dict[str, Any]) -> dict[str, Any]:
    """The RunOutput of the last execution."""
    return job["Executions"]["Items"][-1]["RunOutput"]


MakeNode = Callable[..., tuple[DevNode, Api]]


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[MakeNode]:
    """Makes and starts dev nodes with the given settings; stops them afterwards."""
    made: list[tuple[DevNode, Api]] = []

    def make(**settings: Any) -> tuple[DevNode, Api]:
        defaults: dict[str, Any] = {
            "data_dir": tmp_path / f"node-{len(made)}",
            "images": {IMAGE: "-"},
            "docker": False,
            "s3_credentials": {},
            "head_retry_wait": 0.01,
            "disconnect_after": 0.2,
        }
        node = DevNode(DevNodeConfig(**(defaults | settings))).start()
        made.append((node, Api(node.url)))
        return made[-1]

    yield make
    for node, api in made:
        api.session.close()
        node.stop()


@pytest.fixture
def api(make_node: MakeNode) -> Api:
    """A dev node with one compute node."""
    return make_node()[1]
