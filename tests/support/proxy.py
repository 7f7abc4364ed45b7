"""A proxy in front of a node that loses, delays and forges, as a script tells it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_UPSTREAM_TIMEOUT = 30.0
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the node said."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(kw_only=True)
class Exchange:
    """A request on its way; a fault decides what becomes of it."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]
    forward: Callable[[], Answer]
    send: Callable[[Answer], None]
    truncate: Callable[[Answer], None]

    @property
    def job_name(self) -> str:
        """The name of the job that a PUT carries; empty for anything else."""
        if self.method != "PUT" or not self.body:
            return ""
        try:
            return json.loads(self.body)["Job"]["Name"]
        except (ValueError, KeyError):
            return ""


Fault = Callable[[Exchange], None]
"""Does something with an exchange. Where it sends nothing the connection is closed."""


def lose_request(exchange: Exchange) -> None:
    """The node never hears of it, the client never hears an answer."""


def lose_answer(exchange: Exchange) -> None:
    """The node has done it; the connection is closed instead of an answer."""
    exchange.forward()


def cut_answer(exchange: Exchange) -> None:
    """The node has done it; half of its answer arrives."""
    exchange.truncate(exchange.forward())


def answer(status: int, *, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Fault:
    """The proxy answers by itself; the node never hears of it."""
    fields = [("Content-Type", "application/json"), *(headers or {}).items()]

    def fault(exchange: Exchange) -> None:
        exchange.send(Answer(status=status, headers=fields, body=body))

    return fault


def answer_after(status: int, *, body: bytes = b"<html><h1>Bad luck</h1></html>") -> Fault:
    """The node has done it; the client hears something else."""

    def fault(exchange: Exchange) -> None:
        exchange.forward()
        exchange.send(Answer(status=status, headers=[("Content-Type", "text/html")], body=body))

    return fault


@dataclass(kw_only=True)
class Hold:
    """Keeps an exchange until `release`: before the node hears of it, or with its answer."""

    forwarded: bool  # the node has done it before the wait
    release: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, exchange: Exchange) -> None:
        """Hold it; the client may be long gone when it goes on."""
        result = exchange.forward() if self.forwarded else None
        self.held.set()
        self.release.wait(_UPSTREAM_TIMEOUT)
        if result is None:
            result = exchange.forward()
        self.done.set()
        exchange.send(result)


@dataclass(kw_only=True)
class _Rule:
    matches: Callable[[Exchange], bool]
    fault: Fault
    left: int | None  # None: until it is lifted


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that are killed close their connections as they like."""


class Proxy:
    """Forwards to `upstream` (`http://host:port`) what no rule catches. A context manager."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._seen: list[tuple[str, str, str]] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Be quiet."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rule(
        self, fault: Fault, *, method: str = "", path: str = "", times: int | None = None
    ) -> Callable[[], None]:
        """Let `fault` have the next `times` matching requests (None: all). Returns its lifting."""
        rule = _Rule(
            matches=lambda e: (not method or e.method == method) and path in e.path,
            fault=fault,
            left=times,
        )
        with self._lock:
            self._rules.append(rule)

        def lift() -> None:
            with self._lock:
                if rule in self._rules:
                    self._rules.remove(rule)

        return lift

    def seen(self, method: str) -> list[tuple[str, str]]:
        """Requests so far: path and, for a PUT, the job's name."""
        with self._lock:
            return [(path, name) for verb, path, name in self._seen if verb == method]

    def pending(self) -> int:
        """Faults that still wait for their requests."""
        with self._lock:
            return sum(rule.left or 0 for rule in self._rules)

    def _fault(self, exchange: Exchange) -> Fault | None:
        with self._lock:
            self._seen.append((exchange.method, exchange.path, exchange.job_name))
            for rule in self._rules:
                if rule.matches(exchange):
                    if rule.left is not None:
                        rule.left -= 1
                        if rule.left == 0:
                            self._rules.remove(rule)
                    return rule.fault
        return None

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        answered = False

        def send(result: Answer) -> None:
            nonlocal answered
            answered = True
            _write(handler, result, result.body)

        def truncate(result: Answer) -> None:
            _write(handler, result, result.body[: len(result.body) // 2])

        exchange = Exchange(
            method=handler.command,
            path=handler.path,
            body=body,
            headers={k: v for k, v in handler.headers.items() if k.lower() not in _HOP},
            forward=lambda: _forward(self.upstream, exchange),
            send=send,
            truncate=truncate,
        )
        fault = self._fault(exchange)
        try:
            if fault is None:
                send(exchange.forward())
            else:
                fault(exchange)
        except (OSError, HTTPException):
            answered = False  # node or client are gone
        if not answered:
            handler.close_connection = True


def _forward(upstream: str, exchange: Exchange) -> Answer:
    parts = urlsplit(upstream)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_UPSTREAM_TIMEOUT)
    try:
        connection.request(exchange.method, exchange.path, exchange.body, exchange.headers)
        response = connection.getresponse()
        headers = [(k, v) for k, v in response.getheaders() if k.lower() not in _HOP]
        return Answer(status=response.status, headers=headers, body=response.read())
    finally:
        connection.close()


def _write(handler: BaseHTTPRequestHandler, result: Answer, sent: bytes) -> None:
    handler.send_response(result.status)
    for key, value in result.headers:
        handler.send_header(key, value)
    handler.send_header("Content-Length", str(len(result.body)))
    handler.end_headers()
    handler.wfile.write(sent)
    handler.wfile.flush()
