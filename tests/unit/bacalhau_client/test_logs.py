"""Log streams: what ends them, what bounds them, and what is none."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from websockets.sync.server import ServerConnection, serve

import bacalhau_client as bc
from bacalhau_client import BacalhauClient, LogLine

Connect = Callable[..., BacalhauClient]
Play = Callable[[ServerConnection], None]


def line(text: str, kind: int = 1) -> str:
    return json.dumps({"value": {"Type": kind, "Line": text}}) + "\n"


@pytest.fixture
def log_server() -> Iterator[Callable[[Play], str]]:
    """Starts websocket servers that play a stream; ends them after the test."""
    stops: list[Callable[[], None]] = []

    def start(play: Play) -> str:
        server = serve(play, "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()

        stops.append(stop)
        return f"http://127.0.0.1:{server.socket.getsockname()[1]}"

    yield start
    for stop in stops:
        stop()


def messages(*texts: str | bytes) -> Play:
    def play(connection: ServerConnection) -> None:
        for text in texts:
            connection.send(text)

    return play


def test_handshake_carries_credentials_and_options(
    connect: Connect, log_server: Callable[[Play], str]
) -> None:
    """A stream is asked for with the client's key, namespace and agent, and the call's options."""
    seen: list[Any] = []

    def play(connection: ServerConnection) -> None:
        seen.append(connection.request)

    client = connect(log_server(play), auth=bc.BearerAuth(token="key"), namespace="team")
    stream = client.jobs.logs("a b", follow=True, execution_id="e-1")
    assert seen == []
    assert list(stream) == []
    (request,) = seen
    parts = urlsplit(request.path)
    assert parts.path == "/api/v1/orchestrator/jobs/a%20b/logs"
    query = dict(parse_qsl(parts.query))
    assert query == {"follow": "true", "execution_id": "e-1", "namespace": "team"}
    assert request.headers["Authorization"] == "Bearer key"
    assert request.headers["User-Agent"].startswith("bacalhau-client")


def test_error_message_of_the_node_ends_the_stream(
    connect: Connect, log_server: Callable[[Play], str]
) -> None:
    """Lines before an error are good; the error is the node's own words."""
    error = json.dumps({"error": "no execution found", "value": {"Type": 0, "Line": ""}})
    stream = connect(log_server(messages(line("a\n"), error))).jobs.logs("j")
    assert next(stream) == LogLine("stdout", "a\n")
    with pytest.raises(bc.LogStreamFailed, match="no execution found"):
        next(stream)


def test_close_with_an_error_code_is_an_error(
    connect: Connect, log_server: Callable[[Play], str]
) -> None:
    """A close frame that says that something broke is no ordinary end."""
    url = log_server(lambda connection: connection.close(1011, "disk full"))
    with pytest.raises(bc.LogStreamFailed, match="1011: disk full"):
        list(connect(url).jobs.logs("j"))


@pytest.mark.parametrize(
    "message",
    ["no JSON", "[]", "null", '{"value": 3}', '{"value": {"Type": "1"}}', b"\xff", "[" * 9999],
)
def test_other_messages_are_malformed(
    message: str | bytes, connect: Connect, log_server: Callable[[Play], str]
) -> None:
    """What is no log message is one error."""
    with pytest.raises(bc.MalformedResponse, match="log stream"):
        list(connect(log_server(messages(message))).jobs.logs("j"))


def test_message_of_any_size_is_not_taken(
    connect: Connect, log_server: Callable[[Play], str]
) -> None:
    """A single message is bounded, whatever the node sends."""
    with pytest.raises(bc.MalformedResponse):
        list(connect(log_server(messages(line("x" * (5 << 20))))).jobs.logs("j"))


def test_unknown_streams_are_left_out(connect: Connect, log_server: Callable[[Play], str]) -> None:
    """A newer node's third stream is no reason to fail."""
    url = log_server(messages(line("a"), line("b", 3), line("c", 2)))
    assert list(connect(url).jobs.logs("j")) == [("stdout", "a"), ("stderr", "c")]


