"""Where callbacks may go, and how one is sent."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors import outbound
from orchestrator.services import webhook
from orchestrator.services.webhook import Undelivered, post


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers as the test says and keeps what came."""

    answer: Callable[[Receiver], None]
    seen: list[tuple[str, dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, dict(self.headers), body))
        type(self).answer(self)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def say(status: int, body: bytes = b"", **headers: str) -> Callable[[Receiver], None]:
    def answer(handler: Receiver) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@contextmanager
def receiver(answer: Callable[[Receiver], None]) -> Iterator[tuple[str, list[Any]]]:
    """A web server on loopback; its address and what it has seen."""
    seen: list[Any] = []
    handler = type("Handler", (Receiver,), {"answer": answer, "seen": seen})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


def test_a_delivery() -> None:
    """Path, query, headers and body arrive as they are."""
    with receiver(say(204)) as (url, seen):
        post(f"{url}/hook?a=b", b"{}", {"Orch-Event": "on_success"}, allow_private=True)
    ((path, headers, body),) = seen
    assert path == "/hook?a=b"
    assert headers["Orch-Event"] == "on_success"
    assert headers["Host"] == url.removeprefix("http://")
    assert body == b"{}"


def test_private_addresses_are_not_called() -> None:
    """By address or by name; nothing arrives, and it is not tried again."""
    with receiver(say(204)) as (url, seen):
        for target in (url, url.replace("127.0.0.1", "localhost")):
            with pytest.raises(Undelivered, match="allow_private_callbacks") as caught:
                post(target, b"{}", {}, allow_private=False)
            assert caught.value.final
    assert seen == []


def test_the_address_that_was_checked_is_the_one_that_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that resolves to another address at the second look (rebinding) gains nothing."""
    looked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebinding.example":
            return real(host, *args, **kwargs)
        looked.append(host)
        if len(looked) > 1:
            raise AssertionError("resolved twice")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(outbound, "is_public", lambda address: True)  # pyright: ignore
    with receiver(say(200)) as (url, seen):
        target = url.replace("127.0.0.1", "rebinding.example")
        post(target, b"{}", {}, allow_private=False)
    assert looked == ["rebinding.example"]
    assert seen[0][1]["Host"] == target.removeprefix("http://")


@pytest.mark.parametrize(
    ("status", "final"), [(400, False), (404, False), (410, True), (429, False), (500, False)]
)
def test_other_answers_are_no_delivery(status: int, final: bool) -> None:
    """Only 2xx is; 410 says that nobody will ever listen there."""
    with (
        receiver(say(status, b"no\nthanks")) as (url, _),
        pytest.raises(Undelivered, match=f"answered {status}: no thanks") as caught,
    ):
        post(url, b"{}", {}, allow_private=True)
    assert caught.value.final is final


def test_redirects_are_not_followed() -> None:
    """A receiver cannot send the orchestrator elsewhere."""
    with (
        receiver(say(204)) as (other, elsewhere),
        receiver(say(302, Location=other)) as (url, _),
    ):
        with pytest.raises(Undelivered, match="redirects are not followed"):
            post(url, b"{}", {}, allow_private=True)
        assert elsewhere == []


def test_a_slow_receiver_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that drips its answer byte by byte is cut off after the time for all of it."""
    monkeypatch.setattr(webhook, "TIMEOUT", 0.5)
    gone = threading.Event()

    def drip(handler: Receiver) -> None:
        try:
            for _ in range(1000):
                handler.wfile.write(b"H")
                handler.wfile.flush()
                if gone.wait(0.05):
                    return
        except OSError:
            pass

    with receiver(drip) as (url, _):
        with pytest.raises(Undelivered, match=r"no answer within 0\.5 s"):
            post(url, b"{}", {}, allow_private=True)
        gone.set()


def test_a_long_answer_is_not_read() -> None:
    """A kilobyte is enough; the rest stays where it is."""
    written: list[int] = []
    done = threading.Event()

    def flood(handler: Receiver) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            written.extend(handler.wfile.write(b"x" * 65536) for _ in range(4096))
        except OSError:
            pass
        finally:
            done.set()

    with receiver(flood) as (url, _):
        post(url, b"{}", {}, allow_private=True)
        assert done.wait(20)
    assert sum(written) < 4096 * 65536


def test_nobody_there() -> None:
    """Refused connections and unknown names are failures to try again."""
    for url in ("http://127.0.0.1:1/", "http://nothing.invalid/"):
        with pytest.raises(Undelivered) as caught:
            post(url, b"{}", {}, allow_private=True)
        assert not caught.value.final
