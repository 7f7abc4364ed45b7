"""What plays SNS on this machine: certificates and confirmations over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.sns import Signer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Service:
    """One that is named in the settings of a trigger."""

    def __init__(self) -> None:
        self.signer = Signer(("localhost",), days=(-1, 36500))
        self.asked: list[str] = []
        self.answer: Answer = self.certificate
        self.ends = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked.append(self.path)
                service.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"

    def certificate(self, handler: BaseHTTPRequestHandler) -> None:
        """What is asked for."""
        say(handler, 200, self.signer.pem)

    def drip(self, handler: BaseHTTPRequestHandler) -> None:
        """A byte now and then, for ever."""
        handler.send_response(200)
        handler.send_header("Content-Length", "30000")
        handler.end_headers()
        try:
            while not self.ends.wait(0.05):
                handler.wfile.write(b"-")
        except OSError:
            return

    def close(self) -> None:
        """End it."""
        self.ends.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)


def say(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """One answer."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
