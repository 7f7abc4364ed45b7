"""Sockets that kafka-python would leave to the garbage collector are closed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka.cluster_python import Network
from connectors.kafka.connection import Tls
from connectors.kafka.sockets import DIRECT, tls_context
from tests.support.certificates import make


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_what_had_something_to_send(server: socket.socket) -> None:
    """A client that is closed while a request is on its way leaves no connection behind."""
    host, port = server.getsockname()
    client = Network().make(bootstrap_servers=f"{host}:{port}", proxy_url=DIRECT)
    (broker,) = client.cluster.bootstrap_brokers()
    connection = client._manager.get_connection(broker.node_id)
    while connection.transport is None:
        client.poll(timeout_ms=1000)
    sock = connection.transport._sock
    connection.transport.write(b"not yet sent")
    connection.transport.close()
    assert sock.fileno() != -1
    client.close()
    assert sock.fileno() == -1


def test_a_handshake_that_fails(tmp_path: Path) -> None:
    """A server that is not trusted is told so, and the socket is closed; until then it is open."""
    files = make(tmp_path)
    ours, theirs = socket.socketpair()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.server)
    ours.setblocking(False)
    theirs.setblocking(False)
    client = tls_context(Tls(ca=str(files.stranger))).wrap_socket(
        ours, server_hostname="localhost", do_handshake_on_connect=False
    )
    with context.wrap_socket(theirs, server_side=True, do_handshake_on_connect=False) as server:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        assert client.fileno() != -1
        with pytest.raises(ssl.SSLWantReadError):
            server.do_handshake()
        with pytest.raises(ssl.SSLCertVerificationError):
            client.do_handshake()
        assert client.fileno() == -1
