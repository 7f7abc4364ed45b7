"""Serves the API in a thread of the daemon."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from orchestrator.config import split_listen
from orchestrator.store.errors import StoreError

if TYPE_CHECKING:
    from orchestrator.web.deps import Deps

_log = structlog.get_logger(__name__)
_BACKLOG = 1024
_STOP_WITHIN = 3  # seconds that requests under way are given
_IDLE = 30  # seconds that a connection without a request is kept


class ListenError(StoreError):
    """The API cannot be served as asked."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_hosts(host: str, public_url: str | None) -> frozenset[str]:
    """The names that a Host header may have."""
    names = {"localhost", "127.0.0.1", "::1", host.lower()}
    if public_url is not None:
        names.add((urlsplit(public_url).hostname or host).lower())
    return frozenset(names)


def public_origin(public_url: str | None) -> str | None:
    """The origin of the public URL. Raises ListenError for what is none."""
    if public_url is None:
        return None
    try:
        parts = urlsplit(public_url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ListenError(f"--public-url {public_url!r} is not an http or https address")
    return f"{parts.scheme}://{parts.netloc}".lower()


class Server:
    """One listening socket and the thread that serves it. `start` and `stop` may be repeated."""

    def __init__(
        self, listen: str, *, tls_cert: Path | None = None, tls_key: Path | None = None
    ) -> None:
        """Check what can be checked without a socket. Raises ListenError."""
        try:
            self.host, self._port = split_listen(listen)
        except ValueError as failure:
            raise ListenError(f"--listen {listen!r}: {failure}") from failure
        if tls_key is not None and tls_cert is None:
            raise ListenError("--tls-key needs --tls-cert")
        self._tls_cert, self._tls_key = tls_cert, tls_key
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._deps: Deps | None = None

    @property
    def url(self) -> str:
        """Where the API is, with the port that was really taken."""
        scheme = "https" if self._tls_cert else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self._port}"

    def bind(self) -> None:
        """Take the address, and answer nobody yet. Raises ListenError."""
        with self._lock:
            if self._socket is not None:
                return
            self._check_tls()
            self._socket = self._bound()
            self._port = self._socket.getsockname()[1]

    def _bound(self) -> socket.socket:
        where = f"{self.host}:{self._port}"
        try:
            found = socket.getaddrinfo(
                self.host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            # An IPv4 address first: what `localhost` means to most clients.
            family, kind, proto, _, address = min(found, key=lambda f: f[0] != socket.AF_INET)
            sock = socket.socket(family, kind, proto)
        except OSError as failure:
            raise ListenError(f"cannot listen on {where}: {failure.strerror}") from failure
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(_BACKLOG)
        except OSError as failure:
            sock.close()
            if failure.errno == errno.EADDRINUSE:
                raise ListenError(
                    f"cannot listen on {where}: another program does. Stop it, or choose another "
                    "--listen"
                ) from failure
            raise ListenError(f"cannot listen on {where}: {failure.strerror}") from failure
        return sock

    def _check_tls(self) -> None:
        if self._tls_cert is None:
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._tls_cert, self._tls_key, password=lambda: "")
        except OSError as failure:  # ssl.SSLError is one
            reason = failure.strerror or str(failure)
            raise ListenError(
                f"--tls-cert {self._tls_cert} cannot be used: {reason}. It and --tls-key must be "
                "PEM files that belong together, the key without a password"
            ) from failure

    def start(self, deps: Deps) -> None:
        """Serve. Raises ListenError."""
        self.bind()
        with self._lock:
            if self._thread is not None or self._socket is None:
                return
            import uvicorn

            from orchestrator.web import create_app
            from orchestrator.web.uvicorn_server import UvicornServer

            self._deps = deps
            self._server = UvicornServer(
                uvicorn.Config(
                    create_app(deps),
                    http="h11",
                    ws="none",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    proxy_headers=False,
                    server_header=False,
                    timeout_keep_alive=_IDLE,
                    timeout_graceful_shutdown=_STOP_WITHIN,
                    ssl_certfile=self._tls_cert,
                    ssl_keyfile=self._tls_key,
                )
            )
            self._thread = threading.Thread(
                target=self._server.run,
                kwargs={"sockets": [self._socket]},
                name="web",
                daemon=True,
            )
            self._thread.start()
        _log.info("API", url=self.url)

    def stop(self) -> None:
        """Answer no more. Requests under way are given a few seconds."""
        with self._lock:
            thread, self._thread = self._thread, None
            sock, self._socket = self._socket, None
            if self._deps is not None:
                self._deps.stopping.set()
            if self._server is not None:
                self._server.should_exit = True
        if thread is not None:
            thread.join()
        if sock is not None:
            sock.close()
        if self._deps is not None and self._deps.access_log is not None:
            self._deps.access_log.close()
