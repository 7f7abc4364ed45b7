"""Requests, good and bad: specs, selectors, pages, credentials, logs."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from bacalhau_client.devnode import User, selectors, spec
from bacalhau_client.devnode.auth import required_capability
from bacalhau_client.devnode.cli import main
from bacalhau_client.devnode.errors import ApiError
from bacalhau_client.devnode.states import go_duration
from tests.unit.devnode.conftest import ENDED, Api, MakeNode, shell_task, wasm_source, wasm_task

TASK: dict[str, Any] = {"Name": "main", "Engine": {"Type": "wasm", "Params": {}}}
JOB: dict[str, Any] = {"Name": "j", "Type": "batch", "Tasks": [TASK]}


def _task(**fields: Any) -> dict[str, Any]:
    return {**JOB, "Tasks": [{**TASK, **fields}]}


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (None, "empty/nil job"),
        ([], "empty/nil job"),
        ("x", "empty/nil job"),
        ({**JOB, "Type": ""}, "missing job type"),
        ({**JOB, "Type": "daemon", "Count": 2}, "cannot specify count > 1"),
        ({**JOB, "Count": "2"}, "expected=int64, got=str, field=Job.Count"),
        ({**JOB, "Count": True}, "field=Job.Count"),
        ({**JOB, "Name": 5}, "field=Job.Name"),
        ({**JOB, "Labels": {"a": 1}}, "field=Job.Labels.a"),
        ({**JOB, "Labels": []}, "field=Job.Labels"),
        ({**JOB, "Tasks": {}}, "field=Job.Tasks"),
        ({**JOB, "Tasks": ["x"]}, "expected=models.Task"),
        ({**JOB, "Constraints": [{"Operator": "="}]}, "constraint 1 validation failed"),
        (_task(Name=""), "missing task name"),
        (_task(Engine={}), "invalid engine: missing spec type"),
        (_task(Env={"1A": "x"}), "'1A' has an invalid name"),
        (_task(Env={"BACALHAU_X": "x"}), "cannot start with BACALHAU_"),
        (_task(Env={"A": 1}), "field=Job.Tasks.Env.A"),
        (_task(Resources={"Memory": "much"}), "invalid Memory value: much"),
        (_task(InputSources=[{}]), "missing artifact target"),
        (_task(InputSources=[{"Target": "/a"}, {"Target": "/a"}]), "'/a' already exist"),
        (_task(Timeouts={"ExecutionTimeout": -1}), "invalid execution timeout value: -1s"),
        (_task(Timeouts={"TotalTimeout": "5m"}), "field=Job.Tasks.TotalTimeout"),
        (_task(Network={"Type": "Moon"}), "invalid networking type 'Moon'"),
        (_task(ResultPaths=[{"Name": "o", "Path": "/o"}]), "publisher must be set"),
        (
            _task(Timeouts={"QueueTimeout": 400, "TotalTimeout": 300}),
            "execution timeout 5m0s and queue timeout 6m40s should be less than total timeout 5m0s",
        ),
    ],
)
def test_refused_jobs(job: Any, words: str) -> None:
    """Each is a 400 that says what is wrong."""
    with pytest.raises(ApiError) as caught:
        spec.checked(job)
    assert caught.value.status == 400
    assert words in str(caught.value)


def test_all_errors_are_told_at_once() -> None:
    """One line for each thing that is wrong."""
    with pytest.raises(ApiError) as caught:
        spec.checked({"Type": "cron", "Count": -1})
    assert str(caught.value).splitlines() == [
        'invalid job type: "cron"',
        "job count must be >= 0",
        "missing job tasks",
    ]


def test_what_is_ignored_is_warned_about() -> None:
    """The node drops what is its own to say."""
    given = {**JOB, "ID": "x", "Version": 3, "Tasks": [TASK, TASK], "Meta": {"bacalhau.org/a": "b"}}
    completed, warnings = spec.checked(given)
    assert len(warnings) == 4
    assert (completed["Meta"], len(completed["Tasks"])) == ({}, 1)


def test_equal_jobs_have_equal_digests() -> None:
    """Order of keys, defaults spelled out, reserved Meta and the case of sizes do not matter."""
    plain, _ = spec.checked(JOB)
    spelled, _ = spec.checked(
        {
            **_task(Resources={"Memory": "512MB", "CPU": "500m"}, Network={"Type": "default"}),
            "Count": 1,
            "Namespace": "default",
            "Meta": {"bacalhau.org/x": "y"},
        }
    )
    other, _ = spec.checked({**JOB, "Labels": {"a": "b"}})
    assert spec.digest(plain) == spec.digest(spelled) != spec.digest(other)


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("512mb", 512_000_000), ("1Gi", 2**30), ("1.5 GB", 1_500_000_000), ("5", 5)],
)
def test_sizes(text: str, size: int) -> None:
    """Decimal and binary units."""
    assert spec.parse_size(text) == size


@pytest.mark.parametrize(
    ("seconds", "text"), [(2, "2s"), (60, "1m0s"), (3600, "1h0m0s"), (-1, "-1s"), (3661, "1h1m1s")]
)
def test_durations(seconds: int, text: str) -> None:
    """As Go prints them."""
    assert go_duration(seconds) == text


LABELS = {"a": "1", "b": "x", "orch/c": ""}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("a=1", True),
        ("a==1,b=x", True),
        ("a=2", False),
        ("a!=2", True),
        ("gone!=2", True),
        ("a in (1,2)", True),
        ("a in (3)", False),
        ("a notin (1)", False),
        ("gone notin (1)", True),
        ("b", True),
        ("gone", False),
        ("!gone", True),
        ("!b", False),
        ("orch/c=", True),
        ("a>0,a<2", True),
        ("b>0", False),
    ],
)
def test_label_selectors(selector: str, matches: bool) -> None:
    """The operators of Kubernetes' label selectors."""
    assert all(r.matches(LABELS) for r in selectors.parse(selector)) is matches


