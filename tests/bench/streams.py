"""Mode buffer of the Kafka connector: from the broker's log into files, records per second.

Records of 200 bytes in 12 partitions, files of 10,000 in a local directory (temporary name, fsync,
rename). Compared, in the same run, with loops that only read: what a client gives at best. Other
software's figures are published ones for a machine of this size.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from connectors.kafka.buffer import BufferSource
from connectors.kafka.settings import parse_settings
from connectors.streams import SourceContext, Want
from tests.bench.processes import Place
from tests.bench.report import Row
from tests.support.kafka import Kafka

_PARTITIONS = 12
_FILE = 10_000
_RECORD = 200
_ROOM = 2  # what a trigger gives a partition whose runs drain
_CONNECT = "Redpanda Connect 4.106 on two cores: {}/s, 190-250 MB"
_ELSEWHERE = {"none": _CONNECT.format("780,000"), "zstd": _CONNECT.format("555,000"),
              "gzip": _CONNECT.format("535,000")}  # fmt: skip


def run(place: Place) -> Iterator[Row]:
    """Measure; files go to the same disk as the broker's log."""
    many, few = (240_000, 40_000) if place.quick else (2_400_000, 480_000)
    passes = 1 if place.quick else 5
    kafka = Kafka.single(settings={"log.segment.bytes": "268435456"})
    try:
        topic = _fill(kafka, many)
        at: dict[str, Any] = {"brokers": kafka.bootstrap, "topic": topic}
        tuned = place.call(bare_confluent, **at, count=many, backoff=10)["rate"]
        plain = place.call(bare_confluent, **at, count=many // 4, backoff=1000)["rate"]
        slow = place.call(bare_python, **at, count=few)["rate"]
        yield Row(
            what="a loop over confluent-kafka, fetch.queue.backoff.ms=10, against its default",
            unit="/s", orch=tuned, peer=plain, n=f"{many:,}", note="reads, and does nothing else",
        )  # fmt: skip
        for form in ("values", "ndjson"):
            for compression in ("none", "zstd", "gzip"):
                got = _buffered(
                    place, at, client="confluent", form=form, compression=compression, count=many
                )
                yield Row(
                    what=f"{form}, {_words(compression)}, confluent",
                    unit="/s", orch=got["rate"], peer=tuned, n=f"{many:,}",
                    note=f"peak {got['peak_mb']:.0f} MB. {_ELSEWHERE[compression]}",
                )  # fmt: skip
        for form in ("values", "ndjson"):
            got = _buffered(
                place, at, client="kafka-python", form=form, compression="none", count=few
            )
            yield Row(
                what=f"{form}, uncompressed, kafka-python",
                unit="/s", orch=got["rate"], peer=slow, n=f"{few:,}",
                note=f"target 0.8; peak {got['peak_mb']:.0f} MB",
            )  # fmt: skip
        got = _buffered(
            place, at, client="confluent", form="values", compression="none", count=many,
            passes=passes,
        )  # fmt: skip
        yield Row(
            what="memory at the peak", unit="MB", orch=got["peak_mb"],
            n=f"{passes * many:,}", note=f"{got['rate']:,.0f}/s meanwhile",
        )  # fmt: skip
    finally:
        kafka.close()


def _words(compression: str) -> str:
    return "uncompressed" if compression == "none" else compression


def _fill(kafka: Kafka, count: int) -> str:
    """Records of JSON-like text that compresses as logs do."""
    topic = kafka.topic(_PARTITIONS)
    per = count // _PARTITIONS
    for partition in range(_PARTITIONS):
        kafka.produce(topic, partition, (_value(partition, i) for i in range(per)))
    return topic


def _value(partition: int, number: int) -> bytes:
    text = b'{"host":"web-%02d","seq":%012d,"level":"info","path":"/api/items/%08x","took":%d,' % (
        partition, number, number * 2654435761 & 0xFFFFFFFF, number % 977,
    )  # fmt: skip
    return (text + b'"text":"' + b"lorem ipsum dolor sit amet " * 8)[: _RECORD - 2] + b'"}'


def _buffered(place: Place, at: dict[str, Any], **how: Any) -> dict[str, Any]:
    directory = place.fresh("streams")
    try:
        return place.call(buffered, **at, **how, directory=str(directory))
    finally:
        place.done("streams")


def buffered(
    brokers: str,
    topic: str,
    client: str,
    form: str,
    compression: str,
    count: int,
    directory: str,
    passes: int = 1,
) -> dict[str, Any]:
    """Let the source put `count` records into files, as often as asked; who runs it takes in what
    it hands over at once."""
    settings = parse_settings(
        {
            "topic": topic, "brokers": brokers, "mode": "buffer", "client": client, "format": form,
            "compression": compression, "max_records": _FILE, "storage": f"{directory}/files",
        }
    )  # fmt: skip
    context = SourceContext(
        instance="bench", trigger="bench", trigger_uid="u", secrets={},
        data_dir=Path(directory, "own"), stop=threading.Event(),
    )  # fmt: skip
    source = BufferSource(settings, context)
    first = source.discover({}).partitions
    taken, spent = 0, 0.0
    for _ in range(passes):
        places = dict(first)  # from the second pass on: set back
        began = time.monotonic()
        here = before = _poll(source, places)  # connects
        enough = max(count // 4, count - _FILE * _PARTITIONS)
        if here < enough:  # otherwise there is too little to leave that out
            began = time.monotonic()
        else:
            before = 0
        while here < enough:
            here += _poll(source, places)
        spent += time.monotonic() - began
        taken += here - before
        # The source reads ahead: only what is whole is removed, not what is being written.
        for file in Path(directory, "files").rglob("batch.*"):
            file.unlink(missing_ok=True)
    source.close()
    return {"rate": taken / spent}


def _poll(source: BufferSource, places: dict[str, str]) -> int:
    wants = [Want(partition=name, position=at, room=_ROOM) for name, at in places.items()]
    taken = 0
    for batch in source.poll(wants, 1.0):
        places[batch.partition] = batch.end
        taken += batch.count or 0
    return taken


def bare_confluent(brokers: str, topic: str, count: int, backoff: int) -> dict[str, Any]:
    """Read `count` records, 10,000 at a time, and look at their values."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": brokers, "group.id": f"bare-{os.getpid()}",
            "enable.auto.commit": False, "fetch.queue.backoff.ms": backoff,
        }
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, n, 0) for n in range(_PARTITIONS)])
    seen = len(consumer.consume(1, 30))
    began = time.monotonic()
    while seen < count:
        seen += len([message.value() for message in consumer.consume(10_000, 0.1)])
    rate = seen / (time.monotonic() - began)
    consumer.close()
    return {"rate": rate}


def bare_python(brokers: str, topic: str, count: int) -> dict[str, Any]:
    """The same with kafka-python."""
    from kafka import consumer as module
    from kafka import structs

    make: Any = module.KafkaConsumer
    consumer = make(bootstrap_servers=brokers, enable_auto_commit=False, max_poll_records=10_000)
    places = [structs.TopicPartition(topic, n) for n in range(_PARTITIONS)]
    consumer.assign(places)
    for one in places:
        consumer.seek(one, 0)
    seen = sum(map(len, consumer.poll(30_000, 1).values()))
    began = time.monotonic()
    while seen < count:
        seen += sum(len([r.value for r in part]) for part in consumer.poll(100).values())
    rate = seen / (time.monotonic() - began)
    consumer.close()
    return {"rate": rate}
