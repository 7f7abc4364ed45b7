"""Mode range against a real broker: ranges tile whatever happens to the topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.cluster import TopicPartition, shared
from connectors.kafka.connection import Connection, Flavour
from connectors.streams import SourceChanged, SourceRefused, SourceUnavailable
from tests.support.kafka import Kafka
from tests.support.kafkasources import Played, numbered, spans
from tests.support.waiting import until

Play = Callable[..., Played]
NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture(params=["kafka-python", "confluent"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    return request.param


@pytest.fixture
def play(tmp_path: Path, flavour: Flavour) -> Iterator[Play]:
    """Opens sources, and closes them."""
    opened: list[Played] = []

    def one(kafka: Kafka, topic: str, **settings: object) -> Played:
        played = Played(kafka, tmp_path, topic, client=flavour, max_wait=0, **settings)
        opened.append(played)
        return played

    yield one
    for played in opened:
        played.close()


def test_ranges_hold_every_record_once(kafka: Kafka, play: Play) -> None:
    """The jobs of all ranges together read what was produced, in order."""
    topic = kafka.topic(3)
    for number in range(3):
        kafka.produce(topic, number, numbered(250))
    played = play(kafka, topic, max_records=100)
    played.discover()
    batches = played.until(dict.fromkeys(range(3), 250))
    assert len(batches) == 9
    for number in range(3):
        own = [batch for batch in batches if batch.partition == f"{topic}/{number}"]
        assert [record.value for b in own for record in played.read(b)] == numbered(250)
    assert played.poll() == []
    assert set(played.source.lag().values()) == {0}
    kafka.produce(topic, 1, numbered(5))
    assert spans(played.until({1: 255})) == [("run", 250, 255)]


def test_a_transaction_holds_ranges_back(kafka: Kafka, play: Play) -> None:
    """Nothing behind the beginning of an open transaction is planned; once it is aborted the range
    covers its offsets, and the job finds a gap there and no loss. Uncommitted reading waits for
    nothing."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(5))
    played, dirty = play(kafka, topic), play(kafka, topic, isolation="read_uncommitted")
    played.discover()
    dirty.discover()
    with kafka.transaction() as transaction:
        transaction.send(topic, 0, numbered(10))
        kafka.produce(topic, 0, [b"plain"])
        assert spans(played.until({0: 5})) == [("run", 0, 5)]
        assert played.poll() == []
        assert spans(dirty.until({0: 16})) == [("run", 0, 16)]
    (batch,) = played.until({0: 17})  # with the marker
    assert spans([batch]) == [("run", 5, 17)]
    assert [record.value for record in played.read(batch)] == [b"plain"]


def test_compaction_is_no_loss(kafka: Kafka, play: Play) -> None:
    """Offsets that compaction removed are covered by ranges like all others."""
    topic = kafka.topic(
        configs={
            "cleanup.policy": "compact",
            "segment.bytes": "1048576",
            "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.001",
            "max.compaction.lag.ms": "200",
        }
    )
    kafka.produce(topic, 0, numbered(400), keys=[b"k%d" % (i % 4) for i in range(400)])
    played = play(kafka, topic, max_records=100)
    played.discover()
    batches = played.until({0: 400})
    assert {batch.outcome for batch in batches} == {"run"}
    total = 400

    def compacted() -> bool:
        nonlocal total
        kafka.produce(topic, 0, [b"roll"], keys=[b"roll"])
        total += 1
        return len(played.read(batches[0])) < 100

    until(compacted, "compaction", within=60)
    left = [record.offset for batch in batches for record in played.read(batch)]
    assert left == sorted(set(left))
    assert {396, 397, 398, 399} <= set(left)
    assert {batch.outcome for batch in played.until({0: total})} == {"run"}


def test_what_retention_took_is_lost(kafka: Kafka, play: Play) -> None:
    """Of what was not planned a lost range is made; of what was, `gone` knows."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(100))
    played = play(kafka, topic, max_records=40)
    played.discover()
    assert spans(played.poll(room=1)) == [("run", 0, 40)]
    kafka.delete_records(topic, 0, 70)
    assert spans(played.until({0: 100})) == [("lost", 40, 70), ("run", 70, 100)]
    assert played.source.gone(f"{topic}/0", "0")
    assert not played.source.gone(f"{topic}/0", "70")


def test_where_to_start(kafka: Kafka, play: Play) -> None:
    """Earliest, latest, a time, and given offsets."""
    topic = kafka.topic(2, configs={"retention.ms": "-1"})
    kafka.produce(topic, 0, numbered(10), timestamp_ms=1_700_000_000_000)
    kafka.produce(topic, 0, numbered(10), timestamp_ms=1_700_000_060_000)
    kafka.produce(topic, 1, numbered(3), timestamp_ms=1_700_000_000_000)
    kafka.delete_records(topic, 0, 2)

    def begins(start: object) -> list[int]:
        found = play(kafka, topic, start=start).discover().partitions
        return [int(found[f"{topic}/{number}"]) for number in range(2)]

    assert begins("earliest") == [2, 0]
    assert begins("latest") == [20, 3]
    assert begins("2023-11-14T22:14:00Z") == [10, 3]  # between the two
    assert begins({1: 2}) == [2, 2]
    with pytest.raises(SourceRefused, match="behind its end, 3"):
        begins({1: 4})


def test_partitions_are_added_while_it_runs(kafka: Kafka, play: Play) -> None:
    """They are found and read from their beginning, also by a trigger that began at the latest."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(5))
    played = play(kafka, topic, start="latest")
    played.discover()
    kafka.add_partitions(topic, 3)
    kafka.produce(topic, 2, numbered(7))

    def found() -> bool:
        played.discover()
        return len(played.planned) == 3

    until(found, "the new partitions")
    assert played.planned == {f"{topic}/0": 5, f"{topic}/1": 0, f"{topic}/2": 0}
    assert spans(played.until({2: 7})) == [("run", 0, 7)]


