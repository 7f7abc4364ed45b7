"""Mode buffer: files hold exactly the records of their range."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.abc import JSON
from connectors.kinesis.client import Record
from connectors.payloads import INLINE_ALONE, INLINE_BESIDE
from connectors.storage.batchfile import Compression, reader
from connectors.storage.objects import StorageUnavailable
from connectors.streams import Batch, SourceUnavailable
from tests.support.kinesis import Core, ScriptedKinesis, StandingClock, open_source, run_of

P = "shardId-000000000000"


def core(kinesis: ScriptedKinesis, tmp_path: Path, **settings: JSON) -> Core:
    clock = StandingClock()
    desk = Core(lambda: open_source(kinesis, tmp_path, clock, mode="buffer", **settings))
    desk.discover()
    return desk


def content(batch: Batch, tmp_path: Path, compression: Compression = "none") -> bytes:
    """What a task finds at /orch."""
    (source,) = batch.inputs
    name = {"none": "batch.ndjson", "gzip": "batch.ndjson.gz", "zstd": "batch.ndjson.zst"}
    assert source["Target"] == f"/orch/{name[compression]}"
    match source["Source"]:
        case {"Type": "inline", "Params": {"URL": str(url)}}:
            raw = base64.b64decode(url.partition(",")[2])
            path = tmp_path / "inline"
            path.write_bytes(raw)
        case _:
            match batch.values["batch"]:
                case {"uri": str(uri)} if uri.startswith("file://"):
                    path = Path(uri.removeprefix("file://"))
                case other:
                    raise AssertionError(other)
    with reader(path.open("rb"), compression) as stream:
        return stream.read()


def lines(batch: Batch, tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(batch, tmp_path).split(b"\n")[:-1]]


def as_json(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [
        {
            "sequence": str(record.sequence),
            "timestamp": record.arrived,
            "key": record.key,
            "value": record.data.decode(),
        }
        for record in records
    ]


def test_a_small_file_travels_in_the_job(tmp_path: Path):
    """Number, arrival, partition key and value of each record, a line each."""
    kinesis = ScriptedKinesis()
    records = kinesis.put(P, 3)
    desk = core(kinesis, tmp_path, max_age="1s")
    assert desk.poll() == []
    (batch,) = desk.poll(wait=2)
    assert lines(batch, tmp_path) == as_json(records)
    match batch.values["batch"]:
        case {"count": 3, "uri": "", "format": "ndjson", "compression": "none", "bytes": int()}:
            pass
        case other:
            raise AssertionError(other)


def test_a_larger_file_is_an_object_with_a_name_that_stays(tmp_path: Path):
    """Written again after a crash, it is the same object; it goes when its run is over."""
    kinesis = ScriptedKinesis()
    records = kinesis.put(P, 40, data=b"x" * 1000)
    storage = tmp_path / "store"
    desk = core(kinesis, tmp_path, storage=str(storage), max_records=40)
    (batch,) = desk.poll(take=0)
    first, last = records[0].sequence, records[-1].sequence
    path = storage / "u-1" / "clicks" / P / f"{first}-{last}" / "batch.ndjson"
    written = path.read_bytes()
    assert len(written) > INLINE_BESIDE
    assert lines(batch, tmp_path) == as_json(records)
    desk.restart()
    (again,) = desk.poll()
    assert again == batch
    assert path.read_bytes() == written
    kept = desk.source.keep(run_of(again))
    assert kept["copy"] == path.as_uri()
    desk.source.forget(again.inputs)
    desk.source.forget(again.inputs)
    assert not path.exists()
    assert desk.source.keep_for == 86_400_000_000


def test_a_small_file_beside_a_storage_travels_in_the_job_too(tmp_path: Path):
    """And there is nothing to forget."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 3)
    desk = core(kinesis, tmp_path, storage=str(tmp_path / "store"), max_records=3)
    (batch,) = desk.poll()
    desk.source.forget(batch.inputs)
    assert not (tmp_path / "store").exists()
    assert len(lines(batch, tmp_path)) == 3


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_files_are_compressed(tmp_path: Path, compression: Compression):
    """Their name says how."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 5, data=b"a line")
    desk = core(kinesis, tmp_path, compression=compression, format="values", max_records=5)
    (batch,) = desk.poll()
    assert content(batch, tmp_path, compression) == b"a line\n" * 5


def test_bytes_that_are_no_text_are_base64(tmp_path: Path):
    """Records that a producer library has put together stay as they are."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 1, data=b"\xf3\x89\x9a\xc2")
    (batch,) = core(kinesis, tmp_path, max_records=1).poll()
    (line,) = lines(batch, tmp_path)
    assert base64.b64decode(line["value_base64"]) == b"\xf3\x89\x9a\xc2"


