"""One POST to an address from outside: nothing private is called, little is read.

Whoever registers a trigger chooses the address, and the orchestrator stands where it can reach
more than they may. So the name is resolved here, every address is looked at, and the connection
goes to the very address that was looked at; a redirect is an answer like any other, and what the
receiver says is read no further than a kilobyte.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

TIMEOUT = 10.0  # seconds, for all of it
_READ = 1024  # bytes of the answer
# Not all of these are private to every version of Python: carriers' NAT (where some clouds keep
# their metadata services), protocol assignments, local-use translation.
_INSIDE = tuple(
    ipaddress.ip_network(text) for text in ("100.64.0.0/10", "192.0.0.0/24", "64:ff9b:1::/48")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Undelivered(Exception):
    """The receiver did not take it; `final` if it makes no sense to try again."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(reason)


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> None:
    """Deliver. Raises Undelivered for anything but an answer of 2xx in time."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    addresses = _choose(host, port, allow_private=allow_private)
    connection = _Connection(host, port, addresses, secure=secure)
    # The timeout of a socket begins anew with every byte: a receiver could drip for hours.
    watchdog = threading.Timer(TIMEOUT, connection.abort)
    watchdog.daemon = True
    watchdog.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body=body, headers=dict(headers))
        response = connection.getresponse()
        said = response.read(_READ)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if connection.aborted:
            raise Undelivered(f"no answer within {TIMEOUT:g} s") from error
        raise Undelivered(f"{type(error).__name__}: {str(error)[:200]}") from error
    finally:
        watchdog.cancel()
        connection.close()
    _judge(response.status, said)


def _judge(status: int, said: bytes) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Undelivered(f"answered {status}: redirects are not followed, state the new address")
    words = " ".join(said[:200].decode(errors="replace").split())
    reason = (
        f"answered {status}: {words}" if words.isprintable() and words else f"answered {status}"
    )
    raise Undelivered(reason, final=status == 410)


def _choose(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses to connect to. Raises Undelivered."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Undelivered(f"{host} is not known: {error}") from error
    addresses = [str(item[4][0]) for item in found]
    if allow_private:
        return addresses
    public = [address for address in addresses if is_public(address)]
    if not public:
        raise Undelivered(
            f"{host} is {addresses[0]}, which is not a public address: callbacks go there only "
            "with `allow_private_callbacks: true`",
            final=True,
        )
    return public


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet at large."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip.teredo is not None:
            return False
        if inner is not None:
            return is_public(str(inner))
    if any(ip in network for network in _INSIDE if network.version == ip.version):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class _Connection(http.client.HTTPConnection):
    """To `addresses`, whatever the name may resolve to by now; the certificate is the name's."""

    def __init__(self, host: str, port: int, addresses: Sequence[str], *, secure: bool) -> None:
        super().__init__(host, port, timeout=TIMEOUT)
        if secure:
            self.default_port = 443
        self._addresses = addresses
        self._secure = secure
        self._raw: socket.socket | None = None
        self.aborted = False

    def connect(self) -> None:
        """Connect, with TLS where the address says https. Raises OSError."""
        self._raw = self.sock = self._first_that_answers()
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self._raw, server_hostname=self.host)

    def _first_that_answers(self) -> socket.socket:
        ends = time.monotonic() + TIMEOUT
        failure: OSError = TimeoutError("no address answers")
        for address in self._addresses:
            remaining = ends - time.monotonic()
            if remaining <= 0 or self.aborted:
                break
            try:
                sock = socket.create_connection((address, self.port), timeout=remaining)
            except OSError as error:
                failure = error
                continue
            sock.settimeout(TIMEOUT)
            return sock
        raise failure

    def abort(self) -> None:
        """End whatever it waits for, from another thread."""
        self.aborted = True
        for sock in (self.sock, self._raw):
            try:
                if sock is not None:
                    sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
