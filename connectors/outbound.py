"""One request to an address from outside: nothing private is called, little is read.

The name is resolved here, every address is looked at, and the connection goes to the very address
that was looked at. A redirect is an answer like any other, and no answer takes longer or is larger
than it was allowed to be.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

# Not all of these are private to every version of Python: carriers' NAT (where some clouds keep
# their metadata services), protocol assignments, local-use translation.
_INSIDE = tuple(
    ipaddress.ip_network(text) for text in ("100.64.0.0/10", "192.0.0.0/24", "64:ff9b:1::/48")
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class NoAnswer(Exception):
    """Nothing usable came back. In words for the people who run this, not for a sender."""

    def __init__(self, reason: str, *, status: int | None = None, private: bool = False) -> None:
        """`status` is that of an answer other than 200; `private`: the address is not public."""
        self.status = status
        self.private = private
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    content: bytes
    """At most the `limit` bytes that were asked for."""
    whole: bool
    """Whether that is all of it."""


def get(url: str, *, limit: int, timeout: float, allow_private: bool = False) -> bytes:
    """The body of a 200, whole. Raises NoAnswer for everything else."""
    answer = request("GET", url, limit=limit, timeout=timeout, allow_private=allow_private)
    if answer.status != 200:
        raise NoAnswer(f"the answer is {answer.status}", status=answer.status)
    if not answer.whole and len(answer.content) == limit:
        raise NoAnswer(f"the answer has more than {limit} bytes", status=200)
    if not answer.whole:
        raise NoAnswer("the answer broke off")
    return answer.content


def request(
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    limit: int,
    timeout: float,
    allow_private: bool = False,
) -> Answer:
    """Ask once. Raises NoAnswer where no answer comes in time.

    `limit` is bytes of the answer's body, `timeout` seconds for all of it but the resolution of
    the name.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise NoAnswer("the address cannot be read") from error
    secure = parts.scheme == "https"
    addresses = _choose(host, port, allow_private=allow_private)
    connection = _Connection(host, port, addresses, secure=secure, timeout=timeout)
    # The timeout of a socket begins anew with every byte: a server could drip for hours.
    watchdog = threading.Timer(timeout, connection.abort)
    watchdog.daemon = True
    watchdog.start()
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body=body, headers=dict(headers))
        with connection.getresponse() as response:
            content = response.read(limit + 1)
            missing = bool(response.length)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if connection.aborted:
            raise NoAnswer(f"no answer within {timeout:g} s") from error
        raise NoAnswer(f"{type(error).__name__}: {str(error)[:200]}") from error
    finally:
        watchdog.cancel()
        connection.close()
    if connection.aborted:  # what was read may be a part
        raise NoAnswer(f"no answer within {timeout:g} s")
    whole = len(content) <= limit and not missing
    return Answer(status=response.status, content=content[:limit], whole=whole)


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


def _choose(host: str, port: int, *, allow_private: bool) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NoAnswer(f"{host} is not known: {error}") from error
    addresses = [str(item[4][0]) for item in found]
    if allow_private:
        return addresses
    public = [address for address in addresses if is_public(address)]
    if not public:
        raise NoAnswer(f"{host} is {addresses[0]}, which is not a public address", private=True)
    return public


class _Connection(http.client.HTTPConnection):
    """To `addresses`, whatever the name may resolve to by now; the certificate is the name's."""

    def __init__(
        self, host: str, port: int, addresses: Sequence[str], *, secure: bool, timeout: float
    ) -> None:
        super().__init__(host, port, timeout=timeout)
        if secure:
            self.default_port = 443
        self._limit = timeout
        self._addresses = addresses
        self._secure = secure
        self._raw: socket.socket | None = None
        self.aborted = False

    def connect(self) -> None:
        self._raw = self.sock = self._first_that_answers()
        if self._secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self._raw, server_hostname=self.host)

    def _first_that_answers(self) -> socket.socket:
        ends = time.monotonic() + self._limit
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
            sock.settimeout(self._limit)
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
