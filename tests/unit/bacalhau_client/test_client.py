"""Addresses, credentials, namespaces, parameters and threads."""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

import bacalhau_client as bc
from bacalhau_client import BacalhauClient, BasicAuth, BearerAuth

Connect = Callable[..., BacalhauClient]
Start = Callable[..., Any]
PUT = b'{"JobID": "j-1", "EvaluationID": "e-1", "Warnings": ["w"]}'
PAGE = b'{"Items": [], "NextToken": ""}'


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "must begin with"),
        ("127.0.0.1:1234", "must begin with"),
        ("ftp://127.0.0.1", "must begin with"),
        ("http://", "names no host"),
        ("http://:1234", "names no host"),
        ("http://user:secret@node", "credentials"),
        ("http://node?x=1", "query"),
        ("http://node/#x", "fragment"),
        ("http://node:99999", "[Pp]ort"),
        ("http://node:x", "[Pp]ort"),
        ("http://node:0", "port 0"),
        ("http://no de", "space"),
        ("http://node\r\nX: y", "control"),
        ("http://nöde", "non-ASCII"),
        ("http://[::1", "IPv6"),
        ("http://node/api/v1/", "leave it off"),
    ],
)
def test_bad_addresses_are_refused_with_the_reason(url: str, reason: str) -> None:
    """A wrong address fails at once, says why, shows an example, and never shows a password."""
    with pytest.raises(ValueError, match=reason) as caught:
        BacalhauClient(url)
    assert "http://127.0.0.1:1234" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"read_timeout": -1}, "read_timeout"),
        ({"pool_size": 0}, "pool_size"),
        ({"namespace": ""}, "namespace"),
        ({"ca": "/no/such/file.pem"}, "CA file"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], reason: str) -> None:
    """Options that cannot work fail at once and are named."""
    with pytest.raises(ValueError, match=reason):
        BacalhauClient("http://127.0.0.1:1", **options)


def test_prefix_and_slash_of_an_address_are_kept_and_dropped(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """A node behind a path prefix works; a trailing slash makes no double one."""
    server = http_server(answer(200, b'{"Status": "OK"}'))
    assert connect(server.url + "/cluster/").agent.alive()
    assert server.requests[0].path == "/cluster/api/v1/agent/alive"


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        (None, None),
        (BearerAuth(token="key-1"), "Bearer key-1"),
        (BasicAuth(user="u", password="p:ü"), "Basic dTpwOsO8"),
    ],
)
def test_auth_header(
    auth: BearerAuth | BasicAuth | None,
    header: str | None,
    connect: Connect,
    http_server: Start,
    answer: Callable[..., Any],
) -> None:
    """Reads and writes both carry the credentials, and nothing else does."""
    server = http_server(answer(200, PUT))
    client = connect(server.url, auth=auth)
    client.jobs.put_job_bytes(b"{}")
    client.get_json("/api/v1/agent/debug")
    assert [request.headers.get("Authorization") for request in server.requests] == [header] * 2


def test_credentials_show_nowhere(
    connect: Connect,
    http_server: Start,
    answer: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No repr, no error and no log line holds a key or a password."""
    caplog.set_level(logging.DEBUG)
    server = http_server(answer(401, b'{"Message": "no"}'))
    for auth in (BearerAuth(token="s3cret"), BasicAuth(user="u", password="s3cret")):
        client = connect(server.url, auth=auth)
        with pytest.raises(bc.Unauthorized) as caught:
            client.agent.alive()
        with pytest.raises(bc.Unauthorized):
            list(client.jobs.logs("j-1"))
        shown = f"{auth!r} {client!r} {caught.value!r} {caught.value} {caplog.text}"
        assert "s3cret" not in shown
        assert auth.header().split()[1] not in shown


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "ü", "Bearer x"])
def test_bad_tokens_are_refused(token: str) -> None:
    """A key that would break the header is refused without being shown."""
    with pytest.raises(ValueError, match="bearer token") as caught:
        BearerAuth(token=token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize("user", ["", "a:b"])
def test_bad_users_are_refused(user: str) -> None:
    """RFC 7617 has no user with a colon."""
    with pytest.raises(ValueError, match="basic auth"):
        BasicAuth(user=user, password="p")


def test_environment_is_not_used(
    connect: Connect,
    http_server: Start,
    answer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    """Proxies, .netrc and CA bundles of the environment change nothing."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login u password p\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file")
    server = http_server(answer(200, b'{"Status": "OK"}'))
    assert connect(server.url).agent.alive()
    assert "Authorization" not in server.requests[0].headers


