"""A receiver of callbacks on loopback."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.waiting import until


@dataclass
class Heard:
    """What came: headers and body of each request."""

    url: str
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list[Any])

    def bodies(self) -> list[dict[str, Any]]:
        """The bodies as JSON."""
        return [json.loads(body) for _, body in self.requests]

    def of(self, run_id: str, *, within: float = 20.0) -> dict[str, Any]:
        """What is said of a run, once it is."""
        return until(
            lambda: next((body for body in self.bodies() if body["run"] == run_id), None),
            f"a callback of {run_id}",
            within=within,
            show=self.bodies,
        )


@contextmanager
def receiver() -> Iterator[Heard]:
    """Takes everything, with 204."""
    heard = Heard(url="")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.requests.append((dict(self.headers), body))
            self.send_response(204)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        heard.url = f"http://127.0.0.1:{server.server_port}/path-of-its-own"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield heard
        server.shutdown()
        thread.join()
