"""What the client says of a network and of servers that misbehave."""

import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

import bacalhau_client as bc
from bacalhau_client import BacalhauClient

Connect = Callable[..., BacalhauClient]
Raw = Callable[[Callable[[socket.socket], None]], Any]
OK = b'{"JobID": "j-1", "EvaluationID": "e-1", "Warnings": null}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def reset(connection: socket.socket) -> None:
    """Closes so that the other side gets a reset, once it is connected and sends."""
    connection.recv(1, socket.MSG_PEEK)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def put(client: BacalhauClient) -> bc.PutResult:
    return client.jobs.put_job_bytes(b'{"Job": {"Name": "x"}}')


def test_refused_port_is_unreachable(connect: Connect) -> None:
    """A refused connection was certainly not sent, and the message says where and why."""
    port = closed_port()
    with pytest.raises(bc.Unreachable, match=f"PUT http://127.0.0.1:{port}/api.*refused") as caught:
        put(connect(f"http://127.0.0.1:{port}"))
    assert not caught.value.maybe_sent


def test_unknown_host_is_unreachable(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve was certainly not sent."""

    def fail(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(bc.Unreachable, match=r"no connection: .*not known"):
        put(connect("http://no-such-host.invalid:1234"))


def test_host_that_no_resolver_takes_is_unreachable(connect: Connect) -> None:
    """A label of more than 63 characters fails before any socket, and is said as clearly."""
    with pytest.raises(bc.Unreachable, match="no connection"):
        put(connect(f"http://{'a' * 70}.example"))


def test_connect_timeout_is_unreachable(connect: Connect) -> None:
    """A listener whose queue is full never accepts: nothing was sent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(8)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            client = connect(f"http://127.0.0.1:{port}", connect_timeout=0.2)
            with pytest.raises(bc.Unreachable, match="connect timeout"):
                put(client)
        finally:
            for filler in fillers:
                filler.close()


def test_connection_closed_without_reading_is_ambiguous(connect: Connect, raw_server: Raw) -> None:
    """Accepted and closed as it comes: part of the request may have arrived."""
    server = raw_server(reset)
    with pytest.raises(bc.Ambiguous) as caught:
        put(connect(server.url))
    assert caught.value.maybe_sent


def test_connection_closed_after_reading_is_ambiguous(
    connect: Connect, raw_server: Raw, read_whole: Callable[[socket.socket], bytes]
) -> None:
    """The request arrived and no answer came: the node may have committed."""
    server = raw_server(lambda connection: server.seen.put(read_whole(connection)))
    with pytest.raises(bc.Ambiguous, match="connection lost"):
        put(connect(server.url))
    assert server.seen.get(timeout=10).endswith(b'{"Job": {"Name": "x"}}')


def test_read_timeout_is_ambiguous(
    connect: Connect, raw_server: Raw, read_whole: Callable[[socket.socket], bytes]
) -> None:
    """An answer that comes after the read timeout is no answer."""

    def serve(connection: socket.socket) -> None:
        read_whole(connection)
        server.released.wait(30)

    server = raw_server(serve)
    with pytest.raises(bc.Ambiguous, match="read timeout"):
        put(connect(server.url, read_timeout=0.2))


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        HEAD % len(OK) + OK[:10],
        HEAD % len(OK),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc",
        b"220 smtp.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
    ids=["status", "headers", "body", "no body", "chunk", "not HTTP", "200 headers", "long header"],
)
def test_half_an_answer_is_ambiguous(
    half: bytes,
    connect: Connect,
    raw_server: Raw,
    read_whole: Callable[[socket.socket], bytes],
) -> None:
    """An answer that breaks off, or is no HTTP, tells nothing about a write."""

    def serve(connection: socket.socket) -> None:
        read_whole(connection)
        connection.sendall(half)

    with pytest.raises(bc.Ambiguous) as caught:
        put(connect(raw_server(serve).url))
    assert caught.value.maybe_sent


def test_body_that_drips_is_ambiguous(
    connect: Connect, raw_server: Raw, read_whole: Callable[[socket.socket], bytes]
) -> None:
    """A body whose every byte comes in time but that never ends is given up."""

    def serve(connection: socket.socket) -> None:
        read_whole(connection)
        connection.sendall(HEAD % 1_000_000)
        while not server.released.wait(0.02):
            connection.sendall(b" ")

    server = raw_server(serve)
    with pytest.raises(bc.Ambiguous):
        put(connect(server.url, read_timeout=0.3))