@pytest.mark.parametrize(
    "selector", [",", "a=1,", "a b", "a in", "a in (", "a in (1", "=1", "a=,,"]
)
def test_bad_label_selectors(selector: str) -> None:
    """Each is a 400, not a match of everything."""
    with pytest.raises(ApiError) as caught:
        selectors.parse(selector)
    assert caught.value.status == 400


def test_pages_hold_every_job_once(api: Api) -> None:
    """Following NextToken gives all jobs in order, forwards and backwards."""
    for number in range(7):
        api.submit(f"job-{number}", wasm_task(wasm_source("nop")), Labels={"k": str(number % 2)})
    names = [f"job-{number}" for number in range(7)]
    assert _all(api, {"limit": "3"}) == names
    assert _all(api, {"limit": "2", "reverse": "true"}) == names[::-1]
    assert _all(api, {"limit": "2", "labels": "k=1"}) == names[1::2]


def _all(api: Api, query: dict[str, str]) -> list[str]:
    found: list[str] = []
    while True:
        page = api.call("GET", "orchestrator/jobs", params=query).json()
        found += [job["Name"] for job in page["Items"]]
        if not page["NextToken"]:
            return found
        query = {**query, "next_token": page["NextToken"]}


@pytest.mark.parametrize("query", ["limit=x", "limit=-1", "next_token=!!", "next_token=YWJj"])
def test_bad_pages(api: Api, query: str) -> None:
    """Refused with a reason."""
    assert api.call("GET", f"orchestrator/jobs?{query}").status_code == 400


def test_namespaces(api: Api) -> None:
    """A name belongs to its namespace; `*` lists all of them."""
    api.submit("same", wasm_task(wasm_source("nop")))
    api.submit("same", wasm_task(wasm_source("nop")), Namespace="other")
    assert len(_all(api, {"namespace": "other"})) == 1
    assert len(_all(api, {"namespace": "*"})) == 2
    answer = api.call("GET", "orchestrator/jobs/same", params={"namespace": "third"})
    assert answer.status_code == 404


def test_short_ids(api: Api) -> None:
    """A job can be named by the first part of its id."""
    job = api.submit("job", wasm_task(wasm_source("nop")))
    assert api.get(job[:10])["Job"]["ID"] == job


def test_history_filters(api: Api) -> None:
    """By level, by execution and by number."""
    job = api.run("job", wasm_task(wasm_source("unreachable")))
    execution = job["Executions"]["Items"][0]["ID"]
    for query, kinds in (
        ("event_type=job", {"JobLevel"}),
        ("event_type=execution", {"ExecutionLevel"}),
        (f"execution_id={execution}", {"ExecutionLevel"}),
        ("limit=1", {"JobLevel"}),
    ):
        items = api.call("GET", f"orchestrator/jobs/job/history?{query}").json()["Items"]
        assert {item["Type"] for item in items} == kinds


@pytest.mark.parametrize(
    ("method", "path", "capability"),
    [
        ("GET", "agent/alive", None),
        ("GET", "agent/version", "read:agent"),
        ("GET", "orchestrator/jobs", "read:job"),
        ("DELETE", "orchestrator/jobs/x", "write:job"),
        ("PUT", "orchestrator/jobs/x/rerun", "write:job"),
        ("GET", "orchestrator/nodes/x", "read:node"),
        ("GET", "orchestrator/jobs/x/logs", "read:job"),
        ("PUT", "dev/wipe", "write:job"),
    ],
)
def test_capabilities(method: str, path: str, capability: str | None) -> None:
    """Everything but `alive` asks for something."""
    assert required_capability(method, path.split("/")) == capability


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        ("Bearer ", "invalid API key"),
        ("Bearer x", "invalid API key"),
        ("Basic !!!", "invalid username or password"),
        ("Basic YTpi", "invalid username or password"),
        ("Digest x", "unsupported authorization scheme"),
    ],
)
def test_wrong_credentials(make_node: MakeNode, authorization: str, reason: str) -> None:
    """A 401 with the reason; a user without a password cannot be entered by an empty one."""
    _, api = make_node(users=(User(name="a", api_key="key"),))
    answer = api.call("GET", "orchestrator/jobs", headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()["Details"]["reason"]) == (401, reason)


