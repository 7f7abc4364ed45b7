"""From a real broker to jobs: poison, and logs whose offsets have gaps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.kafka.cluster import TopicPartition
from connectors.kafka.connection import Connection
from connectors.kafka.reader import open_reader
from tests.support.inprocess import Orch
from tests.support.kafka import Kafka
from tests.support.kafkajobs import given, kafka_shell
from tests.support.ranges import leaves, ranges_tile
from tests.support.streamview import shown, until_done
from tests.support.waiting import until

Start = Callable[..., Orch]


@pytest.mark.parametrize("mode", ["range", "buffer"])
def test_one_poison_record_of_1000(start: Start, kafka: Kafka, tmp_path: Path, mode: str) -> None:
    """It is isolated in at most 20 further runs and is among the dead letters with its offset and
    its value; every other record is in a run that succeeded, and the partition has gone on."""
    topic, poison = kafka.topic(), 637
    values = [b"poison" if n == poison else b"good-%d" % n for n in range(1_000)]
    kafka.produce(topic, 0, values)
    script = f"! {{ [ $START -le {poison} ] && [ $END -gt {poison} ]; }}"
    if mode == "buffer":
        script = "! grep -q poison /orch/batch.ndjson"
    orch = start()
    orch.register(
        kafka_shell(
            *("logs", topic, kafka.bootstrap, tmp_path / "out", script),
            mode=mode,
            max_records=1_000,
            on_dead="bisect",
            retry={"max_attempts": 1},
        )
    )
    until_done(orch, "logs", {f"{topic}/0": 1_000})
    runs = shown(orch, "logs")
    assert len(runs) - 1 <= 20
    ranges_tile(runs, {f"{topic}/0": 1_000}, states={"succeeded", "dead"})
    [dead] = [run for run in runs if run["state"] == "dead"]
    command = [sys.executable, "-m", "orchestrator", "runs", "show", dead["id"], "--json"]
    listed = json.loads(subprocess.check_output([*command, "--url", orch.app.server.url]))
    assert listed["range"] == {"start": str(poison), "end": str(poison + 1)}
    record = listed["kept"]["record"]
    assert (record["offset"], record["value"]) == (poison, "poison")
    kafka.produce(topic, 0, [b"more"])
    until_done(orch, "logs", {f"{topic}/0": 1_001})
    orch.audit()


def _visible(kafka: Kafka, topic: str, end: int) -> list[int]:
    """The offsets that a consumer of committed records sees."""
    reader = open_reader(Connection(brokers=(kafka.bootstrap,)), "confluent")
    place = TopicPartition(topic, 0)
    found: list[int] = []
    try:
        reader.assign({place: 0})

        def read() -> bool:
            for chunk in reader.read(10_000, 0.2):
                found.extend(chunk.offsets())
            return reader.positions[place] >= end

        until(read, f"read up to {end}")
    finally:
        reader.close()
    return found


def _counts_are_right(orch: Orch, topic: str, end: int, visible: list[int]) -> None:
    """The ranges tile to the end, and each task has counted what is to be seen of its own."""
    until_done(orch, "logs", {f"{topic}/0": end}, within=90)
    runs = shown(orch, "logs")
    ranges_tile(runs, {f"{topic}/0": end}, states={"succeeded", "skipped"})
    for run in leaves(runs):
        start, stop = int(run["range"]["start"]), int(run["range"]["end"])
        mine = [offset for offset in visible if start <= offset < stop]
        if run["state"] == "skipped":
            assert not mine, run
            continue
        told = json.loads(run["attempts"][-1]["stdout"])
        assert told["count"] == len(mine), run
        assert (told["first"], told["last"]) == ((mine[0], mine[-1]) if mine else (None, None))
    orch.audit()


@pytest.mark.parametrize("mode", ["range", "buffer"])
def test_aborted_transactions(start: Start, kafka: Kafka, mode: str) -> None:
    """Markers and aborted records take offsets: ranges over them succeed with the right counts,
    also one that holds nothing else, and nothing waits behind the last marker."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b"plain"] * 30)
    with kafka.transaction() as transaction:
        for number in range(6):
            transaction.send(topic, 0, [b"in a transaction"] * 25)
            transaction.commit() if number % 3 == 0 else transaction.abort()
            transaction.begin()
    end = 30 + 6 * 26
    visible = _visible(kafka, topic, end)
    assert len(visible) == 30 + 2 * 25
    orch = start()
    more = {"max_age": "100ms"} if mode == "buffer" else {"max_wait": 0}
    orch.register(given("kafka", "logs", topic, kafka.bootstrap, mode=mode, max_records=20, **more))
    if mode == "range":
        _counts_are_right(orch, topic, end, visible)
        return
    # What follows the last record goes into the ledger later; no record is left behind.
    until(
        lambda: (
            sum(
                json.loads(run["attempts"][-1]["stdout"])["count"]
                for run in shown(orch, "logs")
                if run["state"] == "succeeded"
            )
            == len(visible)
        ),
        "all are counted",
        within=60,
        show=lambda: shown(orch, "logs"),
    )
    orch.audit()


def test_a_compacted_topic(start: Start, kafka: Kafka) -> None:
    """Compaction leaves gaps in the offsets: no loss, and the counts are of what is there."""
    configs = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "100",
    }
    topic, end = kafka.topic(configs=configs), 0

    def compacted() -> bool:
        nonlocal end
        kafka.produce(topic, 0, [b"x"] * 50, keys=[b"k%d" % (n % 3) for n in range(50)])
        end += 50
        return end >= 200 and len(_visible(kafka, topic, end)) < end // 2

    until(compacted, "compacted", within=90, show=lambda: end)
    orch = start()
    orch.register(
        given("kafka", "logs", topic, kafka.bootstrap, max_records=end // 4 + 1, max_wait=0)
    )
    until_done(orch, "logs", {f"{topic}/0": end}, within=90)
    runs = shown(orch, "logs")
    ranges_tile(runs, {f"{topic}/0": end})
    told = [json.loads(run["attempts"][-1]["stdout"]) for run in runs]
    # It may have been compacted further meanwhile, but never the newest of a key.
    assert told[-1]["last"] == end - 1
    assert 3 <= sum(one["count"] for one in told) < end
    orch.audit()
