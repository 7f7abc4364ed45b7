"""Addresses, the access log, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.web.accesslog import AccessLog, access_log, clean, combined
from orchestrator.web.server import (
    ListenError,
    Server,
    is_loopback,
    own_hosts,
    public_origin,
)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Only what no other machine can reach goes without a token."""
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("listen", ["", "7070", "host", "host:port", "h:70000", "::1:80", ":80"])
def test_addresses_that_are_none(listen: str) -> None:
    """Refused before a socket is opened, with an example."""
    with pytest.raises(ListenError, match=r"HOST:PORT|brackets|write"):
        Server(listen)


def test_urls() -> None:
    """IPv6 in brackets; https with a certificate."""
    assert Server("[::1]:80").url == "http://[::1]:80"
    tls = Server("localhost:443", tls_cert=Path("a"), tls_key=Path("b"))
    assert tls.url == "https://localhost:443"


def test_own_hosts() -> None:
    """Loopback's names, the listen host and the public one."""
    assert own_hosts("10.0.0.1", "https://Orch.example.com:8443/x") == {
        "localhost",
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "orch.example.com",
    }
    assert public_origin("https://Orch.example.com:8443/x") == "https://orch.example.com:8443"
    assert public_origin(None) is None
    for wrong in ("orch.example.com", "ftp://a", "https://", "https://[::1"):
        with pytest.raises(ListenError, match="--public-url"):
            public_origin(wrong)


def test_a_line_of_the_access_log_stays_one_line() -> None:
    """No client can write a line of its own, or end a quote."""
    scope = {
        "headers": [(b"user-agent", b'x"\n127.0.0.1 - - "GET / HTTP/1.1" 200 1')],
        "client": ("127.0.0.1", 5),
        "http_version": "1.1",
    }
    line = combined(scope, "GET", clean("/a\r\nb"), 404, 7)
    assert "\n" not in line
    assert line.count('"') == 6
    assert '"GET /a\\x0d\\x0ab HTTP/1.1" 404 7 "-"' in line


def test_the_access_log_is_rotated(tmp_path: Path) -> None:
    """At ten megabytes; three older files are kept, and the name of the newest stays."""
    log = AccessLog(tmp_path)
    line = "x" * 999_999
    for _ in range(52):
        log.write(line)
    log.close()
    log.close()
    directory = access_log(tmp_path).parent
    assert sorted(path.name for path in directory.iterdir()) == [
        "access.log",
        "access.log.1",
        "access.log.2",
        "access.log.3",
    ]
    assert all(path.stat().st_size <= 10_000_000 for path in directory.iterdir())


@pytest.mark.parametrize("module", ["orchestrator.app", "orchestrator.web.server"])
def test_importing_does_not_load_the_web_framework(module: str) -> None:
    """It is loaded when the API is served: a command that only reads files is quick."""
    code = (
        f"import sys, {module}; "
        "print([m for m in ('fastapi', 'starlette', 'uvicorn') if m in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
