"""The files of mode buffer: what is in them, how large they are, and how they are halved."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.streams import RunRef, SourceRefused
from tests.support.bufferfiles import (
    Make,
    as_run,
    content,
    content_path,
    objects,
    records,
    values,
)
from tests.support.kafka import Kafka
from tests.support.waiting import until


@pytest.mark.parametrize("form", ["ndjson", "values"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_files_hold_every_record_once(
    kafka: Kafka, make: Make, form: str, compression: str
) -> None:
    """Each format and compression: files of max_records tile each partition and hold all."""
    topic = kafka.topic(2)
    for number in range(2):
        kafka.produce(topic, number, values(2500))
    runner = make(topic, format=form, compression=compression, max_records=1000)
    batches = runner.until(2500, 2500)
    for name in runner.places:
        own = [batch for batch in batches if batch.partition == name]
        assert [batch.count for batch in own] == [1000, 1000, 500]
        joined = b"".join(content(batch) for batch in own)
        if form == "values":
            assert joined.splitlines() == values(2500)
        else:
            found = [json.loads(line) for line in joined.splitlines()]
            assert [one["offset"] for one in found] == list(range(2500))
            assert [one["value"].encode() for one in found] == values(2500)
        kafka_values: Any = own[1].values["kafka"]
        assert (kafka_values["start"], kafka_values["end"]) == (1000, 2000)


def test_small_files_travel_within_the_job(kafka: Kafka, make: Make) -> None:
    """Without a storage every file does; it is closed before it is too large for that."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b'"%d\n' % i + b"x" * 2000 for i in range(300)])
    runner = make(topic, storage=None)
    batches = runner.until(300)
    assert len(batches) > 3
    assert [one["offset"] for batch in batches for one in records(batch)] == list(range(300))
    for batch in batches:
        source: Any = batch.inputs[0]["Source"]
        assert source["Type"] == "inline"
        sizes: Any = batch.values["batch"]
        assert sizes["bytes"] <= 128 * 1024
        assert sizes["uri"] == ""


def test_record_too_large_for_a_job(kafka: Kafka, make: Make) -> None:
    """Without a storage it is refused, with the remedy; with one it is a file of its own."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b"small", b"x" * 300_000, b"small"])
    runner = make(topic, storage=None)
    runner.until(1)

    def refused() -> str:
        try:
            runner.poll()
        except SourceRefused as error:
            return str(error)
        return ""

    assert "set `storage`" in until(refused, "a refusal")
    stored = make(topic, max_bytes=10_000)
    assert [batch.count for batch in stored.until(3)] == [1, 1, 1]


def test_closed_by_bytes(kafka: Kafka, make: Make) -> None:
    """No file is larger than max_bytes before compression, and none is much smaller."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b"y" * (i % 900) for i in range(5000)])
    runner = make(topic, max_bytes=100_000, max_age="1h")
    until(lambda: runner.poll() is not None and len(runner.batches) >= 20, "20 files")
    sizes = [len(content(batch)) for batch in runner.batches]
    assert max(sizes) <= 100_000
    assert min(sizes) > 98_000


