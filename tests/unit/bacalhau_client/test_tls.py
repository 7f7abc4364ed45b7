"""Certificates: whom the client trusts, and what it says when it does not."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.sync.server import ServerConnection, serve

import bacalhau_client as bc
from bacalhau_client import BacalhauClient

Connect = Callable[..., BacalhauClient]
Start = Callable[..., Any]
ALIVE = b'{"Status": "OK"}'


@dataclass(frozen=True, kw_only=True)
class Authority:
    """A CA's file and a server context with a certificate of it for 127.0.0.1."""

    file: Path
    context: ssl.SSLContext


def make_authority(directory: Path, host: str = "127.0.0.1") -> Authority:
    directory.mkdir()
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    now = datetime.now(UTC)

    def start(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )

    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    ca = (
        start(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(host))])
    certificate = (
        start(name, key.public_key())
        .add_extension(names, critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "ca.pem").write_bytes(ca.public_bytes(pem))
    chain = directory / "server.pem"
    chain.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return Authority(file=directory / "ca.pem", context=context)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority of this test's own."""
    return make_authority(tmp_path / "own")


def test_own_authority_is_trusted(
    authority: Authority, connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """A CA file makes a node's certificate good, for reads and writes."""
    server = http_server(answer(200, b'{"JobID": "j-1"}'), context=authority.context)
    client = connect(server.url, ca=authority.file, auth=bc.BearerAuth(token="key"))
    assert client.jobs.put_job_bytes(b"{}").job_id == "j-1"
    assert server.requests[0].headers["Authorization"] == "Bearer key"


@pytest.mark.parametrize("verified", [True, False])
def test_logs_use_the_same_authority(
    verified: bool, authority: Authority, connect: Connect
) -> None:
    """Log streams trust whom the other calls trust, or everyone where those do."""

    def play(connection: ServerConnection) -> None:
        connection.send('{"value": {"Type": 1, "Line": "a"}}')

    with serve(play, "127.0.0.1", 0, ssl=authority.context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"https://127.0.0.1:{server.socket.getsockname()[1]}"
        client = connect(url, ca=authority.file if verified else False)
        assert list(client.jobs.logs("j-1")) == [("stdout", "a")]
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("ca", ["other", "system"])
def test_other_authorities_are_not(
    ca: str,
    authority: Authority,
    tmp_path: Path,
    connect: Connect,
    http_server: Start,
    answer: Callable[..., Any],
) -> None:
    """A certificate that nobody vouches for: nothing is sent, over HTTP or for logs."""
    server = http_server(answer(200, ALIVE), context=authority.context)
    trusted = make_authority(tmp_path / "other").file if ca == "other" else True
    client = connect(server.url, ca=trusted, auth=bc.BearerAuth(token="key"))
    with pytest.raises(bc.Unreachable, match=r"(?i)TLS.*certificate verify failed"):
        client.jobs.put_job_bytes(b"{}")
    with pytest.raises(bc.Unreachable, match=r"(?i)TLS.*certificate verify failed"):
        list(client.jobs.logs("j-1"))
    assert server.requests == []


def test_certificate_of_another_host_is_not_trusted(
    tmp_path: Path, connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """The right authority is not enough: the certificate must name the host."""
    authority = make_authority(tmp_path / "own", host="127.0.0.2")
    server = http_server(answer(200, ALIVE), context=authority.context)
    with pytest.raises(bc.Unreachable, match=r"(?i)mismatch"):
        connect(server.url, ca=authority.file).agent.alive()
    assert server.requests == []


def test_verification_can_be_turned_off_and_warns(
    authority: Authority, connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """``ca=False`` works, and Python's warnings say so."""
    server = http_server(answer(200, ALIVE), context=authority.context)
    with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
        assert connect(server.url, ca=False).agent.alive()


def test_tls_to_a_plain_server_is_unreachable(
    connect: Connect, http_server: Start, answer: Callable[..., Any]
) -> None:
    """https where http is spoken fails in the handshake, before anything is sent."""
    server = http_server(answer(200, ALIVE))
    with pytest.raises(bc.Unreachable, match="TLS"):
        connect(server.url.replace("http", "https")).jobs.put_job_bytes(b"{}")


def test_handshake_that_breaks_off_is_unreachable(connect: Connect, raw_server: Start) -> None:
    """A connection that ends in the handshake carried no request."""
    server = raw_server(lambda connection: connection.recv(1))
    with pytest.raises(bc.Unreachable, match="TLS"):
        connect(server.url.replace("http", "https")).jobs.put_job_bytes(b"{}")


def test_handshake_that_stalls_is_unreachable(connect: Connect, raw_server: Start) -> None:
    """A handshake that never ends is given up after the connect timeout; nothing was sent."""
    server = raw_server(lambda connection: server.released.wait(30))
    client = connect(server.url.replace("http", "https"), connect_timeout=0.2)
    with pytest.raises(bc.Unreachable, match="TLS"):
        client.jobs.put_job_bytes(b"{}")


def test_loss_after_the_handshake_is_ambiguous(
    authority: Authority,
    connect: Connect,
    raw_server: Start,
    read_whole: Callable[[socket.socket], bytes],
) -> None:
    """Once the handshake is done, a lost connection may have carried the request."""

    def serve(connection: socket.socket) -> None:
        with authority.context.wrap_socket(connection, server_side=True) as wrapped:
            server.seen.put(read_whole(wrapped))

    server = raw_server(serve)
    client = connect(server.url.replace("http", "https"), ca=authority.file)
    with pytest.raises(bc.Ambiguous):
        client.jobs.put_job_bytes(b'{"Job": {}}')
    assert server.seen.get(timeout=10).endswith(b'{"Job": {}}')


def test_broken_authority_file_is_refused_at_once(tmp_path: Path) -> None:
    """A CA file without a certificate, or a directory, fails where it is given."""
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path):
        with pytest.raises(ValueError, match="give a PEM file"):
            BacalhauClient("https://127.0.0.1:1", ca=path)
