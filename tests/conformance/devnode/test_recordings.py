"""The dev node answers the requests of every recording as the real node did."""

from __future__ import annotations

import http.server
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bacalhau_client.devnode import ComputeNode, DevNode, DevNodeConfig, User
from tests.conformance.devnode.replay import RECORDED_S3, Replay, recording

ONE_NODE = (ComputeNode(),)
TWO_NODES = (ComputeNode(labels={"zone": "z1"}), ComputeNode(labels={"zone": "z2"}))
S3 = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
READ = frozenset({"read:job", "read:node"})
USERS = (
    User(name="ro", api_key="read-only", capabilities=READ),
    User(name="rw", api_key="read-write"),
    User(name="basic", password="secret"),
)
_BUILD = "of that machine and build"
_NODE_INFO = {
    "ComputeNodeInfo.MaxCapacity": _BUILD,
    "ComputeNodeInfo.AvailableCapacity": _BUILD,
    "ComputeNodeInfo.MaxJobRequirements": _BUILD,
    "ComputeNodeInfo.Publishers": "the dev node has no managed S3 store",
}
_NODES = {f"Nodes[].Info.{path}": reason for path, reason in _NODE_INFO.items()} | {
    f"Nodes[].ConnectionState.{path}": "there is no message bus to count on"
    for path in ("LastComputeSeqNum", "LastOrchestratorSeqNum")
}
_MOMENT = "how far the job was at that moment is a matter of microseconds"
_PENDING: dict[str, str] = {"Job.State.StateType": _MOMENT, "Job.Revision": _MOMENT}
_TASKS_DIE = "a local command dies with the dev node, and the job has its second try"
_RESTARTED = {"Executions": _TASKS_DIE, "History": _TASKS_DIE}
_SHELL = "the message of that shell"

# What cannot be compared: recording, exchange, where in the answer, and why. Every entry must
# differ when it is replayed, save for the moments, which may.
FORGIVEN: dict[str, dict[str, dict[str, str]]] = {
    "auth": {"basic: get": _PENDING},
    "exits": {
        "docker command not found: afterwards": {"Executions.Items[].RunOutput.stderr": _SHELL}
    },
    "idempotency": {
        "get by name in a namespace": _PENDING,
        "diff": {"Diff": "a text for people, of Go's own making"},
    },
    "inputs_outputs": {
        "inline input source to a file path: afterwards": {
            "Executions.Items[].RunOutput.Stdout": "the listing of another ls"
        },
    },
    "listing": {
        "list newest changed first": {"Items": "which of five jobs at once ends last"},
        "nodes": _NODES,
        "agent node": _NODE_INFO,
    },
    "node_lost": {"nodes after one was killed": _NODES},
    "restart": {
        "nodes": _NODES,
        "5 s after the orchestrator came back": _RESTARTED,
        "17 s after": _RESTARTED,
        "37 s after": _RESTARTED,
    },
}
MAY_BE_EQUAL = {"list newest changed first", "basic: get", "get by name in a namespace"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """How a recording is replayed."""

    nodes: tuple[ComputeNode, ...] = ONE_NODE
    s3: bool = False
    users: tuple[User, ...] = ()
    first: tuple[str, ...] = ()  # recordings whose jobs this one looks at
    before: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)
    shorter: Mapping[str, str] = field(default_factory=dict)
    live: bool = False  # whether any single real node can serve it


def _wait(states: set[str]) -> Callable[[Replay], None]:
    return lambda replay: replay.until(states, replay.last_job)


_LOST = {"sleep 20; echo done": "sleep 30; echo done", "sleep 25; echo done": "sleep 1; echo done"}
CASES = {
    "auth": Case(users=USERS),
    "bad_requests": Case(live=True),
    "count": Case(nodes=TWO_NODES, before={"stop": _wait({"Running"})}),
    "exits": Case(),
    "failures": Case(),
    "idempotency": Case(live=True, before={"same bytes again when done": _wait({"Completed"})}),
    "inputs_outputs": Case(nodes=TWO_NODES, s3=True),
    "lifecycle": Case(live=True),
    "listing": Case(first=("lifecycle",)),
    "logs": Case(live=True, shorter={"sleep 1;": "sleep 0.1;"}),
    "node_lost": Case(nodes=TWO_NODES, s3=True, shorter=_LOST),
    "restart": Case(
        nodes=TWO_NODES,
        s3=True,
        first=("node_lost",),
        shorter={**_LOST, "sleep 8; echo done": "sleep 1; echo done"},
    ),
    "stop": Case(live=True, first=("lifecycle",), before={"stop": _wait({"Running"})}),
}


