"""Mode buffer against a real broker: files tile the offsets, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

from connectors.storage.objects import StorageUnavailable
from connectors.streams import SourceError, SourceRefused, Want
from tests.support.bufferfiles import (
    Make,
    Runner,
    content,
    objects,
    records,
    values,
)
from tests.support.kafka import Kafka
from tests.support.waiting import until


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
    try:
        runner.poll()
    except SourceError:
        return


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