def test_a_topic_made_again_is_noticed(kafka: Kafka, play: Play) -> None:
    """While it is gone planning is refused; the new one has another identity, and nothing is
    planned in it though it has the offsets."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(5))
    played = play(kafka, topic)
    before = played.discover().identity
    played.until({0: 5})
    kafka.delete_topic(topic)

    def refused() -> bool:
        try:
            played.poll()
        except SourceRefused as error:
            return "no such topic" in str(error)
        except SourceUnavailable:
            return False
        return False

    until(refused, "the topic is refused")
    kafka.topic(name=topic)
    kafka.produce(topic, 0, numbered(50))

    def changed() -> bool:
        try:
            assert played.poll() == []
        except SourceChanged as error:
            return "deleted and made again" in str(error)
        except (SourceRefused, SourceUnavailable):
            return False  # what the client remembers of the old one
        return False

    until(changed, "the change is noticed", within=60)
    assert played.discover().identity != before


def test_a_broker_away(kafka: Kafka, play: Play) -> None:
    """Nothing is planned meanwhile, and nothing is missing afterwards."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(5))
    played = play(kafka, topic)
    played.discover()
    played.until({0: 5})
    with kafka.down(kill=True), pytest.raises(SourceUnavailable):
        played.poll()
    kafka.produce(topic, 0, numbered(5))
    assert spans(played.until({0: 10}, within=60)) == [("run", 5, 10)]


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka waits for a leader, and for a broker that is gone, as long as it may."""
    monkeypatch.setattr("connectors.kafka.cluster_confluent.TIMEOUT", 2)
    monkeypatch.setattr("connectors.kafka.cluster_confluent._TRY", 1)


def test_a_leader_moves(kafka_pair: Kafka, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new leader's end is believed once it is known; no range is lost or planned twice."""
    topic = kafka_pair.topic(replicas={0: [2, 1]})
    kafka_pair.produce(topic, 0, numbered(500))
    played = play(kafka_pair, topic, max_records=100)
    played.discover()
    played.until({0: 500})
    impatient(monkeypatch)
    kafka_pair.brokers[1].stop()
    try:
        kafka_pair.produce(topic, 0, numbered(500, 500))
        batches = played.until({0: 1000}, within=60)
    finally:
        kafka_pair.brokers[1].start()
    assert {batch.outcome for batch in batches} == {"run"}
    read = [r.value for batch in played.taken for r in played.read(batch)]
    assert read == numbered(1000)


def test_a_partition_without_a_leader(
    kafka_pair: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits and is named while the others go on, also for who is registered meanwhile; back
    again, nothing of it is left out, and who began at the latest gets nothing old of it."""
    topic = kafka_pair.topic(replicas={0: [1], 1: [2]})
    for number in range(2):
        kafka_pair.produce(topic, number, numbered(100), timestamp_ms=NOW_MS - 60_000)
    kept, lost = f"{topic}/0", f"{topic}/1"

    def opened(name: str, client: str, **settings: Any) -> Played:
        played = Played(kafka_pair, tmp_path / name, topic, client=client, max_wait=0, **settings)
        played.discover()
        return played

    def all_at_once(step: Callable[[Played], object]) -> None:
        for done in [pool.submit(step, played) for played in sources]:
            done.result()

    sources = [opened(client, client) for client in ("kafka-python", "confluent")]
    impatient(monkeypatch)
    with ThreadPoolExecutor() as pool:
        try:
            kafka_pair.brokers[1].stop()
            try:
                all_at_once(lambda played: played.until({0: 100}, within=60))
                new = opened("new", "kafka-python", start="latest")
                sources.append(new)
                assert new.planned == {kept: 100}
                assert all(played.source.troubles().keys() == {lost} for played in sources)
            finally:
                kafka_pair.brokers[1].start()
            kafka_pair.produce(topic, 1, numbered(5))

            def found() -> bool:
                with suppress(SourceUnavailable):
                    new.discover()
                return lost in new.planned

            until(found, "it is found")
            assert new.planned[lost] == 100
            all_at_once(lambda played: played.until({1: 105}, within=60))
            for played in sources:
                assert played.source.troubles() == {}
                assert {batch.outcome for batch in played.taken} == {"run"}
        finally:
            for played in sources:
                played.close()


def test_everyone_sees_how_far_it_is(kafka: Kafka, play: Play) -> None:
    """`done` is what the trigger's group has committed."""
    topic = kafka.topic(2)
    kafka.produce(topic, 0, numbered(5))
    played = play(kafka, topic)
    played.discover()
    try:
        played.source.commit({f"{topic}/0": "3", f"{topic}/1": "0"})
    except SourceUnavailable:
        played.unavailable += 1  # a coordinator that is not ready yet: polling tells it again
    cluster = shared(Connection(brokers=(kafka.bootstrap,)))

    def seen() -> bool:
        played.poll()
        places = [TopicPartition(topic, number) for number in range(2)]
        found = cluster.committed("orch.i1.logs.u1", places)
        return {p.partition: c.offset for p, c in found.items()} == {0: 3, 1: 0}

    try:
        until(seen, "the group's offsets")
    finally:
        cluster.close()
