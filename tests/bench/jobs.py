"""Jobs over HTTP: asked for one by one and in bulk, and a million of the future.

Against `orch serve` and the stub of a node, until each answer (after its commit) is there. Then,
beside a million that are for next year: how much memory they take, and how long it is from the
second at which 10,000 are due until the last of them may start.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from tests.bench.population import JOB
from tests.bench.processes import Daemon, Failed, Place, StubNode, resident_mb
from tests.bench.report import Row
from tests.support.waiting import until

_THREADS = 8
_BATCH = 10_000
_HEADERS = {"Content-Type": "application/json"}
_NAME = "bench"


def run(place: Place) -> Iterator[Row]:
    """Measure; the daemon is asked for a few before it counts."""
    single, bulk, many, due = (50, 100, 200, 40) if place.quick else (5_000, 100_000, 10**6, 10_000)
    data_dir = place.fresh("jobs")
    with (
        StubNode(place, "jobs-node") as node,
        Daemon(place, data_dir, node.url) as daemon,
    ):
        desk = _Desk(daemon.url)
        desk.register()
        _apart(desk, 20)
        for threads in (1, _THREADS):
            yield Row(
                what=f"POST /jobs, {threads} at once", unit="/s",
                orch=single / _apart(desk, single, threads), n=f"{single:,}",
                note="a run in the ledger for each answer",
            )  # fmt: skip
        yield Row(
            what="POST /jobs:batch", unit="/s", orch=bulk / _in_bulk(desk, bulk, "365d"),
            n=f"{bulk:,} by {min(bulk, _BATCH):,}",
        )  # fmt: skip
        before = resident_mb(daemon.process.pid)
        _in_bulk(desk, many, "365d")
        held = resident_mb(daemon.process.pid)
        yield Row(
            what="memory for jobs of the future", unit="MB", orch=held - before, n=f"{many:,}",
            note=f"resident, beyond {before:.0f} MB; peak {daemon.peak_mb():.0f} MB",
        )  # fmt: skip
        yield Row(
            what="from the due second until the last may start", unit="s",
            orch=_fired(desk, data_dir, due), n=f"{due:,} in one second, beside {many + bulk:,}",
        )  # fmt: skip
    place.done("jobs")


class _Desk:
    """Requests; one session for each thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._local = threading.local()

    def send(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        answer = session.request(
            method, self.url + path, data=json.dumps(body or {}), headers=_HEADERS,
            params=params, timeout=600,
        )  # fmt: skip
        if not answer.ok:
            raise Failed(answer.text[:2000])
        return answer.json()

    def register(self) -> None:
        """The template of all of them."""
        file = {"apiVersion": "orch/v1", "kind": "job", "name": _NAME, "job": JOB}
        self.send("POST", "/api/v1/triggers", file)


def _apart(desk: _Desk, count: int, threads: int = 1) -> float:
    """Ask for jobs one by one; returns the seconds that took."""
    left = iter(range(count))
    lock = threading.Lock()

    def ask() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            desk.send("POST", "/jobs", {"template": _NAME, "delay": "365d"})

    workers = [threading.Thread(target=ask) for _ in range(threads)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return time.perf_counter() - begin


def _in_bulk(desk: _Desk, count: int, delay: str) -> float:
    seconds = 0.0
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        body = {"jobs": [{"template": _NAME, "delay": delay}] * size}
        begin = time.perf_counter()
        desk.send("POST", "/jobs:batch", body)
        seconds += time.perf_counter() - begin
    return seconds


def _fired(desk: _Desk, data_dir: Path, count: int) -> float:
    """Seconds from the due second until none of `count` jobs waits for it any more."""
    due = int(time.time()) + 5
    at = datetime.fromtimestamp(due, UTC).isoformat()
    desk.send("POST", "/jobs:batch", {"jobs": [{"template": _NAME, "run_at": at}] * count})
    question = "SELECT count(*) FROM runs WHERE queue = 'future' AND not_before <= ?"
    with closing(sqlite3.connect(f"file:{data_dir / 'orch.db'}?mode=ro", uri=True)) as store:

        def left() -> int:
            return store.execute(question, (due * 1_000_000,)).fetchone()[0]

        if left() != count:
            raise Failed(f"{left():,} of {count:,} wait for the second")
        return until(lambda: not left() and time.time(), "all are in line", within=300) - due