def test_failed_answers_give_their_connections_back(
    connect: Connect, raw_server: Raw, read_whole: Callable[[socket.socket], bytes]
) -> None:
    """Broken, late and oversized answers leave the pool as large as it was."""

    def serve(connection: socket.socket) -> None:
        read_whole(connection)
        if server.accepted <= 6:
            connection.sendall(HEAD % 100 + b"{")
            return
        connection.sendall(HEAD % len(OK) + OK)

    server = raw_server(serve)
    client = connect(server.url, pool_size=1)
    for _ in range(6):
        with pytest.raises(bc.Ambiguous):
            put(client)
    assert put(client).job_id == "j-1"


@pytest.mark.parametrize("status", [502, 504])
def test_gateway_page_is_ambiguous_and_readable(
    status: int, connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """A proxy's web page becomes one readable line."""
    page = (
        b"<html><head><title>502 Bad Gateway</title><style>x{}</style></head><body><h1>Bad &amp; "
    )
    page += b"sad</h1>nginx</body></html>"
    server = http_server(answer(status, page, {"Content-Type": "text/html"}))
    with pytest.raises(bc.GatewayFault, match="502 Bad Gateway: Bad & sad") as caught:
        put(connect(server.url))
    assert caught.value.status == status
    assert caught.value.maybe_sent
    assert "<" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "kind", "maybe_sent"),
    [
        (301, bc.UnexpectedStatus, False),
        (307, bc.UnexpectedStatus, False),
        (400, bc.Refused, False),
        (401, bc.Unauthorized, False),
        (403, bc.Forbidden, False),
        (404, bc.NotFound, False),
        (405, bc.UnexpectedStatus, False),
        (409, bc.Conflict, False),
        (413, bc.Refused, False),
        (418, bc.UnexpectedStatus, False),
        (429, bc.Throttled, False),
        (500, bc.ServerFault, True),
        (501, bc.ServerFault, True),
        (503, bc.Unavailable, True),
        (599, bc.ServerFault, True),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"plain words",
        b"<p>a page</p>",
        b"null",
        b"[1]",
        b'{"Message": 3, "Details": [], "Code": null}',
        b'{"message": "lower case"}',
        b"\xff\xfe\x00 not text",
        b"[" * 5000,
        b'{"Message": "\\ud800"}',
    ],
)
def test_each_status_has_its_error_whatever_the_body(
    status: int,
    kind: type[bc.Answered],
    maybe_sent: bool,
    body: bytes,
    connect: Connect,
    http_server: Callable[..., Any],
    answer: Callable[..., Any],
) -> None:
    """The status decides; a body of any kind still gives a message that can be printed."""
    server = http_server(answer(status, body, {"Location": "http://elsewhere.example/"}))
    with pytest.raises(kind) as caught:
        put(connect(server.url))
    assert type(caught.value) is kind
    assert caught.value.maybe_sent is maybe_sent
    assert caught.value.status == status
    assert str(caught.value).encode()


