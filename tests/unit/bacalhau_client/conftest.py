"""Servers on loopback that answer as a test tells them to, over HTTP or byte by byte."""

import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest

from bacalhau_client import BacalhauClient, RetryPolicy


@dataclass
class Request:
    """What a server got."""

    method: str
    path: str
    params: dict[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What a server gives."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpServer:
    """Gives the answers in their order, the last one for ever; keeps every request."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.answers: list[Answer] = []
        self.requests: list[Request] = []
        self.connections: set[Any] = set()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            rbufsize: ClassVar[int] = -1

            def do_GET(self) -> None:
                outer.handle(self)

            do_PUT = do_DELETE = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that turns away is what some tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._lock:
            self.requests.append(
                Request(
                    method=handler.command,
                    path=parts.path,
                    params=dict(parse_qsl(parts.query, keep_blank_values=True)),
                    headers=dict(handler.headers.items()),
                    body=body,
                )
            )
            self.connections.add(handler.client_address)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        handler.send_response_only(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body)))
        handler.end_headers()
        handler.wfile.write(answer.body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class RawServer:
    """Hands every connection to a function of the test, in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.accepted = 0
        self.released = threading.Event()
        self.seen: queue.Queue[bytes] = queue.Queue()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._run, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _run(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self._serve(connection)

    def close(self) -> None:
        self.released.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads[1:]:
            thread.join()


def read_request(connection: socket.socket) -> bytes:
    """Bytes of one whole request with a Content-Length, or what came before the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        chunk = connection.recv(65536)
        if not chunk:
            break
        body += chunk
    return head + b"\r\n\r\n" + body


@pytest.fixture
def http_server() -> Iterator[Callable[..., HttpServer]]:
    """Starts servers with the given answers; ends them after the test."""
    servers: list[HttpServer] = []

    def start(*answers: Answer, context: ssl.SSLContext | None = None) -> HttpServer:
        server = HttpServer(context)
        servers.append(server)
        server.answers = list(answers)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def raw_server() -> Iterator[Callable[[Callable[[socket.socket], None]], RawServer]]:
    """Starts servers that hand each connection to a function; ends them after the test."""
    servers: list[RawServer] = []

    def start(serve: Callable[[socket.socket], None]) -> RawServer:
        servers.append(RawServer(serve))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def answer() -> type[Answer]:
    """The class of a scripted answer."""
    return Answer


@pytest.fixture
def read_whole() -> Callable[[socket.socket], bytes]:
    """Reads one request of a raw connection."""
    return read_request


@pytest.fixture
def connect() -> Iterator[Callable[..., BacalhauClient]]:
    """Makes clients that try once, unless told otherwise; closes them after the test."""
    clients: list[BacalhauClient] = []

    def make(url: str, **options: Any) -> BacalhauClient:
        options.setdefault("retry", RetryPolicy(attempts=1))
        clients.append(BacalhauClient(url, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
