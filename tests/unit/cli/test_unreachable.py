"""Nobody, a stranger or half an answer at the orchestrator's address; and how commands end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.cli.errors import end_with
from tests.support.cli import orch

_COMMANDS = [
    ["status"],
    ["triggers", "list"],
    ["triggers", "show", "x"],
    ["triggers", "pause", "x"],
    ["triggers", "resume", "x"],
    ["triggers", "fire", "x"],
    ["triggers", "backfill", "x", "--since", "1h"],
    ["triggers", "delete", "x"],
    ["runs", "list"],
    ["runs", "show", "x"],
    ["runs", "logs", "x"],
    ["runs", "cancel", "x"],
    ["runs", "retry", "x"],
    ["dead", "list"],
    ["dead", "redrive", "--all"],
    ["dead", "discard", "--all"],
    ["checkpoints", "show"],
    ["audit"],
    ["cluster", "accept"],
    ["token", "create", "x"],
    ["token", "list"],
    ["token", "revoke", "x"],
    ["backup", "file"],
    ["register", "cron", "--name", "x", "--every", "1s"],
]


@pytest.mark.parametrize("args", _COMMANDS, ids=[" ".join(a) for a in _COMMANDS])
def test_no_orchestrator(args: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that asks one ends with 3, the address and what to do; nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    done = orch(*args)
    assert done.code == 3
    assert done.out == ""
    assert "http://127.0.0.1:9 (connection refused)" in done.err
    assert "orch serve" in done.err
    assert list(tmp_path.iterdir()) == []


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """A server that gives each connection these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<h1>",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<h1>",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
def test_a_stranger_at_the_address(answer: bytes) -> None:
    """Something else that answers there is no orchestrator: 3, and the address."""
    with _answering(answer) as url:
        done = orch("status", "--url", url)
    assert done.code == 3
    assert url in done.err


def test_root_url_and_command_url() -> None:
    """`orch --url X` wins over ORCH_URL, and a command's own --url over both."""
    env = {"ORCH_URL": "http://127.0.0.1:9"}
    with _answering(b"") as one, _answering(b"") as two:
        assert one in orch("--url", one, "status", env=env).err
        assert two in orch("--url", one, "status", "--url", two, env=env).err


def test_token_is_sent_and_never_shown() -> None:
    """A token that no header can hold is a usage error that does not show it."""
    done = orch("status", env={"ORCH_TOKEN": "sécret\n"})
    assert done.code == 2
    assert "cret" not in done.err.replace("secret", "")


def test_what_is_unexpected_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the program is told without its stack, unless ORCH_DEBUG asks for it."""
    monkeypatch.delenv("ORCH_DEBUG", raising=False)
    with pytest.raises(SystemExit) as end:
        end_with(RuntimeError("boom"))
    assert end.value.code == 1
    err = capsys.readouterr().err
    assert "boom" in err
    assert "ORCH_DEBUG=1" in err
    assert "Traceback" not in err
    monkeypatch.setenv("ORCH_DEBUG", "1")
    with pytest.raises(SystemExit):
        end_with(RuntimeError("boom"))
    assert "RuntimeError: boom" in capsys.readouterr().err


def test_a_closed_pipe_ends_quietly() -> None:
    """`orch … | head -1` writes no error."""
    done = subprocess.run(
        f"{sys.executable} -m orchestrator schema cron | head -1",
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_interrupt_is_130() -> None:
    """Ctrl-C while a command waits ends it with 130 and no trace."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "status", "--url", url],
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = silent.accept()  # it has asked, and waits
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 130
    assert "Traceback" not in err
