"""Schedules registered per second: over HTTP in batches, and from a directory of files.

Both against `orch serve`, checks and all, until each answer (after its commit) is there; the files
by `orch apply -f`, which reads and checks them as well. APScheduler: `add_job` one by one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
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
        yield Row(
            what=f"registration of {count:,} files, orch apply -f DIR",
            unit="/s",
            orch=count / _from_files(place, node.url, count),
            peer=theirs,
            n=f"{count:,} YAML files",
            note="whole command, start included",
        )


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


def _from_files(place: Place, bacalhau: str, count: int) -> float:
    data_dir, directory = place.fresh("apply"), place.fresh("apply-files")
    _write(directory, count)
    with Daemon(place, data_dir, bacalhau) as daemon:
        url = daemon.url
        begin = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", "apply", "-f", str(directory), "--url", url],
            cwd=place.root,
            env=place.environment(),
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - begin
        if done.returncode:
            raise Failed(f"orch apply ended with {done.returncode}: {done.stderr[-2000:]}")
        last = requests.get(f"{url}/api/v1/triggers/job-{count - 1:07}", timeout=30)
        if last.status_code != 200:
            raise Failed(last.text[:2000])
    place.done("apply")
    place.done("apply-files")
    return seconds


def _write(directory: Path, count: int) -> None:
    """Files as a person writes them."""
    task = JOB["Tasks"][0]
    parameters = task["Engine"]["Params"]
    for index in range(count):
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
            f"          Parameters: {json.dumps(parameters['Parameters'])}\n"
        )
