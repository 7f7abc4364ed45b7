"""Mode range of the Kafka connector: how fast 500 partitions are planned, and how soon a record has
its job.

A whole daemon and a stub at the pace of a real node, on a real broker. Planned means that the run
is in the ledger; accepted means that the node has answered and the answer is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import requests

from orchestrator.app import App
from orchestrator.cli.daemon import start_app
from orchestrator.domain.clock import SECOND
from orchestrator.store.streams import Streams
from tests.bench.processes import Place, StubNode
from tests.bench.report import Row, quantile
from tests.bench.watching import Accepted, now, running
from tests.support.kafka import Kafka
from tests.support.waiting import until

_PARTITIONS = 500
_WITHIN = 300.0
_REAL = ("--pace", "560", "--latency", "0.001", "--ends")


def run(place: Place) -> Iterator[Row]:
    """Measure; the first round of planning and the first second of waiting are a warm-up."""
    partitions, rounds, records = (20, 1, 5) if place.quick else (_PARTITIONS, 5, 150)
    kafka = Kafka.single()
    try:
        at = {"brokers": kafka.bootstrap}
        with StubNode(place, "ranges-node", *_REAL) as node:
            found = place.call(
                plan,
                **at,
                topic=kafka.topic(partitions),
                partitions=partitions,
                rounds=rounds,
                bacalhau=node.url,
                data_dir=str(place.fresh("plan")),
            )
        rates = [partitions / seconds for seconds in found["seconds"]]
        yield Row(
            what=f"planning, {partitions} partitions with one record each",
            unit="/s",
            orch=quantile(rates, 0.5),
            n=f"{rounds} x {partitions}",
            note=f"from the last record's acknowledgement until {partitions} runs are in the "
            f"ledger; slowest {min(rates):,.0f}/s",
        )
        with StubNode(place, "ranges-node", *_REAL) as node:
            lags = place.call(
                follow,
                **at,
                topic=kafka.topic(),
                records=records,
                bacalhau=node.url,
                data_dir=str(place.fresh("latency")),
            )["lags"]
        for part in (0.5, 0.99):
            yield Row(
                what=f"produced to accepted, max_wait 0, idle, p{part * 100:.0f}",
                unit="ms",
                orch=quantile(lags, part),
                n=f"{len(lags)}",
                note=f"worst {max(lags):,.1f} ms" if part > 0.5 else "from the acknowledgement on",
            )
    finally:
        kafka.close()
        place.done("plan")
        place.done("latency")


def plan(
    brokers: str, topic: str, partitions: int, rounds: int, bacalhau: str, data_dir: str
) -> dict[str, Any]:
    """Append a record to each partition, several times; seconds until all were planned."""
    seen: list[tuple[int, int]] = []  # when, how many partitions
    take_in = Streams.take_in

    def watched(self: Streams, source: Any, planned: Any, how: Any) -> set[str]:
        taken = take_in(self, source, planned, how)
        seen.append((now(), len(taken)))
        return taken

    Streams.take_in = watched
    seconds: list[float] = []
    with running(data_dir, bacalhau, max_in_flight=2 * partitions) as app:
        start_app(app)
        _register(app, brokers, topic, partitions)
        for _ in range(rounds + 1):
            seen.clear()
            begun = _produce(brokers, topic, range(partitions))
            until(
                lambda: sum(count for _, count in seen) >= partitions,
                f"{partitions} partitions are planned",
                within=_WITHIN,
                show=lambda: len(seen),
            )
            seconds.append(max(1, seen[-1][0] - begun) / SECOND)
            until(lambda: _open(app) == 0, "their runs end", within=_WITHIN)
    return {"seconds": seconds[1:]}


def follow(brokers: str, topic: str, records: int, bacalhau: str, data_dir: str) -> dict[str, Any]:
    """Append one record after the other; milliseconds until each had an accepted job."""
    lags: list[float] = []
    with running(data_dir, bacalhau) as app:
        accepted = Accepted(app)
        start_app(app)
        _register(app, brokers, topic, 1)
        for number in range(records + 3):
            produced = _produce(brokers, topic, [0])
            until(lambda n=number: len(accepted.runs) > n, "it is accepted", within=_WITHIN)
            lags.append((accepted.runs[number][1] - produced) / 1000)
            until(lambda: _open(app) == 0, "its run ends", within=_WITHIN)
    return {"lags": lags[3:]}


def _register(app: App, brokers: str, topic: str, partitions: int) -> None:
    trigger = {
        "apiVersion": "orch/v1", "kind": "kafka", "name": "bench", "topic": topic,
        "brokers": brokers, "mode": "range", "max_wait": "0s", "start": "earliest",
    }  # fmt: skip
    answer = requests.post(f"{app.server.url}/api/v1/triggers", json=trigger, timeout=30)
    if answer.status_code != 201:
        raise AssertionError(answer.text)
    uid = app.triggers.get("bench").uid
    until(
        lambda: len(app.reads.partitions(uid)) == partitions,
        "its partitions are found",
        within=_WITHIN,
    )


def _open(app: App) -> int:
    uid = app.triggers.get("bench").uid
    return sum(partition.open_runs for partition in app.source_store.partitions(uid))


def _produce(brokers: str, topic: str, partitions: Any) -> int:
    """A record for each partition; returns when the last was acknowledged, microseconds."""
    from confluent_kafka import Producer

    producer = _PRODUCERS.setdefault(
        brokers, Producer({"bootstrap.servers": brokers, "linger.ms": 0})
    )
    for partition in partitions:
        producer.produce(topic, b"x" * 100, None, partition)
    left = producer.flush(60)
    if left:
        raise AssertionError(f"{left} records were not delivered")
    return now()


_PRODUCERS: dict[str, Any] = {}
