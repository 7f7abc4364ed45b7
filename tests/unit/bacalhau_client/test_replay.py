"""Every recorded exchange with a real node, replayed through real sockets."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.server import ServerConnection, serve

import bacalhau_client as bc
from bacalhau_client import BacalhauClient, BacalhauError

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"
API = "/api/v1"
JOBS = f"{API}/orchestrator/jobs"
LOGS_JOB = "j-98c01d1b-29a9-4535-a149-af6bffe4908a"  # the recording wrote {id}
FILLER = re.compile(r"<(\d+) x characters>")
EXCHANGES = [
    (file.stem, number, exchange)
    for file in sorted(RECORDINGS.glob("*.json"))
    for number, exchange in enumerate(json.loads(file.read_text())["exchanges"])
]
HTTP = [entry for entry in EXCHANGES if entry[2]["status"] != 101]
WEBSOCKET = [entry for entry in EXCHANGES if entry[2]["status"] == 101]

AUTH: dict[str, bc.BearerAuth | bc.BasicAuth] = {
    "wrong key: submit": bc.BearerAuth(token="wrong"),
    "read-only key: submit": bc.BearerAuth(token="read-only"),
    "read-only key: list": bc.BearerAuth(token="read-only"),
    "read-write key: submit": bc.BearerAuth(token="read-write"),
    "basic: get": bc.BasicAuth(user="user", password="password"),
}
ERRORS: dict[str, type[BacalhauError]] = {
    "no credentials: list": bc.Unauthorized,
    "no credentials: submit": bc.Unauthorized,
    "no credentials: nodes": bc.Unauthorized,
    "wrong key: submit": bc.Unauthorized,
    "read-only key: submit": bc.Forbidden,
    "body is not JSON": bc.Refused,
    "no content type": bc.Refused,
    "no Job": bc.Refused,
    "unknown type": bc.Refused,
    "no tasks": bc.Refused,
    "timeouts contradict": bc.Refused,
    "negative count": bc.Refused,
    "get that name": bc.NotFound,
    "result paths without publisher": bc.Refused,
    "bad label selector": bc.Refused,
    "bad order": bc.ServerFault,
    "body over 10 MB": bc.Refused,
    "same bytes again while it runs": bc.AlreadyThere,
    "same bytes again when done": bc.AlreadyThere,
    **{f"eight at once: {n}": bc.AlreadyThere for n in range(1, 8)},
    "get what does not exist": bc.NotFound,
    "unknown path": bc.NotFound,
    "same bytes again after the restart": bc.AlreadyThere,
    "stop what is completed": bc.CannotStop,
    "stop what does not exist": bc.NotFound,
}


def name_of(entry: tuple[str, int, dict[str, Any]]) -> str:
    return f"{entry[0]}-{entry[1]}-{entry[2]['label']}"


def body_of(exchange: dict[str, Any]) -> bytes:
    """The bytes that were sent, with fillers written out."""
    request = exchange["request"]
    text = request if isinstance(request, str) else json.dumps(request)
    return FILLER.sub(lambda match: "x" * int(match[1]), text).encode()


def call(client: BacalhauClient, exchange: dict[str, Any]) -> Any:
    """The method of the client that makes this exchange."""
    method, path = exchange["method"], exchange["path"]
    params = dict(exchange["params"] or {})
    if method == "PUT" and path == JOBS:
        request = exchange["request"]
        # put sends a job and nothing else: "Force" is not for it, nor what is no job at all
        if isinstance(request, dict) and set(request) == {"Job"} and exchange["status"] != 413:
            return client.jobs.put(request["Job"])
        return client.jobs.put_job_bytes(body_of(exchange))
    if method == "PUT" and path == f"{JOBS}/diff":
        return client.jobs.diff(exchange["request"]["Job"])
    plain = {
        f"{API}/agent/alive": client.agent.alive,
        f"{API}/agent/version": client.agent.version,
        f"{API}/agent/node": client.agent.node,
        f"{API}/orchestrator/nodes": client.nodes.list,
    }
    if path in plain:
        return plain[path]()
    if path == JOBS:
        if "reverse" in params:
            params["reverse"] = params["reverse"] == "true"
        return client.jobs.list(**params)
    if not path.startswith(f"{JOBS}/"):
        return client.get_json(path)
    job, _, rest = path.removeprefix(f"{JOBS}/").partition("/")
    job = job.replace("%20", " ").replace("%2F", "/")
    if method == "DELETE":
        return client.jobs.stop(job, reason=params["reason"])
    if method == "PUT":
        return {"rerun": client.jobs.rerun}[rest](job)
    if rest:
        reads: dict[str, Callable[..., Any]] = {
            "executions": client.jobs.executions,
            "history": client.jobs.history,
            "results": client.jobs.results,
            "versions": client.jobs.versions,
        }
        return reads[rest](job, **params)
    include = params.get("include", "").split(",") if "include" in params else ()
    return client.jobs.get(job, include=include, namespace=params.get("namespace"))


def check(value: Any, answer: dict[str, Any]) -> None:
    """The typed value says what the recorded answer says."""
    match value:
        case bc.PutResult():
            assert (value.job_id, value.evaluation_id) == (answer["JobID"], answer["EvaluationID"])
            assert value.warnings == ()
        case bc.RerunResult():
            assert (value.job_id, value.job_version) == (answer["JobID"], answer["JobVersion"])
        case bc.DiffResult():
            assert value.diff == answer["Diff"]
        case bc.StopResult():
            assert value.evaluation_id == answer["EvaluationID"]
        case bc.JobInfo():
            check_job(value.job, answer["Job"])
            check_optional(value.executions, answer.get("Executions"), check_execution)
            check_optional(value.history, answer.get("History"), check_event)
        case bc.Page():
            recorded = answer.get("Nodes", answer.get("Items"))
            assert recorded is not None
            assert value.next_token == answer["NextToken"]
            assert len(value) == len(recorded)
            for item, raw in zip(value, recorded, strict=True):
                check_item(item, raw)
        case tuple():
            for result, raw in zip(value, answer["Items"], strict=True):
                assert (result.type, result.params) == (raw["Type"], raw["Params"])
        case bc.Version():
            assert value.git_version == answer["GitVersion"] == "v0.0.0-xxxxxxx"
            assert (value.os, value.architecture) == ("linux", "amd64")
        case bc.NodeInfo():
            check_node_info(value, answer)
        case bool():
            assert value is (answer["Status"] == "OK")
        case _:
            raise AssertionError(f"no check for {type(value)}")


def check_optional(
    page: bc.Page[Any] | None, raw: dict[str, Any] | None, each: Callable[[Any, Any], None]
) -> None:
    assert (page is None) == (raw is None)
    if page is not None and raw is not None:
        for item, recorded in zip(page, raw["Items"], strict=True):
            each(item, recorded)


def check_item(item: Any, raw: dict[str, Any]) -> None:
    checks: dict[type, Callable[[Any, Any], None]] = {
        bc.Job: check_job,
        bc.Execution: check_execution,
        bc.HistoryEvent: check_event,
        bc.Node: check_node,
    }
    checks[type(item)](item, raw)


def check_job(job: bc.Job, raw: dict[str, Any]) -> None:
    assert job.raw == raw
    assert (job.id, job.name, job.namespace) == (raw["ID"], raw["Name"], raw["Namespace"])
    assert (job.type, job.count, job.priority) == (raw["Type"], raw["Count"], raw["Priority"])
    assert (job.version, job.revision) == (raw["Version"], raw["Revision"])
    assert (job.create_time, job.modify_time) == (raw["CreateTime"], raw["ModifyTime"])
    assert job.created_at is not None
    assert job.created_at.timestamp() == pytest.approx(raw["CreateTime"] / 1e9)
    assert (job.labels, job.meta) == (raw["Labels"], raw["Meta"])
    assert job.orchestrator_id == raw["Meta"]["bacalhau.org/orchestrator.id"]
    assert job.state.type.value == job.state.name == raw["State"]["StateType"]
    assert job.state.type is not bc.JobStateType.UNKNOWN
    assert job.state.message == raw["State"].get("Message", "")
    assert job.state.is_terminal == (job.state.name in {"Completed", "Failed", "Stopped"})
    for task, raw_task in zip(job.tasks, raw["Tasks"], strict=True):
        assert (task.name, task.engine.type) == (raw_task["Name"], raw_task["Engine"]["Type"])
        assert task.engine.params == raw_task["Engine"]["Params"]
        assert task.publisher.type == raw_task["Publisher"]["Type"]
        assert task.env == raw_task.get("Env", {})
        assert task.execution_timeout == raw_task["Timeouts"].get("ExecutionTimeout", 0)
        assert task.total_timeout == raw_task["Timeouts"].get("TotalTimeout", 0)
        assert task.queue_timeout == raw_task["Timeouts"].get("QueueTimeout", 0)


def check_execution(execution: bc.Execution, raw: dict[str, Any]) -> None:
    assert (execution.id, execution.node_id) == (raw["ID"], raw["NodeID"])
    assert (execution.job_id, execution.job_version) == (raw["JobID"], raw["JobVersion"])
    assert execution.partition_index == raw.get("PartitionIndex", 0)
    assert execution.compute_state == raw["ComputeState"]["StateType"]
    assert not execution.compute_state.name.startswith("UNKNOWN")
    assert execution.compute_message == raw["ComputeState"]["Message"]
    assert execution.desired_state == raw["DesiredState"]["StateType"]
    assert execution.desired_message == raw["DesiredState"]["Message"]
    assert (execution.create_time, execution.modify_time) == (raw["CreateTime"], raw["ModifyTime"])
    assert execution.published_result.type == raw["PublishedResult"]["Type"]
    output, recorded = execution.run_output, raw["RunOutput"]
    assert output is not None
    assert (output.stdout, output.stderr) == (recorded["Stdout"], recorded["stderr"])
    assert output.stdout_truncated == recorded["StdoutTruncated"]
    assert output.stderr_truncated == recorded["StderrTruncated"]
    assert (output.exit_code, output.error_message) == (recorded["ExitCode"], recorded["ErrorMsg"])


def check_event(event: bc.HistoryEvent, raw: dict[str, Any]) -> None:
    assert (event.sequence, event.type) == (raw["SeqNum"], raw["Type"])
    assert (event.job_id, event.job_version) == (raw["JobID"], raw["JobVersion"])
    assert event.execution_id == raw.get("ExecutionID", "")
    assert (event.topic, event.message) == (raw["Event"]["Topic"], raw["Event"]["Message"])
    assert event.details == raw["Event"].get("Details", {})
    assert event.happened_at is not None
    assert event.happened_at.strftime("%Y-%m-%dT%H:%M:%S") == raw["Time"][:19]


def check_node(node: bc.Node, raw: dict[str, Any]) -> None:
    check_node_info(node.info, raw["Info"])
    assert (node.id, node.membership) == (raw["Info"]["NodeID"], raw["Membership"])
    state = raw["ConnectionState"]
    assert node.connection.status == state["Status"] == raw["Connection"]
    assert node.connection.is_connected == (state["Status"] == "CONNECTED")
    assert node.connection.last_error == state.get("LastError", "")
    assert (node.connection.disconnected_since == 0) == state["DisconnectedSince"].startswith(
        "0001"
    )


def check_node_info(info: bc.NodeInfo, raw: dict[str, Any]) -> None:
    assert (info.id, info.type, info.labels) == (raw["NodeID"], raw["NodeType"], raw["Labels"])
    compute, recorded = info.compute, raw["ComputeNodeInfo"]
    assert compute is not None
    assert compute.engines == tuple(recorded["ExecutionEngines"] or ())
    assert compute.max_capacity.cpu == recorded["MaxCapacity"].get("CPU", 0)
    assert compute.max_capacity.memory == recorded["MaxCapacity"].get("Memory", 0)
    assert compute.running_executions == recorded["RunningExecutions"]
    assert info.version is not None


def check_error(error: BacalhauError, exchange: dict[str, Any]) -> None:
    """The exception says what the recorded error says."""
    answer = exchange["response"]
    assert type(error) is ERRORS[exchange["label"]]
    assert isinstance(error, bc.Answered)
    assert (error.status, error.code) == (exchange["status"], answer["Code"])
    assert error.message == answer["Message"]
    assert error.hint == answer.get("Hint", "")
    assert error.details == answer.get("Details", {})
    assert error.request_id == exchange["headers"].get("X-Request-Id", "")
    assert str(error).startswith(f"{exchange['method']} http://127.0.0.1:")
    assert answer["Message"] in str(error)
    if isinstance(error, bc.AlreadyThere):
        assert error.job_name == exchange["request"]["Job"]["Name"]
        assert error.job_id.startswith("j-")
        assert error.job_id in answer["Message"]
    if isinstance(error, bc.CannotStop):
        assert error.state == "Completed"


def test_no_exchange_is_left_out() -> None:
    """Each file's exchanges are all replayed below, over HTTP or over a websocket."""
    assert len({file for file, _, _ in EXCHANGES}) == 13
    assert (len(HTTP), len(WEBSOCKET)) == (170, 2)
    failed = {exchange["label"] for _, _, exchange in HTTP if exchange["status"] != 200}
    assert failed == set(ERRORS)


