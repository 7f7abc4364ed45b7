"""How kafka-python connects, with every socket closed that it would leave open.

The library leaves three kinds to the garbage collector: those whose connection failed (while a
broker is away each try costs a file descriptor until it comes round), those whose TLS handshake
failed, and those that still had something to send when their client was closed. Ways to connect
are found by the scheme of ``proxy_url``.
"""

from __future__ import annotations

import ssl
from importlib import import_module
from typing import Any
from weakref import WeakSet

from connectors.kafka.connection import Tls

# Untyped: the stubs that pyright brings describe an older version.
_inet: Any = import_module("kafka.net.inet")
_Base: Any = _inet.KafkaNetSocket

DIRECT = "direct://"
"""The ``proxy_url`` that means: no proxy, and no socket left behind."""


class DirectSocket(_Base):
    """A plain connection. The library knows the class by its scheme from here on."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: Any, sockaddr: Any, timeout_at: Any = None) -> Any:
        """Connect, or close the socket and raise what the library raises."""
        try:
            return await _Base.sock_connect(self, net, sock, sockaddr, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except BaseException:
            self.close()
            raise


def tls_context(tls: Tls) -> ssl.SSLContext:
    """What connections are encrypted with. Raises OSError for a file that is not as it should."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _TlsSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.check_hostname
    if tls.ca:
        context.load_verify_locations(tls.ca)
    else:
        context.load_default_certs()
    if tls.cert:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(tls.cert, tls.key, lambda: tls.password or "")
    return context


def close_everything(client: Any) -> None:
    """Let `close` of a client (kafka-python's ``KafkaNetClient``) close every socket it has."""
    manager, close = client._manager, client.close
    connect = manager.get_connection
    connections: WeakSet[Any] = WeakSet()

    def get_connection(*arguments: Any, **more: Any) -> Any:
        connection = connect(*arguments, **more)
        connections.add(connection)
        return connection

    def close_all(node_id: Any = None) -> None:
        close(node_id)
        if node_id is None:
            for connection in list(connections):
                _close_socket(connection.transport)

    manager.get_connection = get_connection
    client.close = close_all


def _close_socket(transport: Any) -> None:
    # By itself a transport closes it once everything is sent, and nobody sends any more.
    if transport is not None and transport._sock is not None:
        transport._sock.close()
        transport._sock = None
