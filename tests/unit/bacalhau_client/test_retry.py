"""What is tried again, how often, and what ends it early."""

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

import bacalhau_client as bc
from bacalhau_client import BacalhauClient, RetryPolicy

Connect = Callable[..., BacalhauClient]
FAST = RetryPolicy(attempts=3, max_elapsed=30, initial=0.001, maximum=0.002)
ALIVE = b'{"Status": "OK"}'
PUT = b'{"JobID": "j-1"}'


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_reads_are_tried_again_after_what_may_pass(
    status: int, connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """Throttling and faults of a gateway pass; the read then gives its answer."""
    server = http_server(answer(status, b""), answer(status, b""), answer(200, ALIVE))
    assert connect(server.url, retry=FAST).agent.alive()
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 413, 418, 500])
def test_reads_are_not_tried_again_after_a_clear_no(
    status: int, connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """A clear answer stays what it is."""
    server = http_server(answer(status, b""))
    with pytest.raises(bc.Answered):
        connect(server.url, retry=FAST).agent.alive()
    assert len(server.requests) == 1


def test_malformed_answers_are_not_tried_again(
    connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """A server that is no node does not become one."""
    server = http_server(answer(200, b"<html>"))
    with pytest.raises(bc.MalformedResponse):
        connect(server.url, retry=FAST).agent.alive()
    assert len(server.requests) == 1


def test_tries_are_bounded_and_the_last_error_comes_out(
    connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """After the last try the caller gets the node's own words."""
    server = http_server(answer(503, b'{"Message": "first"}'), answer(503, b'{"Message": "on"}'))
    with pytest.raises(bc.Unavailable, match="on"):
        connect(server.url, retry=FAST).agent.alive()
    assert len(server.requests) == 3


def test_lost_connection_is_tried_again_for_reads(
    connect: Connect,
    raw_server: Callable[..., Any],
    read_whole: Callable[[socket.socket], bytes],
) -> None:
    """A read whose answer was lost is asked again on a new connection."""

    def serve(connection: socket.socket) -> None:
        read_whole(connection)
        if server.accepted == 2:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n" + ALIVE)

    server = raw_server(serve)
    assert connect(server.url, retry=FAST).agent.alive()
    assert server.accepted == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "write",
    [
        lambda client: client.jobs.put_job_bytes(b"{}"),
        lambda client: client.jobs.stop("j-1"),
        lambda client: client.jobs.rerun("j-1"),
    ],
    ids=["put", "stop", "rerun"],
)
def test_writes_are_sent_once(
    write: Callable[[BacalhauClient], object],
    status: int,
    connect: Connect,
    http_server: Callable[..., Any],
    answer: Callable[..., Any],
) -> None:
    """Whether to send a write again is the caller's decision, whatever the answer was."""
    server = http_server(answer(status, b""))
    with pytest.raises(bc.BacalhauError):
        write(connect(server.url, retry=FAST))
    assert len(server.requests) == 1


def test_lost_write_is_sent_once(
    connect: Connect,
    raw_server: Callable[..., Any],
    read_whole: Callable[[socket.socket], bytes],
) -> None:
    """A write whose answer was lost is not sent again, by no layer below either."""
    server = raw_server(lambda connection: server.seen.put(read_whole(connection)))
    with pytest.raises(bc.Ambiguous):
        connect(server.url, retry=FAST).jobs.put_job_bytes(b"{}")
    assert server.accepted == 1


def test_write_that_was_never_sent_is_tried_again(
    connect: Connect,
    http_server: Callable[..., Any],
    answer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refused connection harms nothing, so that a write is tried again after it."""
    server = http_server(answer(200, PUT))
    real = socket.socket.connect
    refusals = iter([True, True])

    def refuse(self: socket.socket, address: Any) -> None:
        if next(refusals, False):
            raise ConnectionRefusedError(111, "Connection refused")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert connect(server.url, retry=FAST).jobs.put_job_bytes(b"{}").job_id == "j-1"
    assert len(server.requests) == 1


def test_diff_is_retried_as_a_read_is(
    connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """Diff is a PUT that changes nothing."""
    server = http_server(answer(503, b""), answer(200, b'{"Diff": "x"}'))
    assert connect(server.url, retry=FAST).jobs.diff({}).diff == "x"


def test_retry_after_beyond_the_time_allowed_ends_the_tries(
    connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """A pause that the node asks for and that does not fit is left to the caller."""
    server = http_server(answer(429, b"", {"Retry-After": "3000"}))
    policy = RetryPolicy(attempts=5, max_elapsed=10, initial=0.001, maximum=0.002)
    with pytest.raises(bc.Throttled) as caught:
        connect(server.url, retry=policy).agent.alive()
    assert caught.value.retry_after == 3000
    assert len(server.requests) == 1


@pytest.mark.parametrize("by", ["event", "close"])
def test_stop_ends_a_pause_and_begins_nothing_new(
    by: str, connect: Connect, http_server: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    """Setting the stop event, or closing, lets a call in a long pause end with its last error."""
    server = http_server(answer(503, b"", {"Retry-After": "300"}))
    stop = threading.Event() if by == "event" else None
    policy = RetryPolicy(attempts=5, max_elapsed=3000)
    client = connect(server.url, retry=policy, stop=stop)
    errors: list[Exception] = []

    def run() -> None:
        try:
            client.agent.alive()
        except bc.Unavailable as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not server.requests:
        thread.join(0.01)
    if stop is not None:
        stop.set()
    else:
        client.close()
    thread.join(30)

    assert not thread.is_alive()
    assert len(errors) == 1
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "options",
    [{"attempts": 0}, {"max_elapsed": -1}, {"initial": 0}, {"initial": 2, "maximum": 1}],
)
def test_bad_policies_are_refused(options: dict[str, Any]) -> None:
    """A policy that cannot work is an error where it is written."""
    with pytest.raises(ValueError, match="retry policy"):
        RetryPolicy(**options)
