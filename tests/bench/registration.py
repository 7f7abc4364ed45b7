"""Schedules registered per second: over HTTP in batches, and from a directory of files.

Both against `orch serve`, checks and all, until each answer (after its commit) is there; the files
by `orch apply -f`, which reads and checks them as well; then again while nothing has changed, and
with a hundred files changed. APScheduler: `add_job` one by one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.bench import peer
from tests.bench.population import JOB, document
from tests.bench.processes import Daemon, Failed, Place, StubNode
from tests.bench.report import Row

_BATCH = 1000
_ELSEWHERE = "elsewhere: dkron 189-1,000/s, slowing down; Later 2,300/s"


def run(place: Place) -> Iterator[Row]:
    """Measure. The first tenth and the last are told apart: does it slow down as it fills?"""
    count, added = (60, 30) if place.quick else (100_000, 3_000)
    batch = 10 if place.quick else _BATCH
    other = place.call(peer.register, file=str(place.fresh("peer") / "jobs.db"), count=added)
    place.done("peer")
    theirs = added / other["seconds"]
    with StubNode(place, "registration-node") as node:
        seconds, peak = _over_http(place, node.url, count, batch)
        tenth = max(1, len(seconds) // 10)
        yield Row(
            what=f"registration of {count:,}, POST triggers:batch",
            unit="/s",
            orch=count / sum(seconds),
            peer=theirs,
            n=f"{count:,} by {batch:,}; peer {added:,}",
            note=f"peer: add_job; {_ELSEWHERE}; daemon's peak {peak:.0f} MB",
        )
        yield Row(
            what="registration, the last tenth against the first",
            unit="/s",
            orch=tenth * batch / sum(seconds[-tenth:]),
            peer=tenth * batch / sum(seconds[:tenth]),
            n=f"{tenth * batch:,} each",
            note="peer: orch itself while the store is empty",
        )
        yield from _from_files(place, node.url, count, theirs)


def _settings(index: int) -> dict[str, Any]:
    """Next year's: nothing is due while it is registered."""
    return {"schedule": f"{index % 60} {index // 60 % 24} 1 1 *"}


def _over_http(place: Place, bacalhau: str, count: int, size: int) -> tuple[list[float], float]:
    data_dir = place.fresh("registration")
    seconds: list[float] = []
    with Daemon(place, data_dir, bacalhau) as daemon, requests.Session() as session:
        url = f"{daemon.url}/api/v1/triggers:batch"
        for start in range(0, count, size):
            body = {
                "triggers": [
                    document(f"job-{i:07}", **_settings(i)) for i in range(start, start + size)
                ]
            }
            data = json.dumps(body).encode()
            begin = time.perf_counter()
            answer = session.post(
                url, data=data, headers={"Content-Type": "application/json"}, timeout=300
            )
            seconds.append(time.perf_counter() - begin)
            if answer.status_code != 201:
                raise Failed(answer.text[:2000])
        peak = daemon.peak_mb()
    place.done("registration")
    return seconds, peak


def _from_files(place: Place, bacalhau: str, count: int, theirs: float) -> Iterator[Row]:
    data_dir, directory = place.fresh("apply"), place.fresh("apply-files")
    _write(directory, count)
    with Daemon(place, data_dir, bacalhau) as daemon:
        command = _Command(place, daemon, directory)
        first = command("apply")
        yield Row(
            what=f"registration of {count:,} files, orch apply -f DIR",
            unit="/s",
            orch=count / first.seconds,
            peer=theirs,
            n=f"{count:,} YAML files",
            note=f"whole command, start included; {first.told()}",
        )
        last = requests.get(f"{daemon.url}/api/v1/triggers/job-{count - 1:07}", timeout=30)
        if last.status_code != 200:
            raise Failed(last.text[:2000])
        for name in ("apply", "diff"):
            done = command(name)
            yield Row(
                what=f"orch {name} -f DIR, {count:,} files, unchanged",
                unit="/s",
                orch=count / done.seconds,
                n=f"{count:,} YAML files",
                note=done.told(),
            )
        changed = _write(directory, count, every=max(1, count // 100), text="other")
        done = command("apply")
        yield Row(
            what=f"orch apply -f DIR, {count:,} files, {changed:,} of them changed",
            unit="/s",
            orch=count / done.seconds,
            n=f"{count:,} YAML files",
            note=done.told(),
        )
    place.done("apply")
    place.done("apply-files")


@dataclass(frozen=True, kw_only=True)
class _Cost:
    seconds: float
    client: float  # seconds of processor time
    daemon: float
    peak_mb: float  # of the client

    def told(self) -> str:
        return (
            f"{self.seconds:.0f} s; CPU: command {self.client:.0f} s, daemon {self.daemon:.0f} s; "
            f"command's peak {self.peak_mb:.0f} MB"
        )


class _Command:
    """`orch` on a directory of files, and what it costs."""

    def __init__(self, place: Place, daemon: Daemon, directory: Path) -> None:
        self._place = place
        self._daemon = daemon
        self._target = ("-f", str(directory), "--url", daemon.url)

    def __call__(self, name: str) -> _Cost:
        before, begin = self._daemon.cpu_seconds(), time.perf_counter()
        done = self._place.call(orch, arguments=[name, *self._target])
        seconds = time.perf_counter() - begin
        if done["code"]:
            raise Failed(f"orch {name} ended with {done['code']}")
        return _Cost(
            seconds=seconds,
            client=done["cpu_seconds"],
            daemon=self._daemon.cpu_seconds() - before,
            peak_mb=done["peak_mb"],
        )


def orch(arguments: list[str]) -> dict[str, Any]:
    """Carry out a command in this process."""
    from orchestrator.cli.root import run

    code: Any = 0
    try:
        run(arguments)
    except SystemExit as end:
        code = end.code
    return {"code": code, "cpu_seconds": time.process_time()}


def _write(directory: Path, count: int, *, every: int = 1, text: str = "") -> int:
    """Files as a person writes them: each, or some of them with another command."""
    task = JOB["Tasks"][0]
    parameters = task["Engine"]["Params"]
    words = json.dumps([*parameters["Parameters"], text] if text else parameters["Parameters"])
    numbers = range(0, count, every)
    for index in numbers:
        (directory / f"job-{index:07}.yaml").write_text(
            "apiVersion: orch/v1\n"
            "kind: cron\n"
            f"name: job-{index:07}\n"
            f'schedule: "{_settings(index)["schedule"]}"\n'
            "job:\n"
            "  Type: batch\n"
            "  Tasks:\n"
            f"    - Name: {task['Name']}\n"
            "      Engine:\n"
            "        Type: docker\n"
            "        Params:\n"
            f"          Image: {parameters['Image']}\n"
            f"          Entrypoint: [{parameters['Entrypoint'][0]}]\n"
            f"          Parameters: {words}\n"
        )
    return len(numbers)
