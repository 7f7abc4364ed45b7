"""`orch demo` end to end: counts its own access log, goes on where it stopped, ends cleanly."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cli import orch
from tests.support.waiting import until

_COUNT = re.compile(r"count-log +succeeded +attempt \d+ +exit ok +([\d,]+) lines")
_URL = re.compile(r"API +(http://[0-9.:]+)/api/v1")
_ANY = ("--listen", "127.0.0.1:0", "--node", "127.0.0.1:0")


class Demo:
    """One `orch demo`, its output in a file."""

    def __init__(self, directory: Path, out: Path, *args: str) -> None:
        self.out = out
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ORCH_")}
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "demo", "--data-dir", str(directory), *args],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=clean,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.out.read_text()

    def counted(self, number: int = 1) -> list[int]:
        """The lines that the counting task has counted, run by run."""

        def look() -> list[int] | None:
            assert self.process.poll() is None, self.text
            found = [int(n.replace(",", "")) for n in _COUNT.findall(self.text)]
            return found if len(found) >= number else None

        return until(look, f"{number} counting runs", within=90, show=lambda: self.text)

    def url(self) -> str:
        """Where its API is."""
        return until(
            lambda: "".join(_URL.findall(self.text)),
            "its address",
            within=60,
            show=lambda: self.text,
        )

    def left(self) -> list[str]:
        """Processes of its session that are still there."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "-s", str(self.process.pid)], capture_output=True, text=True
        )
        return listed.stdout.splitlines()


@contextmanager
def _demo(directory: Path, out: Path, *args: str) -> Iterator[Demo]:
    demo = Demo(directory, out, *args)
    try:
        yield demo
    finally:
        demo.process.kill()
        demo.process.wait()


def test_counts_then_goes_on_after_an_interrupt(tmp_path: Path) -> None:
    """The log that is counted grows; Ctrl-C leaves nothing behind; the next one continues."""
    state = tmp_path / "state"
    with _demo(state, tmp_path / "1", *_ANY) as first:
        lines = first.counted(2)
        assert lines[0] < lines[-1]
        url = first.url()
        names = {
            item["name"] for item in orch("triggers", "list", "--json", "--url", url).json["items"]
        }
        assert names == {"heartbeat", "nightly-report", "count-log"}
        assert orch("audit", "--url", url).code == 0
        runs = len(orch("runs", "list", "--json", "--url", url).json["items"])
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(20) == 0
        assert first.left() == []
        assert "Traceback" not in first.text
        assert "stopped" in first.text.splitlines()[-1]
    with _demo(state, tmp_path / "2", *_ANY) as second:
        again = second.counted()
        assert again[-1] > lines[0]
        continuing = re.search(r"continuing: ([\d,]+) runs in the ledger", second.text)
        assert continuing is not None
        assert int(continuing[1].replace(",", "")) >= runs
        assert orch("audit", "--url", second.url()).code == 0
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(20) == 0
    log = (state / "orch.log").read_text()
    assert "Traceback" not in log
    assert "[error" not in log


def test_goes_on_once_there_are_tokens(tmp_path: Path) -> None:
    """Whoever makes a token shuts out others, and not the demo: neither this one nor the next."""
    state = tmp_path / "state"
    with _demo(state, tmp_path / "1", *_ANY) as first:
        url = first.url()
        first.counted()
        token = orch("token", "create", "me", "--url", url).out.strip()
        assert orch("status", "--url", url).code == 1
        first.counted(len(first.counted()) + 2)
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(20) == 0
        assert "token" not in first.text
    with _demo(state, tmp_path / "2", *_ANY) as second:
        second.counted()
        assert orch("status", "--url", second.url(), env={"ORCH_TOKEN": token}).code == 0


def test_ends_by_itself_and_says_how_it_went(tmp_path: Path) -> None:
    """--for ends it: 0 once a counting run has succeeded, 1 and a reason where none could."""
    with _demo(tmp_path / "a", tmp_path / "1", *_ANY, "--for", "25s") as demo:
        assert demo.process.wait(120) == 0, demo.text
        assert _COUNT.search(demo.text)
    with _demo(tmp_path / "b", tmp_path / "2", *_ANY, "--for", "1ms") as demo:
        assert demo.process.wait(120) == 1
        assert "no run of count-log has succeeded" in demo.text
        assert demo.left() == []


def test_takes_other_ports_where_its_own_are_taken(tmp_path: Path) -> None:
    """A port in use is told and another one taken."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        taken = [server.getsockname()[1] for server in (one, two)]
        args = ("--listen", f"127.0.0.1:{taken[0]}", "--node", f"127.0.0.1:{taken[1]}")
        with _demo(tmp_path / "d", tmp_path / "out", *args) as demo:
            assert str(taken[0]) not in demo.url()
            for port in taken:
                assert f"port {port} is taken" in demo.text


def test_a_second_demo_on_the_directory(tmp_path: Path) -> None:
    """The second ends with 1 and one clear line; the first goes on."""
    with _demo(tmp_path / "d", tmp_path / "1", *_ANY) as first:
        url = first.url()
        with _demo(tmp_path / "d", tmp_path / "2", *_ANY) as second:
            assert second.process.wait(60) == 1
            assert f"another demo runs on {tmp_path / 'd'}: end it" in second.text
            assert "is taken" not in second.text
            assert "Traceback" not in second.text
        assert orch("status", "--url", url).code == 0


@pytest.mark.parametrize("blocker", ["file", "unwritable"])
def test_a_directory_that_cannot_be(tmp_path: Path, blocker: str) -> None:
    """A place where no state can be kept is told with the option."""
    place = tmp_path / "x"
    if blocker == "file":
        place.touch()
    else:
        place = Path("/proc/none")
    with _demo(place, tmp_path / "1", *_ANY) as demo:
        assert demo.process.wait(60) == 1
        assert "another --data-dir" in demo.text
