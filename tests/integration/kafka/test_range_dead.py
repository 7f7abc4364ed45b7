"""What is kept and shown of dead ranges, against a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kafka import Kafka
from tests.support.kafkasources import Played, numbered

Play = Callable[..., Played]
AT = 1_700_000_000_000  # 2023-11-14T22:13:20Z


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """Opens sources, and closes them."""
    opened: list[Played] = []

    def one(kafka: Kafka, topic: str, **settings: object) -> Played:
        played = Played(kafka, tmp_path, topic, max_wait=0, **settings)
        played.discover()
        opened.append(played)
        return played

    yield one
    for played in opened:
        played.close()


def test_one_record_is_described(kafka: Kafka, play: Play) -> None:
    """Offset, time, key, value shortened, other bytes in base64; and when it expires."""
    topic = kafka.topic(configs={"retention.ms": str(10**12)})
    kafka.produce(topic, 0, [b"x" * 5000, b"\xff\x00"], keys=[b"k", None], timestamp_ms=AT)
    played = play(kafka, topic, max_records=1)
    first, second = played.until({0: 2})
    kept: Any = played.source.keep(played.dead(first))
    assert kept["record"] == {
        "offset": 0,
        "timestamp": "2023-11-14T22:13:20Z",
        "key": "k",
        "value": "x" * 1000,
        "value_size": 5000,
    }
    assert kept["expires_at"] == "2055-07-24T00:00:00Z"
    kept = played.source.keep(played.dead(second))
    assert (kept["record"]["value_base64"], kept["record"]["key"]) == ("/wA=", None)


def test_several_records_show_their_expiry(kafka: Kafka, play: Play) -> None:
    """The oldest goes first; a topic that keeps everything shows none."""
    topic = kafka.topic(configs={"retention.ms": "-1"})
    kafka.produce(topic, 0, numbered(5))
    played = play(kafka, topic)
    (batch,) = played.until({0: 5})
    assert played.source.keep(played.dead(batch)) == {}


def test_dead_ranges_are_copied(kafka: Kafka, play: Play, tmp_path: Path) -> None:
    """All records of the range as lines of JSON; copying again writes the same object."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(250), keys=[b"k"] * 250, headers=[("h", b"1")])
    letters = tmp_path / "letters"
    letters.mkdir()
    played = play(kafka, topic, max_records=100, dead_letters=str(letters))
    _, batch, _ = played.until({0: 250})
    kept = played.source.keep(played.dead(batch))
    assert set(kept) == {"copy"}
    path = letters / "u1" / topic / "0" / "100-200" / "batch.ndjson"
    assert kept["copy"] == path.as_uri()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["value"] for line in lines] == [f"v{n}" for n in range(100, 200)]
    assert lines[0]["offset"] == 100
    assert (lines[0]["key"], lines[0]["headers"]) == ("k", [["h", "1"]])
    before = path.read_bytes()
    assert played.source.keep(played.dead(batch)) == kept
    assert path.read_bytes() == before
    assert [p for p in letters.rglob("*") if p.is_file()] == [path]


def test_what_is_gone_cannot_be_kept(kafka: Kafka, play: Play, tmp_path: Path) -> None:
    """Of a range whose beginning is gone the rest is copied; of one that is gone, nothing."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(30))
    played = play(kafka, topic, max_records=10, dead_letters=str(tmp_path / "letters"))
    first, second, _ = played.until({0: 30})
    kafka.delete_records(topic, 0, 15)
    assert played.source.keep(played.dead(first)) == {}
    assert str(played.source.keep(played.dead(second))["copy"]).endswith("/15-20/batch.ndjson")
