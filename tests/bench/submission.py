"""Jobs submitted per second, against a plain loop of `requests.put` with as many threads.

All send the very same bytes to the same stub, in turn: orch, `requests.put` as it is called plainly
(a connection each), and a `requests.Session` a thread, which keeps its connection. The stub stands
once for a node at the pace of a real one (560 jobs/s whoever asks, about 1 ms more for each answer)
and once for one that answers at once, where all are bound by their own processor time: there orch
also renders, seals and commits what the loops find ready. The first turn and the first sixth of
each are a warm-up.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from statistics import median
from typing import Any

import requests

from orchestrator.cli.daemon import start_app
from orchestrator.domain.clock import SECOND
from tests.bench.population import group, populate
from tests.bench.processes import Place, StubNode
from tests.bench.report import Row
from tests.bench.watching import Accepted, now, running
from tests.support.waiting import until

_THREADS = 8
_WITHIN = 300.0
_REAL = ("--pace", "560", "--latency", "0.001")


def run(place: Place) -> Iterator[Row]:
    """Measure; all in turn, the first turn is a warm-up."""
    jobs, rounds, warm_up = (40, 1, 0) if place.quick else (3_000, 3, 1)
    for what, options in (("a node at its pace", _REAL), ("a stub that answers at once", ())):
        ours: list[float] = []
        plain: list[float] = []
        kept: list[float] = []
        with StubNode(place, "submission-node", *options) as node:
            for _ in range(warm_up + rounds):
                ours.append(_orch(place, node.url, jobs))
                for rates, session in ((kept, True), (plain, False)):
                    done = place.call(loop, bacalhau=node.url, threads=_THREADS, session=session)
                    rates.append(done["rate"])
                requests.get(f"{node.url}/bench/forget", timeout=10)
        note = f"{_THREADS} threads each; accepted and committed"
        for how, rates, target in (
            ("requests.put", plain, "; target 0.9" if options else ""),
            ("a requests.Session a thread", kept, ""),
        ):
            yield Row(
                what=f"submissions, {what}, against {how}",
                unit="/s",
                orch=median(ours[warm_up:]),
                peer=median(rates[warm_up:]),
                n=f"{rounds} x {jobs:,}",
                note=note + target,
            )


def _orch(place: Place, url: str, jobs: int) -> float:
    data_dir = place.fresh("submission")
    populate(place, data_dir, [group("put", jobs, now() - SECOND, variants=5, every="1d")])
    rate = place.call(submit, data_dir=str(data_dir), bacalhau=url, jobs=jobs)["rate"]
    place.done("submission")
    return rate


def submit(data_dir: str, bacalhau: str, jobs: int) -> dict[str, Any]:
    """Let a daemon submit what is ready; jobs a second until the last is committed as accepted."""
    with running(data_dir, bacalhau, max_in_flight=2 * jobs, send_threads=_THREADS) as app:
        app.firing.run_once()
        accepted = Accepted(app)
        start_app(app)
        until(
            lambda: len(accepted.runs) >= jobs,
            f"{jobs} jobs accepted",
            within=_WITHIN,
            show=lambda: (len(accepted.runs), app.cluster.status),
        )
    return {"rate": _rate(bacalhau, max(at for _, at in accepted.runs))}


def _rate(bacalhau: str, end: int) -> float:
    """Jobs a second up to `end`, from when the node had seen the first sixth: a warm-up."""
    puts = requests.get(f"{bacalhau}/bench/puts", timeout=60).json()
    warm_up = len(puts) // 6
    return (len(puts) - warm_up) / (end - puts[warm_up][0]) * SECOND


def loop(bacalhau: str, threads: int, session: bool) -> dict[str, Any]:
    """PUT what the node was sent before once more; jobs a second."""
    answer = requests.get(f"{bacalhau}/bench/bodies", timeout=60).content
    bodies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for body in answer.split(b"\n"):
        bodies.put(body)
    requests.get(f"{bacalhau}/bench/forget", timeout=60)

    def work() -> None:
        with requests.Session() as kept:
            put = kept.put if session else requests.put
            while True:
                try:
                    body = bodies.get_nowait()
                except queue.Empty:
                    return
                answer = put(
                    f"{bacalhau}/api/v1/orchestrator/jobs",
                    data=body,
                    headers={"Content-Type": "application/json"},
                    timeout=30,
                )
                answer.raise_for_status()
                answer.json()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {"rate": _rate(bacalhau, now())}