class _RefusesHead(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(403)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def refusing_server() -> Iterator[str]:
    """A server that refuses HEAD, as one does whose URL was signed for GET."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _RefusesHead) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """An S3 server with the recorded bucket."""
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
    )
    client.create_bucket(Bucket="logs")
    client.put_object(Bucket="logs", Key="day/1.ndjson", Body=b'{"a":1}\n{"a":2}\n')
    yield f"http://{host}:{port}"
    client.close()
    server.stop()


def _config(case: Case, data_dir: Path) -> DevNodeConfig:
    return DevNodeConfig(
        data_dir=data_dir,
        nodes=case.nodes,
        images={"localhost:5000/busybox:1": "-"},
        docker=False,
        users=case.users,
        s3_credentials=S3 if case.s3 else {},
        disconnect_after=3.0,
        head_retry_wait=0.01,
    )


def _credentials(label: str) -> Mapping[str, str]:
    """The credentials that a recorded label tells of."""
    keys = {
        "wrong key": "Bearer wrong",
        "read-only key": "Bearer read-only",
        "read-write key": "Bearer read-write",
        "basic": "Basic YmFzaWM6c2VjcmV0",
    }
    value = keys.get(label.partition(":")[0])
    return {"Authorization": value} if value else {}


def _breakages(name: str, node: DevNode) -> dict[str, Callable[[Replay], None]]:
    """What the recordings did to the cluster between two requests."""

    def restart(replay: Replay) -> None:
        replay.until({"Running"}, replay.last_job)
        node.stop()
        node.start()

    if name == "node_lost":
        first = node.node_ids()[0]
        label = "15 s after its compute node was killed"
        return {label: lambda replay: node.kill_compute_node(first)}
    if name == "restart":
        return {"5 s after the orchestrator came back": restart}
    return {}


@pytest.mark.parametrize("name", CASES)
def test_dev_node_answers_as_recorded(
    name: str, tmp_path: Path, s3_server: str, refusing_server: str
) -> None:
    """Status, bodies, states, exit codes, messages and history equal the recording's."""
    case = CASES[name]
    servers = {
        f"{RECORDED_S3}/logs/day/1.ndjson": f"{refusing_server}/logs/day/1.ndjson",
        RECORDED_S3: s3_server,
    }
    with DevNode(_config(case, tmp_path)) as node:
        replay = Replay(node.url, servers=servers, shorter=case.shorter, headers=_credentials)
        for earlier in case.first:
            replay.run(
                earlier,
                before={**CASES[earlier].before, **_breakages(earlier, node)},
                forgiven=FORGIVEN.get(earlier),
            )
        failures, used = replay.run(
            name,
            before={**case.before, **_breakages(name, node)},
            forgiven=FORGIVEN.get(name),
        )
        replay.close()
    assert failures == {}
    for label, paths in FORGIVEN.get(name, {}).items():
        if label not in MAY_BE_EQUAL:
            assert used[label] == set(paths), f"{label}: no longer differs, take it from FORGIVEN"


@pytest.mark.live
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.live])
def test_real_node_answers_as_recorded(name: str) -> None:
    """The same requests to a real node, under names of their own (it keeps names for ever)."""
    case = CASES[name]
    suffix = f"-{uuid.uuid4().hex[:8]}"
    replay = Replay(
        os.environ["BACALHAU_API"].rstrip("/"), servers={}, shorter=case.shorter, suffix=suffix
    )
    for earlier in case.first:
        replay.run(earlier, before=CASES[earlier].before, forgiven=FORGIVEN.get(earlier))
    failures, _ = replay.run(name, before=case.before, forgiven=FORGIVEN.get(name))
    replay.close()
    assert failures == {}


def test_every_recording_is_replayed() -> None:
    """A recording that is added without a case here would hold nothing."""
    recordings = Path(__file__).resolve().parents[2] / "data" / "recordings"
    assert {path.stem for path in recordings.glob("*.json")} == set(CASES)


def test_forgiven_exchanges_exist() -> None:
    """The list of what is not compared names exchanges that were recorded."""
    for name, labels in FORGIVEN.items():
        assert set(labels) <= {exchange["label"] for exchange in recording(name)}


def test_moments_are_those_recorded_as_pending() -> None:
    """A job's state is left out only where it was recorded between two steps of the node."""
    pending = {
        (name, exchange["label"])
        for name in CASES
        for exchange in recording(name)
        if isinstance(exchange["response"], dict)
        and isinstance(exchange["response"].get("Job"), dict)
        and exchange["response"]["Job"].get("State") == {"StateType": "Pending"}
    }
    moments = {
        (name, label)
        for name, labels in FORGIVEN.items()
        for label, paths in labels.items()
        if paths == _PENDING
    }
    assert moments == pending
