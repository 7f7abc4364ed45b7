"""The SQS connector on ElasticMQ: messages received, handed over and deleted, per second.

The source alone, as whoever runs it uses it: one thread polls, another one acknowledges. Compared,
in turn and on the same server, with loops over boto3 that receive ten and delete ten; the client is
their limit, not the server. And what many quiet queues cost in one process.
"""

from __future__ import annotations

import os
import queue as queues
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from connectors.queues import Delivery, Inbox
from connectors.sqs.settings import parse_settings
from connectors.sqs.source import SqsSource
from connectors.streams import SourceContext
from tests.bench.processes import Place, resident_mb
from tests.bench.report import Row
from tests.support.elasticmq import ENVIRONMENT, REGION, ElasticMq
from tests.support.waiting import until

_BODY = "x" * 200
_ROOM = 1000
_THREADS = 4
_TURNS = 3


def run(place: Place) -> Iterator[Row]:
    """Measure; the server is warm when it counts."""
    count = 400 if place.quick else 20_000
    many = 20 if place.quick else 1_000
    server = ElasticMq()
    try:
        for threads in (1, _THREADS):
            _measured(place, server, bare, 100 if place.quick else 10_000, threads=threads)
        alone: list[float] = []
        beside: list[float] = []
        ours: list[dict[str, Any]] = []
        for _ in range(1 if place.quick else _TURNS):
            alone.append(_measured(place, server, bare, count, threads=1)["rate"])
            beside.append(_measured(place, server, bare, count, threads=_THREADS)["rate"])
            ours.append(_measured(place, server, consumed, count))
        single, several = median(alone), median(beside)
        peak = max(got["peak_mb"] for got in ours)
        yield Row(
            what="received, handed over and deleted",
            unit="/s", orch=median(got["rate"] for got in ours), peer=max(single, several),
            n=f"{len(ours)} x {count:,}",
            note=f"target 0.8; peak {peak:.0f} MB; bare loops: one thread {single:,.0f}, "
            f"{_THREADS} threads {several:,.0f}",
        )  # fmt: skip
        urls = [server.queue() for _ in range(many)]
        idle = place.call(quiet, urls=urls)
        yield Row(
            what="quiet queues in one process", unit="MB", orch=idle["mb"], n=f"{many:,}",
            note=f"beyond the first one; {idle['threads']} threads, all waiting after "
            f"{idle['seconds']:.1f} s",
        )  # fmt: skip
    finally:
        server.close()


def _measured(
    place: Place, server: ElasticMq, how: Any, count: int, **options: int
) -> dict[str, Any]:
    url = server.queue(VisibilityTimeout="600")
    server.send(url, (_BODY for _ in range(count)))
    result = place.call(how, url=url, count=count, **options)
    assert server.left(url) == (0, 0)
    return result


def _open(url: str) -> SqsSource:
    os.environ.update(ENVIRONMENT)
    context = SourceContext(
        instance="bench", trigger="bench", trigger_uid="u", secrets={},
        data_dir=Path.cwd() / "own", stop=threading.Event(),
    )  # fmt: skip
    settings = parse_settings({"queue": url, "region": REGION, "max_pollers": _THREADS})
    return SqsSource(settings, context, Inbox(cursor=None, known=lambda _: set()))


def consumed(url: str, count: int) -> dict[str, Any]:
    """Let the source give `count` messages, and acknowledge each."""
    source = _open(url)
    handed: queues.SimpleQueue[list[Delivery]] = queues.SimpleQueue()
    done = threading.Event()
    seen: set[str] = set()

    def acknowledge() -> None:
        left = count
        while left:
            left -= len(source.acknowledge(handed.get()))
        done.set()

    teller = threading.Thread(target=acknowledge, daemon=True)
    until(lambda: source.poll(0, 0.05).cursor, "it is connected, as a bare loop is", within=60)
    began = time.monotonic()
    teller.start()
    while len(seen) < count:
        messages = source.poll(_ROOM, 0.5).messages
        seen.update(message.id for message in messages)
        if messages:
            handed.put([Delivery(id=m.id, receipt=m.receipt) for m in messages])
    done.wait()
    rate = count / (time.monotonic() - began)
    source.close()
    return {"rate": rate}


def bare(url: str, count: int, threads: int) -> dict[str, Any]:
    """Receive ten and delete ten, by so many threads with one client."""
    from boto3.session import Session

    os.environ.update(ENVIRONMENT)
    client: Any = Session().client("sqs", endpoint_url=url.rpartition("/0")[0], region_name=REGION)
    lock = threading.Lock()
    left = count

    def loop() -> None:
        nonlocal left
        while left > 0:
            found = client.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            ).get("Messages", ())  # fmt: skip
            if found:
                client.delete_message_batch(
                    QueueUrl=url,
                    Entries=[
                        {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]}
                        for n, message in enumerate(found)
                    ],
                )
                with lock:
                    left -= len(found)

    workers = [threading.Thread(target=loop) for _ in range(threads)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rate = count / (time.monotonic() - began)
    client.close()
    return {"rate": rate}


def quiet(urls: list[str]) -> dict[str, Any]:
    """Open a source for each queue, and let all of them wait for what does not come."""
    first = _open(urls[0])
    until(lambda: first.poll(10, 0.01).cursor, "the first one waits", within=60)
    before = resident_mb()
    began = time.monotonic()
    others = [_open(url) for url in urls[1:]]
    waiting: set[SqsSource] = set()

    def all_wait() -> bool:
        waiting.update(s for s in others if s not in waiting and s.poll(10, 0.001).cursor)
        return len(waiting) == len(others)

    until(all_wait, "all wait", within=300, show=lambda: len(waiting))
    return {
        "mb": resident_mb() - before,
        "threads": threading.active_count(),
        "seconds": time.monotonic() - began,
    }