def test_hostile_records(kafka: Kafka, make: Make) -> None:
    """Keys, headers and values of any bytes come out of the file as they went in."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b"\xff\x00", None, b'{"a": "\\"}\n'], keys=[b"\xfe", b"k", None])
    kafka.produce(topic, 0, [b""], headers=[("h", b"\xff"), ("h", b"2")])
    (batch,) = make(topic).until(4)
    first, second, third, fourth = records(batch)
    assert base64.b64decode(first["value_base64"]) == b"\xff\x00"
    assert base64.b64decode(first["key_base64"]) == b"\xfe"
    assert (second["value"], second["key"]) == (None, "k")
    assert third["value"] == '{"a": "\\"}\n'
    assert fourth["headers"] == [["h", {"base64": "/w=="}], ["h", "2"]]


@pytest.mark.parametrize("form", ["ndjson", "values"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_halving_isolates_a_record(kafka: Kafka, make: Make, form: str, compression: str) -> None:
    """Halves tile, hold the same records, and lead to one poison record in ten steps."""
    topic = kafka.topic()
    poison = 777
    kafka.produce(topic, 0, [b"poison" if i == poison else b"v%d" % i for i in range(1000)])
    runner = make(topic, max_records=1000, format=form, compression=compression)
    (batch,) = runner.until(1000)
    steps = 0
    while batch.count != 1:
        first, second = runner.source.split(as_run(batch))
        assert (first.start, first.end, second.end) == (batch.start, second.start, batch.end)
        assert content(first) + content(second) == content(batch)
        batch = first if b"poison" in content(first) else second
        steps += 1
    assert steps <= 10
    assert (batch.start, batch.end) == (str(poison), str(poison + 1))
    assert runner.source.split(as_run(batch)) == []
    record: Any = runner.source.keep(as_run(batch))["record"]
    assert (record["offset"], record["value"]) == (poison, "poison")


def test_halving_values_that_hold_newlines(kafka: Kafka, make: Make) -> None:
    """Where lines are not records, the topic tells where one begins."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b"%d\n%d" % (i, i) for i in range(100)])
    runner = make(topic, format="values")
    (batch,) = runner.until(100)
    first, second = runner.source.split(as_run(batch))
    assert (first.count, first.end, second.count) == (50, "50", 50)
    assert content(first) + content(second) == content(batch)


def test_halving_what_a_restore_has_found(kafka: Kafka, make: Make) -> None:
    """Of such a run only the range is known: its records are read again, and nothing is shown."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(10))
    runner = make(topic)
    found = RunRef(run_id="r", partition=f"{topic}/0", start="2", end="7", values={}, inputs=())
    assert runner.source.keep(found) == {}
    first, second = runner.source.split(found)
    assert [(b.start, b.end, b.count) for b in (first, second)] == [("2", "4", 2), ("4", "7", 3)]
    assert [record["value"] for record in records(second)] == ["v4", "v5", "v6"]
    alone = replace(found, end="3")
    assert runner.source.split(alone) == []


def test_forget(kafka: Kafka, make: Make, tmp_path: Path) -> None:
    """Objects of ended runs are removed, also twice, and others stay."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b"x" * 100 for _ in range(2000)])
    runner = make(topic, max_records=1000)
    first, _ = runner.until(2000)
    assert len(objects(tmp_path)) == 2
    for _ in range(2):
        runner.source.forget(first.inputs)
    (left,) = objects(tmp_path)
    assert "/1000-2000/" in left
    assert runner.source.keep_for == 86_400_000_000


def test_a_range_that_comes_again_by_command_has_files_of_its_own(
    kafka: Kafka, make: Make, tmp_path: Path
) -> None:
    """After a jump back the files of earlier runs stay as they are, also over a restart with its
    sweep; what was read before the jump is not handed over under a name of before."""
    topic = kafka.topic(name="")
    kafka.produce(topic, 0, [b"x" * 4000 for _ in range(20)])
    runner = make(topic, max_records=10)
    earlier = list(runner.until(20))
    for again in (runner, make(topic, max_records=10)):
        again.batches.clear()
        again.places = {f"{topic}/0": "0"}
        again.generation = 1
        later = list(again.until(20))
        assert [batch.end for batch in later] == ["10", "20"]
        paths = {content_path(batch) for batch in [*earlier, *later]}
        assert len(paths) == 4
        assert all(path.exists() for path in paths)
    runner.source.forget(later[0].inputs)
    assert [len(records(batch)) for batch in earlier] == [10, 10]


def test_filter(kafka: Kafka, make: Make) -> None:
    """Only wanted records are in files; ranges tile over the others."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(1000), keys=[b"k%d" % (i % 10) for i in range(1000)])
    batches = make(topic, filter={"key": "k3"}, max_records=30).until(1000)
    found = [one["offset"] for batch in batches for one in records(batch)]
    assert found == list(range(3, 1000, 10))
