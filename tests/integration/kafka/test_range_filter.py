"""Mode range with a filter, against a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.kafka import filtered
from connectors.kafka.connection import Flavour
from tests.support.kafka import Kafka
from tests.support.kafkasources import Played, numbered, spans

Play = Callable[..., Played]


@pytest.fixture(params=["kafka-python", "confluent"])
def flavour(request: pytest.FixtureRequest) -> Flavour:
    return request.param


@pytest.fixture
def play(tmp_path: Path, flavour: Flavour) -> Iterator[Play]:
    """Opens sources, and closes them."""
    opened: list[Played] = []

    def one(kafka: Kafka, topic: str, **settings: object) -> Played:
        played = Played(kafka, tmp_path, topic, client=flavour, **settings)
        played.discover()
        opened.append(played)
        return played

    yield one
    for played in opened:
        played.close()


def keys(count: int, *wanted: int) -> list[bytes | None]:
    return [b"yes" if n in wanted else b"no" for n in range(count)]


def test_only_matches_make_runs(kafka: Kafka, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges begin and end with a match and are no longer than `max_records`; the rest is skipped
    as filtered; a stretch without an end waits, so that it becomes one row."""
    monkeypatch.setattr(filtered, "QUIET", 3600.0)
    topic = kafka.topic(2)
    kafka.produce(topic, 0, numbered(1000), keys=keys(1000, 10, 12, 300, 305, 395, 420))
    kafka.produce(topic, 1, numbered(50), keys=keys(50))
    played = play(kafka, topic, filter={"key": "yes"}, max_records=100, max_wait=0)
    batches = played.until({0: 421})
    assert spans(batches) == [
        ("skipped", 0, 10),
        ("run", 10, 13),
        ("skipped", 13, 300),
        ("run", 300, 396),
        ("skipped", 396, 420),
        ("run", 420, 421),
    ]
    assert [batch.count for batch in batches if batch.outcome == "run"] == [2, 3, 1]
    assert {batch.reason for batch in batches if batch.outcome == "skipped"} == {"filtered"}
    assert played.planned[f"{topic}/1"] == 0
    monkeypatch.setattr(filtered, "QUIET", 0.0)
    assert spans(played.until({0: 1000, 1: 50})) in (
        [("skipped", 421, 1000), ("skipped", 0, 50)],
        [("skipped", 0, 50), ("skipped", 421, 1000)],
    )


def test_headers_and_json_fields(kafka: Kafka, play: Play) -> None:
    """All conditions hold in one record."""
    topic = kafka.topic()
    kafka.produce(topic, 0, [b'{"n": 1}'] * 3, headers=[("type", b"order")])
    kafka.produce(topic, 0, [b'{"n": 2}'] * 3, headers=[("type", b"order")])
    kafka.produce(topic, 0, [b'{"n": 2}'] * 3, headers=[("type", b"other")])
    wanted = {"header": {"type": ["order", "refund"]}, "json": {"n": 2}}
    played = play(kafka, topic, filter=wanted, max_wait=0)
    assert spans(played.until({0: 6})) == [("skipped", 0, 3), ("run", 3, 6)]


def test_what_was_not_taken_in_comes_again(kafka: Kafka, play: Play) -> None:
    """With little room, or when the position was set, the same ranges come, in order."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(300), keys=keys(300, *range(0, 300, 30)))
    played = play(kafka, topic, filter={"key": "yes"}, max_records=10, max_wait=0)
    first = spans(played.until({0: 271}, room=1))
    assert sum(outcome == "run" for outcome, _, _ in first) == 10
    played.planned[f"{topic}/0"] = 0
    assert spans(played.until({0: 271}, room=3)) == first
    played.planned[f"{topic}/0"] = 5
    assert spans(played.poll(room=1, wait=5)) == [("skipped", 5, 30)]


def test_reading_stands_still_without_room(
    kafka: Kafka, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was looked at ahead of the runs is bounded; nothing is missing when there is room."""
    monkeypatch.setattr(filtered, "AHEAD", 4)
    monkeypatch.setattr(filtered, "READ_AT_ONCE", 50)
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(5000), keys=[b"yes"] * 5000)
    played = play(kafka, topic, filter={"key": "yes"}, max_records=10, max_wait=0)
    for _ in range(10):
        assert played.poll(room=0, wait=0.1) == []
    source = played.source
    assert isinstance(source, filtered.FilteredSource)
    assert all(len(one.matching.cuts) < 20 for one in source._scanned.values())
    batches = played.until({0: 5000}, within=60, room=10)
    assert {end - start for _, start, end in spans(batches)} == {10}


def test_loss_and_a_broker_away(kafka: Kafka, play: Play) -> None:
    """Both as without a filter: a lost range, and nothing missing."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(100), keys=[b"yes"] * 100)
    played = play(kafka, topic, filter={"key": "yes"}, max_records=40, max_wait=0)
    assert spans(played.poll(room=1, wait=10)) == [("run", 0, 40)]
    kafka.delete_records(topic, 0, 70)
    assert spans(played.until({0: 100})) == [("lost", 40, 70), ("run", 70, 100)]
    kafka.restart()
    kafka.produce(topic, 0, numbered(5), keys=[b"yes"] * 5)
    assert sum(e - s for _, s, e in spans(played.until({0: 105}, within=60))) == 5