@pytest.mark.parametrize("entry", HTTP, ids=name_of)
def test_exchange(
    entry: tuple[str, int, dict[str, Any]],
    http_server: Callable[..., Any],
    connect: Callable[..., BacalhauClient],
    answer: Callable[..., Any],
) -> None:
    """The client sends the recorded request and makes of the recorded answer what it says."""
    exchange = entry[2]
    body = json.dumps(exchange["response"]).encode() + b"\n"
    server = http_server(answer(exchange["status"], body, exchange["headers"]))
    auth = AUTH.get(exchange["label"])
    client = connect(server.url, auth=auth)

    if exchange["status"] == 200:
        check(call(client, exchange), exchange["response"])
    else:
        with pytest.raises(BacalhauError) as caught:
            call(client, exchange)
        check_error(caught.value, exchange)

    (request,) = server.requests
    assert (request.method, request.path) == (exchange["method"], exchange["path"])
    assert request.params == {k: str(v) for k, v in (exchange["params"] or {}).items()}
    assert request.headers.get("Authorization") == (auth.header() if auth else None)
    if exchange["request"] is None:
        assert request.body == b""
    else:
        assert request.headers["Content-Type"] == "application/json"
        sent, recorded = request.body, body_of(exchange)
        assert sent == recorded or json.loads(sent) == json.loads(recorded)