def test_redirect_is_not_followed_and_says_where_it_led(
    connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """Credentials go to the given address and nowhere else."""
    other = http_server(answer(200, OK))
    server = http_server(answer(307, b"", {"Location": other.url + "/api"}))
    client = connect(server.url, auth=bc.BearerAuth(token="secret"))
    with pytest.raises(bc.UnexpectedStatus, match=f"redirected to {other.url}/api"):
        client.agent.alive()
    assert other.requests == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"<html>welcome to the hotel</html>",
        b'"text"',
        b"[]",
        b"null",
        b"3",
        b"\xff\xff",
        b"{",
        b'{"JobID": 3}',
        b'{"JobID": null}',
        b'{"EvaluationID": "e-1"}',
        b'{"JobID": "j-1", "Warnings": [1]}',
        b'{"JobID": "j-1", "Warnings": "w"}',
        b"[" * 100_000,
        b'{"JobID":' * 100_000,
        b'{"n": ' + b"1" * 10_000 + b"}",
    ],
)
def test_200_with_another_body_is_malformed(
    body: bytes, connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """A good status with a body that is none of this API's tells nothing about a write."""
    server = http_server(answer(200, body))
    with pytest.raises(bc.MalformedResponse) as caught:
        put(connect(server.url))
    assert isinstance(caught.value, bc.Ambiguous)
    assert caught.value.maybe_sent
    assert len(str(caught.value)) < 3000


def test_huge_answer_is_malformed_and_not_kept(
    connect: Connect,
    raw_server: Raw,
    read_whole: Callable[[socket.socket], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reading stops at the bound, whatever length was announced."""
    monkeypatch.setattr("bacalhau_client._transport.MAX_ANSWER", 1 << 20)
    sent = 0

    def serve(connection: socket.socket) -> None:
        nonlocal sent
        read_whole(connection)
        connection.sendall(HEAD % (1 << 40))
        while not server.released.is_set():
            connection.sendall(b" " * 65536)
            sent += 65536

    server = raw_server(serve)
    with pytest.raises(bc.MalformedResponse, match="above 1 MiB"):
        connect(server.url).agent.node()
    assert sent < 64 << 20


def test_huge_error_gives_a_short_message(
    connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """Messages, hints and details are bounded."""
    text = "y" * 20_000
    body = '{"Message": "%s", "Hint": "%s", "Details": {"reason": "%s"}}' % ((text[:9000],) * 3)
    for content in (body.encode(), text.encode() * 100):
        server = http_server(answer(400, content))
        with pytest.raises(bc.Refused) as caught:
            put(connect(server.url))
        assert len(caught.value.message) <= 2000
        assert len(str(caught.value)) < 4000


def test_message_cannot_steer_a_terminal(
    connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """Control characters and direction marks from outside do not reach a message."""
    server = http_server(answer(400, b'{"Message": "a\\u001b[2Jb\\u202ec\\u0007d\\r\\u0085e"}'))
    with pytest.raises(bc.Refused) as caught:
        put(connect(server.url))
    assert caught.value.message == "a [2Jb c d  e"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "99999999999999"}, 3600.0),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": "Fri, 99 Foo 2026 10:00:30 GMT"}, None),
        (
            {
                "Retry-After": "Fri, 20 Nov 2026 10:00:30 GMT",
                "Date": "Fri, 20 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
        (
            {
                "Retry-After": "Fri, 20 Nov 2026 09:00:00 GMT",
                "Date": "Fri, 20 Nov 2026 10:00:00 GMT",
            },
            0.0,
        ),
        ({"Retry-After": "Fri, 20 Nov 2099 09:00:00 GMT", "Date": "nonsense"}, 3600.0),
    ],
)
@pytest.mark.parametrize(("status", "kind"), [(429, bc.Throttled), (503, bc.Unavailable)])
def test_retry_after_in_both_forms(
    status: int,
    kind: type[bc.Throttled | bc.Unavailable],
    headers: dict[str, str],
    seconds: float | None,
    connect: Connect,
    http_server: Callable[..., Any],
    answer: Callable[..., Any],
) -> None:
    """Seconds and dates are understood and bounded, nonsense is no wait."""
    server = http_server(answer(status, b"", headers))
    with pytest.raises(kind) as caught:
        put(connect(server.url))
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("message", "job_name", "job_id"),
    [
        ("no changes detected for new job spec. Job Name: 'a', Job Id: 'j-1'", "a", "j-1"),
        ("no changes detected for new job spec. Job Name: 'it's', Job Id: 'j-2'", "it's", "j-2"),
        ("no changes detected for new job spec. Job Name: '', Job Id: ''", "", ""),
        ("no changes detected", "", ""),
    ],
)
def test_already_there_reads_its_message(
    message: str,
    job_name: str,
    job_id: str,
    connect: Connect,
    http_server: Callable[..., Any],
    answer: Callable[..., Any],
) -> None:
    """Name and id are taken from the message where they stand in it."""
    server = http_server(answer(500, b'{"Message": "%s"}' % message.encode()))
    with pytest.raises(bc.AlreadyThere) as caught:
        put(connect(server.url))
    assert (caught.value.job_name, caught.value.job_id) == (job_name, job_id)


def test_failures_keep_their_cause(connect: Connect) -> None:
    """The foreign exception stays reachable for whoever debugs."""
    with pytest.raises(bc.Unreachable) as caught:
        put(connect(f"http://127.0.0.1:{closed_port()}"))
    assert caught.value.__cause__ is not None
