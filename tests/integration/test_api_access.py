"""Who gets in: tokens, hosts, origins, TLS."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from orchestrator.app import App
from orchestrator.config import Config
from orchestrator.domain.clock import HOUR
from orchestrator.domain.roles import Role
from orchestrator.store.errors import StoreError
from orchestrator.store.schema import tokens
from orchestrator.web.attempts import BURST
from tests.support.api import NOBODY, Api, problem, serving, trigger
from tests.support.inprocess import ShiftedClock


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with serving(tmp_path / "data") as served:
        yield served


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:7070",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:9999",
        "[::1]",
        "[::1]:80",
    ],
)
def test_own_names_are_taken(api: Api, host: str) -> None:
    """A request that was forwarded to another port of this machine is still for us."""
    assert api.send("GET", "/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "localhost.example.com",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "localhost@example.com",
        "example.com:7070",
        "[::2]",
        "[::1",
        "localhost/evil",
        "localhost:port",
        "localhost.",
    ],
)
def test_foreign_names_are_refused(api: Api, host: str) -> None:
    """A page that has its name resolve to this machine (DNS rebinding) reaches nothing."""
    response = api.send("GET", "/api/v1/status", headers={"Host": host})
    assert response.status_code == 421
    assert "--public-url" in problem(response)["detail"]


def test_a_request_without_a_host_is_refused(api: Api) -> None:
    """HTTP/1.0 allows it; we do not."""
    address = api.url.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1])), timeout=10) as sock:
        sock.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"Host header" in answer


@pytest.mark.parametrize(
    "origin",
    ["http://example.com", "null", "http://localhost:3000", "https://127.0.0.1", "file://"],
)
def test_foreign_origins_are_refused(api: Api, origin: str) -> None:
    """A page of another origin, another port of this machine included, may not even read."""
    for method in ("GET", "POST", "OPTIONS"):
        response = api.send(method, "/api/v1/triggers", json=trigger(), headers={"Origin": origin})
        assert response.status_code == 403
        assert "other web pages" in problem(response)["detail"]
        assert "Access-Control-Allow-Origin" not in response.headers
    assert api.names() == []


def test_the_own_origin_is_taken(api: Api) -> None:
    """Pages that this server serves may ask it."""
    headers = {"Origin": api.url}
    assert api.send("GET", "/api/v1/status", headers=headers).status_code == 200


def test_a_public_url_adds_a_name_and_an_origin(tmp_path: Path) -> None:
    """Behind a proxy the orchestrator goes by the name that people use."""
    with serving(tmp_path / "data", public_url="https://orch.example.com") as api:
        headers = {"Host": "orch.example.com", "Origin": "https://orch.example.com"}
        assert api.send("GET", "/api/v1/status", headers=headers).status_code == 200
        other = {"Host": "orch.example.com", "Origin": "https://other.example.com"}
        assert api.send("GET", "/api/v1/status", headers=other).status_code == 403


def test_answers_carry_security_headers(api: Api) -> None:
    """Also those of refused requests."""
    for response in (
        api.send("GET", "/api/v1/status"),
        api.send("GET", "/api/v1/status", headers={"Host": "example.com"}),
    ):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert "Server" not in response.headers


def test_from_the_first_token_on_every_request_needs_one(api: Api) -> None:
    """Without a token loopback is open; with one, only health is."""
    created = api.post("/tokens", {"name": "ann"}, 201)
    assert created["expires_at"] is None
    secret = created["token"]
    assert secret.startswith("orch_")
    for path in ("/api/v1/status", "/api/v1/tokens", "/metrics", "/openapi.json", "/nothing"):
        response = api.send("GET", path)
        assert response.status_code == 401, path
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="orch"'
        assert "orch token create" in problem(response)["detail"]
    for path in ("/healthz", "/readyz"):
        assert api.send("GET", path).status_code == 200
    with_token = Api(api.orch, secret)
    assert with_token.get("/status")
    assert [item["name"] for item in with_token.get("/tokens")["items"]] == ["ann"]
    assert secret not in str(with_token.get("/tokens"))


@pytest.mark.parametrize(
    "header",
    ["Bearer orch_wrong", "Bearer", "Basic YTpi", "bearer  ", "Bearer \u00e4", "Digest x=y"],
)
def test_a_wrong_token_is_refused(api: Api, header: str) -> None:
    """Whatever stands there instead of the token."""
    api.post("/tokens", {"name": "ann"}, 201)
    headers = {"Authorization": header.encode()}
    assert api.send("GET", "/api/v1/status", headers=headers).status_code == 401


def _wrong(api: Api, number: int) -> requests.Response:
    headers = {"Authorization": f"Bearer orch_{number}"}
    return api.send("GET", "/api/v1/status", headers=headers)


def test_wrong_tokens_have_to_wait(api: Api) -> None:
    """After some of them no other is looked at for a while; one that was right is."""
    ann = Api(api.orch, api.post("/tokens", {"name": "ann"}, 201)["token"])
    assert ann.get("/status")
    refused = next(
        answer
        for answer in (_wrong(api, number) for number in range(100 * BURST))
        if answer.status_code != 401
    )
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 3
    assert "wrong tokens" in problem(refused)["detail"]
    assert ann.get("/status")
    assert api.send("GET", "/healthz").status_code == 200


def test_the_token_names_who_acts(api: Api) -> None:
    """The trail tells whose token it was; without tokens it is `local`."""
    api.register("first")
    ann = Api(api.orch, api.post("/tokens", {"name": "ann"}, 201)["token"])
    ann.register("second")
    entries = ann.get("/trail")["items"]
    assert [(t["action"], t["actor"]) for t in entries] == [
        ("register", "ann"),
        ("token.create", "local"),
        ("register", "local"),
    ]


def test_tokens_are_kept_as_hashes(api: Api) -> None:
    """Whoever reads the store, or a backup of it, has no token."""
    secret = api.post("/tokens", {"name": "ann"}, 201)["token"]
    with api.orch.app.database.read() as conn:
        (row,) = conn.execute(select(tokens)).mappings()
    assert secret not in str(dict(row))
    assert len(row["digest"]) == 64
    backup = Api(api.orch, secret).send("GET", "/api/v1/backup").content
    assert secret.encode() not in backup


def test_a_token_expires(tmp_path: Path) -> None:
    """After its time it opens nothing, and does not leave the door open either."""
    clock = ShiftedClock()
    with serving(tmp_path / "data", clock=clock) as api:
        created = api.post("/tokens", {"name": "ann", "expires": "30m"}, 201)
        ann = Api(api.orch, created["token"])
        assert ann.get("/status")
        clock.step(HOUR)
        assert "no longer" in ann.get("/status", 401)["detail"]
        assert api.get("/status", 401)


def test_a_revoked_token_opens_nothing(api: Api) -> None:
    """Revocation holds from the next request on; without any token loopback is open again."""
    ann = Api(api.orch, api.post("/tokens", {"name": "ann"}, 201)["token"])
    bob = Api(api.orch, ann.post("/tokens", {"name": "bob"}, 201)["token"])
    assert "already" in ann.post("/tokens", {"name": "bob"}, 409)["detail"]
    bob.delete("/tokens/ann")
    ann.get("/status", 401)
    bob.delete("/tokens/bob")
    assert api.get("/status")


def test_the_last_token_of_an_admin_stays_where_one_is_needed(tmp_path: Path) -> None:
    """Others go, and it goes once there is another one of an admin."""
    config = Config(data_dir=tmp_path / "data", bacalhau=NOBODY, listen="0.0.0.0:0")
    app = App(config)
    try:
        made = {
            name: app.tokens.create(name, role, None, "local")
            for name, role in (("ann", Role.ADMIN), ("bob", Role.OPERATOR), ("eve", Role.VIEWER))
        }
        app.start()
        url = app.server.url.replace("0.0.0.0", "127.0.0.1")
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {made['ann']}"
            assert session.delete(f"{url}/api/v1/tokens/bob", timeout=10).status_code == 200
            assert session.delete(f"{url}/api/v1/tokens/ann", timeout=10).status_code == 409
            another = session.post(f"{url}/api/v1/tokens", json={"name": "zoe"}, timeout=10)
            assert another.json()["role"] == "admin"
            assert session.delete(f"{url}/api/v1/tokens/ann", timeout=10).status_code == 200
    finally:
        app.stop()


def test_other_addresses_need_a_token_before_they_are_served(tmp_path: Path) -> None:
    """`--listen 0.0.0.0` without a token starts nothing and says how to make one."""
    config = Config(data_dir=tmp_path / "data", bacalhau=NOBODY, listen="0.0.0.0:0")
    app = App(config)
    try:
        with pytest.raises(StoreError, match="orch token create NAME --data-dir"):
            app.start()
        secret = app.tokens.create("ann", Role.ADMIN, None, "local")
        app.start()
        url = app.server.url.replace("0.0.0.0", "127.0.0.1")
        headers = {"Authorization": f"Bearer {secret}"}
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"{url}/api/v1/status", timeout=10).status_code == 401
            known = session.get(f"{url}/api/v1/status", headers=headers, timeout=10)
            assert known.status_code == 200
            last = session.delete(f"{url}/api/v1/tokens/ann", headers=headers, timeout=10)
            assert last.status_code == 409
            assert "last token" in last.json()["detail"]
    finally:
        app.stop()


def _certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


def test_tls(tmp_path: Path) -> None:
    """With a certificate the API speaks HTTPS, and nothing else."""
    cert, key = _certificate(tmp_path)
    with serving(tmp_path / "data", tls_cert=cert, tls_key=key) as api:
        assert api.url.startswith("https://")
        assert api.send("GET", "/healthz", verify=str(cert)).status_code == 200
        plain = api.url.replace("https://", "http://")
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{plain}/healthz", timeout=10)


def test_a_certificate_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    """Before anything is started."""
    cert, _ = _certificate(tmp_path)
    (tmp_path / "other").mkdir()
    _, other_key = _certificate(tmp_path / "other")
    none = tmp_path / "none"
    for tls_cert, tls_key in ((cert, other_key), (none, none)):
        config = Config(
            data_dir=tmp_path / "data",
            bacalhau=NOBODY,
            listen="127.0.0.1:0",
            tls_cert=tls_cert,
            tls_key=tls_key,
        )
        app = App(config)
        try:
            with pytest.raises(StoreError, match=r"--tls-cert .* cannot be used"):
                app.start()
            assert not app.firing.running
        finally:
            app.stop()


def test_the_version_of_tls_is_a_current_one(tmp_path: Path) -> None:
    """What is agreed on is 1.2 or later."""
    cert, key = _certificate(tmp_path)
    with serving(tmp_path / "data", tls_cert=cert, tls_key=key) as api:
        host, port = api.url.removeprefix("https://").split(":")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cert)
        with (
            socket.create_connection((host, int(port)), timeout=10) as sock,
            context.wrap_socket(sock, server_hostname=host) as secured,
        ):
            assert secured.version() in ("TLSv1.2", "TLSv1.3")