def test_files_are_closed_by_their_size(tmp_path: Path):
    """Before the next record would be too much; one larger record is a file by itself."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 4, data=b"x" * 400)
    kinesis.put(P, 1, data=b"y" * 3000)
    kinesis.put(P, 1, data=b"z")
    desk = core(kinesis, tmp_path, max_bytes=1024, max_age="1s")
    assert [b.count for b in desk.poll(wait=0)] == [2, 2, 1]
    assert [b.count for b in desk.poll(wait=5)] == [1]


def test_what_grows_in_the_file_makes_shorter_batches(tmp_path: Path):
    """A batch that does not fit into a job is halved until it does."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 2000, data=b'"' * 60)
    desk = core(kinesis, tmp_path, max_age="1s")
    batches = desk.drain()
    assert sum(b.count or 0 for b in batches) == 2000
    for batch in batches:
        assert len(content(batch, tmp_path)) <= INLINE_ALONE


def test_a_record_that_fits_into_no_job_stops_its_shard_and_says_what_to_do(tmp_path: Path):
    """It is not left out. What was before it goes, and so do other shards."""
    kinesis = ScriptedKinesis(2)
    kinesis.put(P, 1)
    (large,) = kinesis.put(P, 1, data=b"x" * (INLINE_ALONE + 1))
    kinesis.put("shardId-000000000001", 1)
    desk = core(kinesis, tmp_path, max_age="1s")
    assert [(b.partition, b.count) for b in desk.poll()] == [(P, 1)]
    assert [b.partition for b in desk.poll(wait=5)] == ["shardId-000000000001"]
    for _ in range(2):
        (said,) = desk.source.troubles().items()
        assert said[0] == P
        assert str(large.sequence) in said[1]
        assert "set `storage`" in said[1]
        assert desk.poll(wait=60) == []


def test_a_storage_that_is_away_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Batches go on when it is back; nothing is handed over that is not durable."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 40, data=b"x" * 1000)
    desk = core(kinesis, tmp_path, storage=str(tmp_path / "store"), max_records=20)

    def away(*_: object) -> None:
        raise StorageUnavailable("no room")

    with monkeypatch.context() as patch:
        patch.setattr("connectors.storage.directory.DirectoryStore.put", away)
        with pytest.raises(SourceUnavailable, match="no room"):
            desk.poll()
    assert [b.count for b in desk.drain()] == [20, 20]


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Above the bound, files are closed early, and where there is no room nothing is read."""
    monkeypatch.setattr("connectors.kinesis.source.MEMORY", 2000)
    kinesis = ScriptedKinesis(2)
    for shard in kinesis.open_shards():
        kinesis.put(shard, 20, data=b"x" * 200)
    desk = core(kinesis, tmp_path, max_age="10s", max_bytes=4096)
    kinesis.page = 4
    assert {b.count for b in desk.poll(wait=20)} <= {4, 8}
    assert {b.count for b in desk.drain()} <= {4, 8}
    assert sum(b.count or 0 for b in desk.taken) == 40


@pytest.mark.parametrize("stored", [True, False])
def test_a_failing_file_is_halved_even_when_the_stream_forgot_it(tmp_path: Path, stored: bool):
    """The file itself tells the numbers of its records."""
    kinesis = ScriptedKinesis()
    records = kinesis.put(P, 50, data=b"x\ny\xff" * (200 if stored else 2))
    storage: dict[str, JSON] = {"storage": str(tmp_path / "store")} if stored else {}
    desk = core(kinesis, tmp_path, max_records=50, compression="gzip", **storage)
    (batch,) = desk.poll()
    kinesis.shard[P].records.clear()
    first, second = desk.source.split(run_of(batch))
    assert (first.start, first.end, second.end) == (batch.start, second.start, batch.end)
    assert first.end == f"after:{records[24].sequence}"
    halves = content(first, tmp_path, "gzip") + content(second, tmp_path, "gzip")
    assert halves == content(batch, tmp_path, "gzip")


def test_bare_values_are_halved_by_reading_the_stream_again(tmp_path: Path):
    """Lines are not records where values hold newlines."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 4, data=b"a\nb")
    desk = core(kinesis, tmp_path, max_records=4, format="values")
    (batch,) = desk.poll()
    first, second = desk.source.split(run_of(batch))
    assert content(first, tmp_path) == content(second, tmp_path) == b"a\nb\na\nb\n"


@given(
    values=st.lists(st.binary(max_size=40), min_size=1, max_size=20),
    key=st.text(min_size=1, max_size=10),
)
def test_whatever_was_put_is_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes], key: str
):
    """Hostile bytes and keys come out as they went in; what is no Unicode in a key is replaced."""
    kinesis = ScriptedKinesis()
    for value in values:
        kinesis.put(P, 1, data=value or b" ")
        record = kinesis.shard[P].records[-1]
        kinesis.shard[P].records[-1] = Record(record.sequence, record.arrived, key, record.data)
    directory = tmp_path_factory.mktemp("buffer")
    (batch,) = core(kinesis, directory, max_records=len(values)).poll()
    found = lines(batch, directory)
    assert [
        base64.b64decode(line["value_base64"]) if "value_base64" in line else line["value"].encode()
        for line in found
    ] == [value or b" " for value in values]
    assert {line["key"] for line in found} == {key.encode(errors="replace").decode()}
