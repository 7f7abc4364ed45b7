"""Mode buffer against a real broker: files tile the offsets, whatever happens in between."""

from __future__ import annotations

import base64
import gc
import gzip
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard

from connectors.kafka.buffer import BufferSource
from connectors.kafka.connection import Flavour
from connectors.kafka.settings import parse_settings
from connectors.storage.objects import StorageUnavailable
from connectors.streams import Batch, RunRef, SourceContext, SourceRefused, Want
from tests.support.kafka import Kafka
from tests.support.waiting import until

# kafka-python leaves sockets whose connection failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Make = Callable[..., "Runner"]
UNPACK: Mapping[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


class Runner:
    """Runs a source as the orchestrator does: positions move by what is taken in."""

    def __init__(self, source: BufferSource, *, room: int = 4) -> None:
        self.source = source
        self.room = room
        self.generation = 0
        self.places = dict(source.discover({}).partitions)
        self.batches: list[Batch] = []

    def poll(self, wait: float = 0.5) -> Sequence[Batch]:
        """Poll once, and take everything in."""
        batches = self.source.poll(self.wants(), wait)
        for batch in batches:
            assert batch.start == self.places[batch.partition], "a gap or an overlap"
            self.places[batch.partition] = batch.end
        self.batches += batches
        return batches

    def wants(self) -> list[Want]:
        return [
            Want(partition=p, position=at, room=self.room, generation=self.generation)
            for p, at in self.places.items()
        ]

    def until(self, *ends: int, within: float = 60) -> list[Batch]:
        """Poll until the partitions are at these offsets."""
        wanted = [str(end) for end in ends]

        def there() -> bool:
            self.poll()
            return [self.places[name] for name in sorted(self.places)] == wanted

        until(there, f"files up to {ends}", within=within, show=lambda: self.places)
        return self.batches


@pytest.fixture(params=["kafka-python", "confluent"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    return request.param


@pytest.fixture
def make(kafka: Kafka, flavour: Flavour, tmp_path: Path) -> Iterator[Make]:
    """Opens sources with a storage in `tmp_path / "files"`, unless told otherwise."""
    sources: list[BufferSource] = []

    def open_one(topic: str, *, room: int = 4, uid: str = "u1", **settings: Any) -> Runner:
        read = parse_settings(
            {
                "topic": topic,
                "brokers": kafka.bootstrap,
                "mode": "buffer",
                "client": flavour,
                "max_age": "200ms",
                "storage": str(tmp_path / "files"),
                **settings,
            }
        )
        context = SourceContext(
            instance="i",
            trigger="t",
            trigger_uid=uid,
            secrets={},
            data_dir=tmp_path / "own",
            stop=threading.Event(),
        )
        sources.append(BufferSource(read, context))
        return Runner(sources[-1], room=room)

    yield open_one
    for source in sources:
        source.close()
    gc.collect()


def content(batch: Batch | RunRef) -> bytes:
    """What a task finds at the path."""
    (source,) = batch.inputs
    where: Any = source["Source"]
    values: Any = batch.values["batch"]
    if where["Type"] == "inline":
        data = base64.b64decode(where["Params"]["URL"].partition(",")[2])
    else:
        data = Path(where["Params"]["SourcePath"]).read_bytes()
    suffix = {"none": "", "gzip": ".gz", "zstd": ".zst"}[values["compression"]]
    assert source["Target"] == f"/orch/batch.ndjson{suffix}"
    assert len(data) == values["bytes"]
    return UNPACK[values["compression"]](data)


def records(batch: Batch | RunRef) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content(batch).splitlines()]


def as_run(batch: Batch) -> RunRef:
    return RunRef(
        run_id="r",
        partition=batch.partition,
        start=batch.start,
        end=batch.end,
        values=batch.values,
        inputs=batch.inputs,
    )


def values(number: int, start: int = 0) -> list[bytes | None]:
    return [b"v%d" % i for i in range(start, start + number)]


def objects(tmp_path: Path) -> list[str]:
    return sorted(
        path.relative_to(tmp_path / "files").as_posix()
        for path in (tmp_path / "files").rglob("*")
        if path.is_file()
    )


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


def test_nothing_taken_in_is_handed_over_again(kafka: Kafka, make: Make) -> None:
    """What was handed over and not taken in comes again; nothing is lost by it."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(3000))
    runner = make(topic, max_records=1000)
    first = until(lambda: runner.source.poll(runner.wants(), 0.5), "a file")
    again = until(lambda: runner.source.poll(runner.wants(), 0.5), "it again")
    assert [b.start for b in again][: len(first)] == [b.start for b in first]
    assert content(again[0]) == content(first[0])
    runner.until(3000)


def test_position_elsewhere(kafka: Kafka, make: Make) -> None:
    """A position that is set back or forward is read from, in the middle of everything."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(5000))
    runner = make(topic, max_records=700)
    (name,) = runner.places
    runner.until(5000)
    for place in (123, 4_000, 0):
        runner.batches.clear()
        runner.places[name] = str(place)
        batches = runner.until(5000)
        assert [o["offset"] for b in batches for o in records(b)] == list(range(place, 5000))


def test_without_room_reading_stands_still(kafka: Kafka, make: Make, tmp_path: Path) -> None:
    """With no room nothing is handed over and little is read; with room it goes on."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(20_000))
    runner = make(topic, max_records=1000, room=0)
    for _ in range(10):
        assert not runner.poll(0.2)
    assert len(objects(tmp_path)) <= 10
    runner.room = 2
    runner.until(20_000)
    assert sum(batch.count or 0 for batch in runner.batches) == 20_000


def test_until(kafka: Kafka, make: Make) -> None:
    """No file goes beyond the place from which on events are in runs already."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(1000))
    runner = make(topic)
    (name,) = runner.places
    want = Want(partition=name, position="0", room=4, until="333")
    (batch,) = until(lambda: runner.source.poll([want], 0.5), "a file")
    assert (batch.start, batch.end, batch.count) == ("0", "333", 333)
    runner.places[name] = "900"
    assert [b.start for b in runner.until(1000)] == ["900"]


def test_markers_and_aborted_records(kafka: Kafka, make: Make) -> None:
    """Files tile over what cannot be seen; their count is that of what can."""
    topic = kafka.topic()
    with kafka.transaction() as transaction:
        transaction.send(topic, 0, values(10))  # 0-9, marker 10
        transaction.commit()
        transaction.begin()
        transaction.send(topic, 0, [b"never"] * 20)  # 11-30, marker 31
        transaction.abort()
        transaction.begin()
        transaction.send(topic, 0, values(5, 10))  # 32-36, marker 37
        transaction.commit()
    batches = make(topic).until(38)
    found = [one["value"].encode() for batch in batches if batch.count for one in records(batch)]
    assert found == values(15)


def test_lost_range(kafka: Kafka, make: Make) -> None:
    """What retention removed before it was read is told as lost, and reading goes on behind."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(1000))
    runner = make(topic)
    kafka.delete_records(topic, 0, 400)
    batches = runner.until(1000)
    assert next((b.outcome, b.start, b.end) for b in batches) == ("lost", "0", "400")
    assert {b.outcome for b in batches[1:]} == {"run"}
    assert sum(b.count or 0 for b in batches[1:]) == 600


def test_what_was_read_is_not_lost(kafka: Kafka, make: Make) -> None:
    """Records that were read before retention removed them are handed over."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(1000))
    runner = make(topic, max_age="50ms")
    until(lambda: runner.source.poll(runner.wants(), 0.5), "a file")
    kafka.delete_records(topic, 0, 1000)
    kafka.produce(topic, 0, values(10))
    batches = runner.until(1010)
    assert {batch.outcome for batch in batches} == {"run"}


def test_crash(kafka: Kafka, make: Make, tmp_path: Path) -> None:
    """A source that starts where another one died removes what no run has taken, leaves what runs
    own, and writes a range again under the same name."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(5000))
    died = make(topic, max_records=1000)
    (name,) = died.places

    def three_files() -> bool:
        died.source.poll(died.wants(), 0.2)
        return len(objects(tmp_path)) >= 3

    until(three_files, "files")
    before = objects(tmp_path)
    died.source.close()
    odd = tmp_path / "files" / "u1" / topic / "0" / "2000-2345" / "batch.ndjson"
    odd.parent.mkdir(parents=True)
    odd.write_bytes(b"left over")
    runner = make(topic, max_records=1000)
    runner.places[name] = "1000"  # the first file has been taken in by a run
    runner.until(5000)
    after = objects(tmp_path)
    assert before[0] in after
    assert odd.relative_to(tmp_path / "files").as_posix() not in after
    spans = [path.split("/")[-2] for path in after]
    assert spans == ["0-1000", "1000-2000", "2000-3000", "3000-4000", "4000-5000"]


def test_storage_fails_for_a_while(kafka: Kafka, make: Make, tmp_path: Path) -> None:
    """While files cannot be written the source says so; then everything is there."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(3000))
    runner = make(topic, max_records=1000)
    (tmp_path / "files").write_text("in the way")

    def told() -> bool:
        try:
            runner.poll(0.2)
        except (StorageUnavailable, SourceRefused):
            return True
        return False

    until(told, "an error")
    (tmp_path / "files").unlink()

    def all_of_it() -> bool:
        told()
        return runner.places == {f"{topic}/0": "3000"}

    until(all_of_it, "the rest")
    assert [b.count for b in runner.batches] == [1000, 1000, 1000]


def test_broker_away(kafka: Kafka, make: Make) -> None:
    """A broker that dies and comes back costs nothing but time."""
    topic = kafka.topic(2)
    for number in range(2):
        kafka.produce(topic, number, values(2000))
    runner = make(topic, max_records=500)
    until(runner.poll, "a file")
    with kafka.down(kill=True):
        for _ in range(3):
            _tolerant(runner)
    for number in range(2):
        kafka.produce(topic, number, values(2000, 2000))

    def all_of_it() -> bool:
        _tolerant(runner)
        return set(runner.places.values()) == {"4000"}

    until(all_of_it, "the rest", within=90, show=lambda: runner.places)
    for name in runner.places:
        own = [batch for batch in runner.batches if batch.partition == name]
        assert [one["offset"] for b in own for one in records(b)] == list(range(4000))


def _tolerant(runner: Runner) -> None:
    from connectors.streams import SourceError

    try:
        runner.poll()
    except SourceError:
        return


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


def content_path(batch: Batch) -> Path:
    (source,) = batch.inputs
    where: Any = source["Source"]
    return Path(where["Params"]["SourcePath"])


def test_filter(kafka: Kafka, make: Make) -> None:
    """Only wanted records are in files; ranges tile over the others."""
    topic = kafka.topic()
    kafka.produce(topic, 0, values(1000), keys=[b"k%d" % (i % 10) for i in range(1000)])
    batches = make(topic, filter={"key": "k3"}, max_records=30).until(1000)
    found = [one["offset"] for batch in batches for one in records(batch)]
    assert found == list(range(3, 1000, 10))


def test_memory_is_bounded(kafka: Kafka, make: Make) -> None:
    """Partitions that together hold more than the bound are closed early, and all arrives."""
    topic = kafka.topic(8)
    for number in range(8):
        kafka.produce(topic, number, [bytes([65 + number]) * 100_000 for _ in range(60)])
    runner = make(topic, max_age="1h", memory=16_777_216, max_bytes=8_388_608, format="values")
    held: list[int] = []

    def most() -> bool:
        runner.poll(0.1)
        held.append(runner.source._held())
        return sum(batch.count or 0 for batch in runner.batches) >= 8 * 60 * 0.7

    until(most, "most of it", within=60, show=lambda: runner.places)
    assert max(held) <= 16_777_216 + 4 * 2**20
