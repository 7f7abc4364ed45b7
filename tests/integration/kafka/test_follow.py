"""Mode follow against a real broker: commits of a follower are its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.streams import LifeRef
from tests.support.kafka import Kafka
from tests.support.kafkasources import Played, numbered
from tests.support.scriptedkafka import want
from tests.support.waiting import until

Play = Callable[..., Played]


@pytest.fixture(params=["kafka-python", "confluent"])
def play(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Play]:
    """Opens sources with both clients, and closes them."""
    opened: list[Played] = []

    def one(kafka: Kafka, topic: str, **settings: object) -> Played:
        played = Played(kafka, tmp_path, topic, client=request.param, mode="follow", **settings)
        played.discover()
        opened.append(played)
        return played

    yield one
    for played in opened:
        played.close()


class Follower:
    """What a job does: a partition assigned by hand, commits that name the attempt."""

    def __init__(self, values: Any, name: str) -> None:
        from confluent_kafka import Consumer
        from confluent_kafka import TopicPartition as Assigned

        self._make = Assigned
        self._name = name
        self._topic, self._partition = values["topic"], values["partition"]
        self._consumer = Consumer(
            {
                "bootstrap.servers": values["brokers"],
                "group.id": values["group"],
                "enable.auto.commit": False,
                "isolation.level": values["isolation"],
            }
        )
        self._consumer.assign([Assigned(self._topic, self._partition, values["start"])])

    def read(self, count: int) -> list[int]:
        """Offsets of the next records."""
        offsets: list[int] = []

        def enough() -> bool:
            for message in self._consumer.consume(count - len(offsets), 0.2):
                offset = message.offset()
                assert message.error() is None
                assert offset is not None
                offsets.append(offset)
            return len(offsets) >= count

        until(enough, f"{count} records", show=lambda: offsets)
        return offsets

    def commit(self, offset: int) -> None:
        """Commit as the task contract says."""
        place = self._make(self._topic, self._partition, offset, self._name)

        def committed() -> bool:
            taken = self._consumer.commit(offsets=[place], asynchronous=False)
            return taken is not None and taken[0].error is None

        until(committed, f"offset {offset} is committed")

    def close(self) -> None:
        self._consumer.close()


def test_a_life_moves_by_its_own_commits(kafka: Kafka, play: Play) -> None:
    """A follower begins at the position and commits; a zombie of a former attempt commits to the
    same group and is not believed; a life after it begins where the store is."""
    topic = kafka.topic()
    kafka.produce(topic, 0, numbered(100))
    played = play(kafka, topic)
    name = f"{topic}/0"
    (batch,) = played.source.poll([want(name, 0)], 0)
    assert batch.life is not None
    values: Any = batch.values["kafka"]
    life = LifeRef(partition=name, run_id="r1", attempt=2, position="0")
    assert played.source.progress([life])["r1"].lag == 100

    follower, zombie = Follower(values, "r1/2"), Follower(values, "r1/1")
    try:
        assert follower.read(40) == list(range(40))
        follower.commit(40)
        reached = played.source.progress([life])["r1"]
        assert (reached.position, reached.lag) == ("40", 60)
        assert zombie.read(90) == list(range(90))
        zombie.commit(90)
        life = LifeRef(partition=name, run_id="r1", attempt=2, position="40")
        assert played.source.progress([life])["r1"].position == "40"
        follower.commit(60)
        assert played.source.progress([life])["r1"].position == "60"
    finally:
        follower.close()
        zombie.close()
    (again,) = played.source.poll([want(name, 60)], 0)
    assert again.start == "60"
    assert played.source.poll([want(name, 100)], 0) == []