@pytest.fixture
def log_server() -> Iterator[Callable[[dict[str, Any], bool], tuple[str, list[Any]]]]:
    """Starts a websocket server that plays a recorded stream and ends it, cleanly or not."""
    stops: list[Callable[[], None]] = []

    def start(exchange: dict[str, Any], clean: bool) -> tuple[str, list[Any]]:
        requests: list[Any] = []

        def play(connection: ServerConnection) -> None:
            requests.append(connection.request)
            for message in exchange["response"]:
                if not message.startswith("<"):
                    connection.send(message)
            if not clean:
                connection.socket.close()

        server = serve(play, "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()

        stops.append(stop)
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}", requests

    yield start
    for stop in stops:
        stop()


@pytest.mark.parametrize("clean", [True, False], ids=["close frame", "dropped"])
@pytest.mark.parametrize("entry", WEBSOCKET, ids=name_of)
def test_log_exchange(
    entry: tuple[str, int, dict[str, Any]],
    clean: bool,
    log_server: Callable[[dict[str, Any], bool], tuple[str, list[Any]]],
    connect: Callable[..., BacalhauClient],
) -> None:
    """A log stream's lines come out in order, and its end is an end, however the node ends it."""
    exchange = entry[2]
    url, requests = log_server(exchange, clean)
    follow = (exchange["params"] or {}).get("follow") == "true"

    lines = list(connect(url).jobs.logs(LOGS_JOB, follow=follow))

    values = [json.loads(message)["value"] for message in exchange["response"][:-1]]
    assert lines == [({1: "stdout", 2: "stderr"}[v["Type"]], v["Line"]) for v in values]
    assert len(lines) == 12
    target = urlsplit(requests[0].path)
    assert target.path == exchange["path"].replace("{id}", LOGS_JOB)
    assert target.query == ("follow=true" if follow else "")