def _logs(api: Api, job: str, query: str = "", **options: Any) -> list[dict[str, Any]]:
    url = f"{api.url.replace('http', 'ws', 1)}/orchestrator/jobs/{job}/logs{query}"
    with connect(url, proxy=None, **options) as socket:
        return [json.loads(message) for message in socket]


def test_logs_follow_a_running_task(api: Api) -> None:
    """Lines come while the task runs, and the stream ends with it."""
    job = api.submit("chatty", shell_task("for i in 1 2 3; do echo $i; sleep 0.2; done; printf x"))
    api.until(job, {"Running", *ENDED})
    lines = [message["value"]["Line"] for message in _logs(api, job, "?follow=true")]
    assert lines == ["1\n", "2\n", "3\n", "x"]


def test_logs_without_follow_end_at_once(api: Api) -> None:
    """What is there so far, though the task goes on."""
    job = api.submit("goes-on", shell_task("echo first; sleep 60"))
    api.wait(lambda: len(_logs(api, job)) == 1, "the first line is there")
    assert api.state(job) == "Running"


def test_logs_of_several_readers(api: Api) -> None:
    """Everyone who follows gets everything."""
    job = api.submit("many", shell_task("for i in 1 2 3; do echo $i; sleep 0.1; done"))
    api.until(job, {"Running", *ENDED})
    read: list[int] = []
    readers = [
        threading.Thread(target=lambda: read.append(len(_logs(api, job, "?follow=true"))))
        for _ in range(4)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert read == [3] * 4


def test_logs_of_nothing(api: Api) -> None:
    """An unknown job is told inside the stream."""
    assert _logs(api, "unknown")[0]["error"] == "job not found: unknown"


def test_logs_need_credentials(make_node: MakeNode) -> None:
    """The stream is refused before it opens."""
    _, api = make_node(users=(User(name="a", api_key="key"),))
    with pytest.raises(InvalidStatus) as caught:
        _logs(api, "x")
    assert caught.value.response.status_code == 401


@pytest.mark.parametrize(
    "options",
    [
        ["--listen", "nowhere"],
        ["--listen", "127.0.0.1:70000"],
        ["--image", "busybox"],
        ["--node", "zone"],
        ["--api-key", "key"],
        ["--capacity", "0"],
    ],
)
def test_bad_options(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and a sentence that shows the right form."""
    assert main(options) == 2
    assert "dev-node:" in capsys.readouterr().err


def test_address_in_use(make_node: MakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 and the address."""
    node, _ = make_node()
    address = node.url.removeprefix("http://")
    assert main(["--listen", address, "--data-dir", str(node.config.data_dir / "other")]) == 1
    assert f"cannot listen on {address}" in capsys.readouterr().err


def test_the_client_does_not_load_the_dev_node() -> None:
    """`import bacalhau_client` brings in neither the dev node nor wasmtime."""
    code = (
        "import sys, bacalhau_client; "
        "assert not {'wasmtime', 'uvicorn', 'bacalhau_client.devnode'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:1234", "10.0.0.1"])
def test_foreign_host_names_are_refused(make_node: MakeNode, host: str) -> None:
    """A web page cannot make its own name lead here; with credentials any name will do."""
    _, open_to_all = make_node()
    assert open_to_all.call("GET", "agent/alive", headers={"Host": host}).status_code == 403
    for own in ("localhost", "127.0.0.1:1", "[::1]:80"):
        assert open_to_all.call("GET", "agent/alive", headers={"Host": own}).status_code == 200
    _, closed = make_node(users=(User(name="a", api_key="key"),))
    assert closed.call("GET", "agent/alive", headers={"Host": host}).status_code == 200


def test_outside_needs_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reaches a dev node runs programs: it does not listen to everyone."""
    assert main(["--listen", "0.0.0.0:0"]) == 2
    assert "--api-key" in capsys.readouterr().err


def test_one_node_for_a_directory(make_node: MakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    """A second dev node on the same directory ends at once; the first goes on."""
    node, api = make_node()
    options = ["--listen", "127.0.0.1:0", "--data-dir", str(node.config.data_dir)]
    assert main(options) == 1
    assert "another dev node uses this directory" in capsys.readouterr().err
    assert api.run("goes-on", wasm_task(wasm_source("nop")))["Job"]["Version"] == 1


def test_a_store_that_cannot_be_written_is_told(make_node: MakeNode) -> None:
    """A submission that could not be written gets a 500, never a 200."""

    node, api = make_node()
    with sqlite3.connect(node.config.data_dir / "node.db") as database:
        database.execute("DROP TABLE history")
    database.close()
    assert api.put("lost", wasm_task(wasm_source("nop"))).status_code == 500