def test_output_is_bounded_and_says_so(connect: Connect, log_server: Callable[[Play], str]) -> None:
    """Past ``max_bytes`` the stream ends with an error of its own, after all that fitted."""
    url = log_server(messages(*[line("ü" * 5)] * 9))
    lines: list[LogLine] = []
    with pytest.raises(bc.LogsTooLong, match="30 bytes"):
        lines.extend(iter_into(lines, connect(url).jobs.logs("j", max_bytes=30)))
    assert len(lines) == 3
    assert len(list(connect(url).jobs.logs("j", max_bytes=None))) == 9


def iter_into(lines: list[LogLine], stream: Iterator[LogLine]) -> list[LogLine]:
    """Appends one by one, so that what came before an error is seen."""
    for each in stream:
        lines.append(each)  # noqa: PERF402
    return []


def test_silence_is_bounded(connect: Connect, log_server: Callable[[Play], str]) -> None:
    """Without ``follow``, a stream that says nothing is given up."""
    release = threading.Event()
    url = log_server(lambda connection: (release.wait(30), None)[1])
    try:
        with pytest.raises(bc.Ambiguous, match="idle timeout"):
            list(connect(url).jobs.logs("j", idle_timeout=0.1))
        with pytest.raises(bc.Ambiguous, match="idle timeout"):
            list(connect(url, read_timeout=0.1).jobs.logs("j"))
    finally:
        release.set()


@pytest.mark.parametrize("by", ["event", "close"])
def test_stop_ends_a_followed_stream(
    by: str, connect: Connect, log_server: Callable[[Play], str]
) -> None:
    """A stream that would go on for ever ends when its client is told to stop."""
    release = threading.Event()

    def play(connection: ServerConnection) -> None:
        connection.send(line("a"))
        release.wait(30)

    stop = threading.Event() if by == "event" else None
    client = connect(log_server(play), stop=stop)
    try:
        stream = client.jobs.logs("j", follow=True)
        assert next(stream).line == "a"
        if stop is not None:
            stop.set()
        else:
            client.close()
        assert list(stream) == []
    finally:
        release.set()


@pytest.mark.parametrize("scheme", ["http", "ws"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, bc.UnexpectedStatus),
        (302, bc.UnexpectedStatus),
        (401, bc.Unauthorized),
        (403, bc.Forbidden),
        (404, bc.NotFound),
        (502, bc.GatewayFault),
        (503, bc.Unavailable),
    ],
)
def test_refused_handshakes_have_their_errors(
    status: int,
    kind: type[bc.BacalhauError],
    scheme: str,
    connect: Connect,
    http_server: Callable[..., Any],
    answer: Callable[..., Any],
) -> None:
    """A handshake that is answered over HTTP gives the error of that answer; none is followed."""
    other = http_server(answer(200))
    headers = {"Location": other.url.replace("http", scheme), "X-Request-Id": "r-1"}
    server = http_server(answer(status, b'{"Message": "the node\'s words"}', headers))
    with pytest.raises(kind) as caught:
        list(connect(server.url).jobs.logs("j"))
    assert status == 302 or "the node's words" in str(caught.value)
    assert other.requests == []


def test_nobody_there_is_unreachable(connect: Connect, raw_server: Callable[..., Any]) -> None:
    """A refused port was not sent anything; a server that hangs up, or talks nonsense, may be."""
    server = raw_server(lambda connection: connection.recv(65536))
    with pytest.raises(bc.Ambiguous, match="no websocket"):
        list(connect(server.url).jobs.logs("j"))
    babble = raw_server(lambda connection: connection.sendall(b"220 smtp\r\n\r\n"))
    with pytest.raises(bc.Ambiguous, match="no websocket"):
        list(connect(babble.url).jobs.logs("j"))
    silent = raw_server(lambda connection: silent.released.wait(30))
    with pytest.raises(bc.Ambiguous):
        list(connect(silent.url, connect_timeout=0.2).jobs.logs("j"))
    server.close()
    with pytest.raises(bc.Unreachable, match="refused"):
        list(connect(server.url).jobs.logs("j"))


def test_leaving_a_stream_closes_it(connect: Connect, log_server: Callable[[Play], str]) -> None:
    """A caller that has seen enough leaves no connection behind."""
    closed = threading.Event()

    def play(connection: ServerConnection) -> None:
        connection.send(line("a"))
        for _ in connection:
            pass
        closed.set()

    stream = connect(log_server(play)).jobs.logs("j", follow=True)
    next(stream)
    stream.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert closed.wait(30)
