"""Processes of their own for what is measured: a function, the daemon, the stub of a node.

Memory is `VmHWM` of /proc: unlike `ru_maxrss` it owes nothing to the process that started it.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
_STOP_WITHIN = 30.0  # seconds
_RESULT = "result: "


class Failed(Exception):
    """A process did not do its part; the message holds what it said."""


class Place:
    """A directory on a real disk, and how much is to be measured."""

    def __init__(self, root: Path, *, quick: bool = False) -> None:
        self.root = root.resolve()
        self.quick = quick
        self.root.mkdir(parents=True, exist_ok=True)

    def fresh(self, name: str) -> Path:
        """An empty directory."""
        path = self.root / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    def done(self, name: str) -> None:
        """Remove one of them."""
        shutil.rmtree(self.root / name, ignore_errors=True)

    def environment(self) -> dict[str, str]:
        """For child processes: modules compiled once, as an installation has them."""
        own = {k: v for k, v in os.environ.items() if not k.startswith(("ORCH_", "PYTHON"))}
        return own | {
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(self.root / "pycache"),
            "PYTHONUNBUFFERED": "1",
        }

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Call a module's function in a process of its own; arguments and result are JSON.

        A dictionary that comes back has the process's `peak_mb` with it.
        """
        target = f"{function.__module__}:{function.__qualname__}"
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.processes", target, json.dumps(arguments)],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        results = [line for line in done.stdout.splitlines() if line.startswith(_RESULT)]
        if done.returncode or not results:
            raise Failed(f"{target} ended with {done.returncode}: {done.stdout[-2000:]}")
        return json.loads(results[-1].removeprefix(_RESULT))


def peak_mb(pid: int | str = "self") -> float:
    """The most memory that a process has held so far, MB."""
    return _memory(pid, "VmHWM")


def resident_mb(pid: int | str = "self") -> float:
    """The memory that a process holds now, MB."""
    return _memory(pid, "VmRSS")


def _memory(pid: int | str, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / 1e6
    raise Failed(f"/proc/{pid}/status has no {key}")


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Child:
    """A process that goes on until it is told to end. A context manager."""

    def __init__(self, place: Place, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=place.root,
                env=place.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def find(self, key: str, *, within: float = 60.0, **fields: str) -> str:
        """Wait for a line of JSON in the log with these fields; returns its `key`."""

        def look() -> str | None:
            if self.process.poll() is not None:
                raise Failed(f"ended with {self.process.returncode}: {self.tail()}")
            for line in self.log.read_text().splitlines():
                if line.startswith("{") and line.endswith("}"):
                    entry = json.loads(line)
                    if key in entry and all(entry.get(k) == v for k, v in fields.items()):
                        return str(entry[key])
            return None

        return until(look, f"{key} in {self.log.name}", within=within, show=self.tail)

    def tail(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text()[-2000:]

    def peak_mb(self) -> float:
        """The most memory it has held."""
        return peak_mb(self.process.pid)

    def cpu_seconds(self) -> float:
        """The processor time that it has used."""
        return cpu_seconds(self.process.pid)

    def stop(self) -> None:
        """Ask it to end, and see to it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(_STOP_WITHIN)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.process.kill()
        self.process.wait()


class Daemon(Child):
    """`orch serve` on a free port of loopback."""

    def __init__(self, place: Place, data_dir: Path, bacalhau: str, *options: str) -> None:
        super().__init__(
            place,
            data_dir / "bench.log",
            *("-m", "orchestrator", "serve", "--data-dir", str(data_dir)),
            *("--bacalhau", bacalhau, "--listen", "127.0.0.1:0", "--log-json"),
            *options,
        )

    @property
    def url(self) -> str:
        """Where its API is, once it is there."""
        return self.find("url", event="API")


class StubNode(Child):
    """The stub of a Bacalhau node; see `stub`."""

    def __init__(self, place: Place, name: str, *options: str) -> None:
        log = place.root / f"{name}.log"
        super().__init__(place, log, "-m", "tests.bench.stub", *options)
        self.url = self.find("url")


def _main(target: str, arguments: str) -> None:
    module, _, name = target.partition(":")
    result = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    if isinstance(result, dict):
        result["peak_mb"] = peak_mb()
    sys.stdout.write(f"{_RESULT}{json.dumps(result)}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
