"""`orch serve` as a process: how it starts, refuses to, and ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.support.waiting import until

_API = re.compile(r"api[\"=: ]+(http://[0-9.:]+)")


class Serve:
    """One `orch serve`, its log in a file."""

    def __init__(self, log: Path, *args: str, **env: str) -> None:
        self.log = log
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ORCH_")}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "serve", *args],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**clean, **env},
                cwd=log.parent,
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def url(self) -> str:
        """Where it serves, once it does."""

        def look() -> str:
            assert self.process.poll() is None, self.text
            return "".join(_API.findall(self.text)[:1])

        return until(look, "it serves", within=40, show=lambda: self.text)

    def ended(self) -> int:
        """Its exit code."""
        return self.process.wait(40)


Starter = Callable[..., Serve]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Starter]:
    """Makes processes and leaves none behind."""
    made: list[Serve] = []

    def start(*args: str, **env: str) -> Serve:
        made.append(Serve(tmp_path / f"log{len(made)}", *args, **env))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.wait()


_HERE = ("--listen", "127.0.0.1:0", "--bacalhau", "http://127.0.0.1:9")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(serve: Starter, number: signal.Signals) -> None:
    """SIGTERM and SIGINT drain and end with 0; the directory can be served again."""
    for _ in range(2):
        one = serve(*_HERE, "--data-dir", "d")
        assert requests.get(f"{one.url()}/healthz", timeout=10).json() == {"ok": True}
        one.process.send_signal(number)
        assert one.ended() == 0, one.text
        assert "Traceback" not in one.text


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (signal.SIGTERM, signal.SIGTERM, 143),
        (signal.SIGINT, signal.SIGINT, 130),
        (signal.SIGTERM, signal.SIGINT, 130),
    ],
)
def test_a_second_signal_ends_it_at_once(
    serve: Starter, first: signal.Signals, second: signal.Signals, code: int
) -> None:
    """It does not wait for a request that is under way, says nothing, and loses nothing."""
    one = serve(*_HERE, "--data-dir", "d")
    host, _, port = one.url().removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /api/v1/dead/redrive HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        slow.sendall(b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        assert requests.get(f"{one.url()}/healthz", timeout=10).ok  # it has read the other as well
        one.process.send_signal(first)
        until(lambda: not _listens(host, int(port)), "it shuts down")
        assert one.process.poll() is None
        one.process.send_signal(second)
        assert one.ended() == code, one.text
    assert "Traceback" not in one.text
    again = serve(*_HERE, "--data-dir", "d")
    assert requests.get(f"{again.url()}/healthz", timeout=10).ok


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=10).close()
    except ConnectionError:
        return False
    return True


def test_settings_come_from_everywhere(serve: Starter, tmp_path: Path) -> None:
    """File, environment and options work together; --log-json makes every line an object."""
    (tmp_path / "orch.yaml").write_text("log_json: true\nlisten: 127.0.0.1:0\n")
    one = serve("--data-dir", "d", ORCH_BACALHAU="http://127.0.0.1:9")
    one.url()
    one.process.terminate()
    assert one.ended() == 0
    lines = [json.loads(line) for line in one.text.splitlines()]
    started = next(line for line in lines if line["event"] == "orchestrator started")
    assert started["bacalhau"] == "http://127.0.0.1:9"


def _refused(one: Serve, *words: str) -> None:
    """It has ended with 1 and one line that says why."""
    assert one.ended() == 1, one.text
    said = [line for line in one.text.splitlines() if line.startswith("orch: ")]
    assert len(said) == 1, one.text
    assert "Traceback" not in one.text
    for word in words:
        assert word in said[0], said[0]


def test_a_second_one_on_the_directory(serve: Starter) -> None:
    """The second names the first and ends; the first is not disturbed."""
    first = serve(*_HERE, "--data-dir", "d")
    url = first.url()
    _refused(serve(*_HERE, "--data-dir", "d"), "another orchestrator", str(first.process.pid), "d")
    assert requests.get(f"{url}/healthz", timeout=10).ok


def test_a_port_that_is_taken(serve: Starter) -> None:
    """The address and the option are named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = serve("--listen", f"127.0.0.1:{port}", "--data-dir", "d")
        _refused(one, f"127.0.0.1:{port}", "another --listen")


def test_a_database_that_does_not_answer(serve: Starter) -> None:
    """A DSN that leads nowhere is told, without its password."""
    dsn = "postgresql://user:hush@127.0.0.1:9/x"
    one = serve(*_HERE, "--data-dir", "d", "--database", dsn)
    _refused(one, "database")
    assert "hush" not in one.text


def test_a_database_file_that_is_none(serve: Starter, tmp_path: Path) -> None:
    """A file that SQLite does not know is told."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d/orch.db").write_bytes(b"not a database at all" * 100)
    _refused(serve(*_HERE, "--data-dir", "d"), "database")


def test_a_broken_key_file(serve: Starter, tmp_path: Path) -> None:
    """A key of the wrong size, and one that others can read, are refused."""
    key = tmp_path / "key"
    key.write_bytes(b"short")
    key.chmod(0o600)
    _refused(serve(*_HERE, "--data-dir", "d", "--key-file", str(key)), "is not a key of 32 bytes")
    key.write_bytes(b"k" * 32)
    key.chmod(0o644)
    _refused(serve(*_HERE, "--data-dir", "d", "--key-file", str(key)), "chmod 600")


def test_more_than_loopback_needs_a_token(serve: Starter) -> None:
    """Any other address is refused until a token exists, with the command that makes one."""
    _refused(serve("--listen", "0.0.0.0:0", "--data-dir", "d"), "orch token create", "--data-dir d")


def test_a_directory_that_cannot_be(serve: Starter, tmp_path: Path) -> None:
    """A file in the place of the data directory is told."""
    (tmp_path / "d").touch()
    _refused(serve(*_HERE, "--data-dir", "d"), "--data-dir")