def test_cookies_are_not_kept(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """A gateway's cookies are not sent back: calls of one client do not depend on each other."""
    server = http_server(answer(200, b'{"Status": "OK"}', {"Set-Cookie": "a=b"}))
    client = connect(server.url)
    client.agent.alive()
    client.agent.alive()
    assert "Cookie" not in server.requests[1].headers


def test_namespace_of_the_client_and_of_a_call(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """The node's default is not spelt out; a client's namespace is, unless a call has its own."""
    server = http_server(answer(200, PAGE))
    client = connect(server.url, namespace="team")
    client.jobs.list()
    client.jobs.list(namespace="*")
    client.jobs.list(namespace="default")
    connect(server.url).jobs.list()
    connect(server.url).jobs.list(namespace="other")
    sent = [request.params.get("namespace") for request in server.requests]
    assert sent == ["team", "*", None, None, "other"]


def test_put_takes_the_clients_namespace_unless_the_job_has_one(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """A job without a namespace gets the client's; bytes are sent exactly as they are."""
    server = http_server(answer(200, PUT))
    client = connect(server.url, namespace="team")
    job = {"Name": "ü"}
    result = client.jobs.put(job)
    client.jobs.put({"Name": "b", "Namespace": "own"})
    client.jobs.put_job_bytes(b' {"Job": 1}\n')
    connect(server.url).jobs.put(job)
    bodies = [request.body for request in server.requests]
    assert json.loads(bodies[0]) == {"Job": {"Name": "ü", "Namespace": "team"}}
    assert json.loads(bodies[1])["Job"]["Namespace"] == "own"
    assert bodies[2] == b' {"Job": 1}\n'
    assert json.loads(bodies[3]) == {"Job": {"Name": "ü"}}
    assert job == {"Name": "ü"}
    assert result.warnings == ("w",)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_put_refuses_what_is_no_json(value: float, connect: Connect) -> None:
    """A number that JSON does not have is refused before anything is sent."""
    with pytest.raises(ValueError, match="JSON"):
        connect("http://127.0.0.1:1").jobs.put({"Priority": value})


def test_parameters_of_every_call(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """Options become the API's parameters; what is not given is not sent."""
    server = http_server(answer(200, b'{"Items": [], "Nodes": [], "JobID": "j"}'))
    client = connect(server.url)
    client.jobs.list(labels={"a": "b", "c": "d"}, limit=3, next_token="t", reverse=True)
    client.jobs.history("j", execution_id="e", event_type="job", limit=1, next_token="t")
    client.jobs.executions("j", limit=1, next_token="t", order_by="id", reverse=True)
    client.jobs.versions("j", limit=1, next_token="t")
    client.nodes.list(limit=1, status="connected", approval="approved", reverse=True)
    client.jobs.stop("j", reason="ä b&c")
    client.jobs.stop("j")
    client.jobs.rerun("j", version=2, reason="r")
    sent = [request.params for request in server.requests]
    assert sent[0] == {"labels": "a=b,c=d", "limit": "3", "next_token": "t", "reverse": "true"}
    assert sent[1] == {"execution_id": "e", "event_type": "job", "limit": "1", "next_token": "t"}
    assert sent[2] == {"limit": "1", "next_token": "t", "order_by": "id", "reverse": "true"}
    assert sent[3] == {"limit": "1", "next_token": "t"}
    assert sent[4] == {
        "limit": "1",
        "reverse": "true",
        "filter_approval": "approved",
        "filter-status": "connected",
    }
    assert (sent[5], sent[6]) == ({"reason": "ä b&c"}, {})
    assert json.loads(server.requests[7].body) == {"JobVersion": 2, "Reason": "r"}


@pytest.mark.parametrize("job", ["", ".", ".."])
def test_ids_that_name_another_path_are_refused(job: str, connect: Connect) -> None:
    """An empty id must not become a call of the whole collection."""
    client = connect("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="job id or name"):
        client.jobs.stop(job)
    with pytest.raises(ValueError, match="node id"):
        client.nodes.get(job)


@pytest.mark.parametrize("job", ["a/b", "a b", "a?b#c", "ü", "%2F", "../x", "a;b", "a\nb"])
def test_ids_are_quoted(
    job: str, connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """Whatever stands in a name stays one part of the path."""
    from urllib.parse import unquote

    server = http_server(answer(404, b"{}"))
    with pytest.raises(bc.NotFound):
        connect(server.url).jobs.get(job)
    prefix, _, last = server.requests[0].path.rpartition("/")
    assert prefix == "/api/v1/orchestrator/jobs"
    assert unquote(last) == job


def test_iterate_walks_pages_and_stops_at_a_repeated_token(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """Pages are fetched when needed; a node that turns in a circle is an error."""

    def page(name: str, token: str) -> Any:
        job = {"ID": f"j-{name}", "State": {"StateType": "Running"}}
        return answer(200, json.dumps({"Items": [job], "NextToken": token}).encode())

    server = http_server(page("1", "a"), page("2", "b"), page("3", ""))
    jobs = connect(server.url).jobs.iterate(labels="x=y", page_size=1)
    assert next(jobs).id == "j-1"
    assert len(server.requests) == 1
    assert [job.id for job in jobs] == ["j-2", "j-3"]
    assert [request.params.get("next_token") for request in server.requests] == [None, "a", "b"]
    assert all(request.params["labels"] == "x=y" for request in server.requests)

    circle = http_server(page("1", "a"), page("2", "b"), page("3", "a"))
    with pytest.raises(bc.MalformedResponse, match="second time"):
        list(connect(circle.url).jobs.iterate())
    assert len(circle.requests) == 3


def test_a_job_comes_with_all_its_executions(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """A node that gives them in pages is asked for the others; what it includes is whole."""

    def page(first: int, token: str) -> dict[str, Any]:
        return {"Items": [{"ID": f"e-{first + n}"} for n in range(2)], "NextToken": token}

    def job(token: str) -> Any:
        values = {"ID": "j-1", "State": {"StateType": "Running"}}
        return answer(200, json.dumps({"Job": values, "Executions": page(0, token)}).encode())

    def more(first: int, token: str) -> Any:
        return answer(200, json.dumps(page(first, token)).encode())

    server = http_server(job("a"), more(2, "b"), more(4, ""))
    info = connect(server.url).jobs.get("j-1", include=["executions"], namespace="ns")
    assert info.executions is not None
    assert [execution.id for execution in info.executions] == [f"e-{n}" for n in range(6)]
    assert info.executions.next_token == ""
    paths = [request.path.removeprefix("/api/v1/orchestrator/jobs/") for request in server.requests]
    assert paths == ["j-1", "j-1/executions", "j-1/executions"]
    assert [request.params.get("next_token") for request in server.requests] == [None, "a", "b"]
    assert {request.params["namespace"] for request in server.requests} == {"ns"}

    circle = http_server(job("a"), more(2, "b"), more(4, "a"))
    with pytest.raises(bc.MalformedResponse, match="second time"):
        connect(circle.url).jobs.get("j-1", include=["executions"])

    endless = http_server(job("0"), *[more(n, str(n)) for n in range(1, 200)])
    with pytest.raises(bc.MalformedResponse, match="more than 100 pages"):
        connect(endless.url).jobs.get("j-1", include=["executions"])
    assert len(endless.requests) == 101

    history = {"Items": [{"Type": "JobLevel"}], "NextToken": "a"}
    values = {"Job": {"ID": "j-1", "State": {"StateType": "Running"}}, "History": history}
    event = {"Items": [{"Type": "ExecutionLevel"}], "NextToken": ""}
    server = http_server(*[answer(200, json.dumps(v).encode()) for v in (values, event)])
    told = connect(server.url).jobs.get("j-1", include=["history"]).history
    assert told is not None
    assert [event.type for event in told] == ["JobLevel", "ExecutionLevel"]


def test_nodes_and_agent(connect: Connect, http_server: Start, answer: Callable[..., Any]) -> None:
    """A node by id, the agent's settings and an agent that is not well."""
    node = {"Info": {"NodeID": "n-1"}, "Connection": "DISCONNECTED", "Membership": "APPROVED"}
    server = http_server(
        answer(200, json.dumps({"Node": node}).encode()),
        answer(200, b'{"API": {"Port": 1}}'),
        answer(200, b'{"Status": "starting"}'),
        answer(200, json.dumps({"Nodes": [node], "NextToken": ""}).encode()),
        answer(200, b"{}"),
    )
    client = connect(server.url)
    found = client.nodes.get("n-1")
    assert (found.id, found.connection.is_connected) == ("n-1", False)
    assert found.connection.last_heartbeat_at is None
    assert found.info.compute is None
    assert client.agent.config() == {"API": {"Port": 1}}
    assert not client.agent.alive()
    assert [each.id for each in client.nodes.iterate()] == ["n-1"]
    with pytest.raises(bc.MalformedResponse, match=r"answer\.Node: missing"):
        client.nodes.get("n-1")
    with pytest.raises(ValueError, match="begin with"):
        client.get_json("api")


def test_connections_are_reused(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """Calls one after another share a connection, also after errors with a body."""
    server = http_server(answer(404, b'{"Message": "no"}'), answer(200, b'{"Status": "OK"}'))
    client = connect(server.url)
    with pytest.raises(bc.NotFound):
        client.agent.alive()
    for _ in range(5):
        client.agent.alive()
    assert len(server.connections) == 1


def test_32_threads_share_a_client(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """Each thread gets its own answers; there are never more connections than the pool's."""
    server = http_server(answer(200, PUT))
    client = connect(server.url, pool_size=8)
    barrier = threading.Barrier(32)
    results: list[str] = []

    def work(number: int) -> None:
        barrier.wait()
        bodies = [b'"%d-%d"' % (number, each) for each in range(10)]
        results.extend(client.jobs.put_job_bytes(body).job_id for body in bodies)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == ["j-1"] * 320
    sent = {request.body for request in server.requests}
    assert sent == {b'"%d-%d"' % (number, each) for number in range(32) for each in range(10)}
    assert len(server.connections) <= 8


def test_close_twice_and_context_manager(http_server: Start, answer: Callable[..., Any]) -> None:
    """A client can be closed in any order, twice."""
    server = http_server(answer(200, b'{"Status": "OK"}'))
    with BacalhauClient(server.url + "/") as client:
        assert client.agent.alive()
        assert client.url == server.url
        assert repr(client) == f"BacalhauClient({server.url!r}, namespace='default')"
    client.close()
