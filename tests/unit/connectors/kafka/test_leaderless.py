"""Partitions that no broker leads: they wait and are named, the others go on."""

from __future__ import annotations

import pytest

from connectors.kafka import topic as module
from connectors.streams import LifeRef, SourceUnavailable
from tests.support.scriptedkafka import ScriptedCluster, want
from tests.unit.connectors.kafka.conftest import Open


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0)


def test_the_others_go_on(cluster: ScriptedCluster, open_source: Open) -> None:
    """Only those that are led are planned; the other is planned once it has a leader again."""
    cluster.make("t", (0, 5), (0, 5))
    source = open_source(max_records=5)
    source.discover({})
    wants = [want("t/0", 0), want("t/1", 0)]
    cluster.make("t", (0, 5), (0, 5), leaderless=(1,))
    assert [batch.partition for batch in source.poll(wants, 0)] == ["t/0"]
    assert source.troubles().keys() == {"t/1"}
    assert source.lag().keys() == {"t/0"}
    asked = cluster.asked["ends"]
    source.poll(wants, 0)
    assert cluster.asked["ends"] == asked + 1  # what cannot answer is not asked again
    cluster.make("t", (0, 5), (0, 5))
    assert {batch.partition for batch in source.poll(wants, 0)} == {"t/0", "t/1"}
    assert source.troubles() == {}


def test_none_is_led(cluster: ScriptedCluster, open_source: Open) -> None:
    """Where nobody can answer the source is unavailable, with the partitions' names."""
    cluster.make("t", (0, 5), (0, 5))
    source = open_source()
    cluster.make("t", (0, 5), (0, 5), leaderless=(0, 1))
    with pytest.raises(SourceUnavailable, match="t/0, t/1"):
        source.poll([want("t/0", 0), want("t/1", 0)], 0)


def test_another_fault_is_for_all(cluster: ScriptedCluster, open_source: Open) -> None:
    """With a leader for each the question has failed for another reason."""
    cluster.make("t", (0, 5))
    source = open_source()
    cluster.fault["ends"] = SourceUnavailable("nobody answers")
    with pytest.raises(SourceUnavailable, match="nobody answers"):
        source.poll([want("t/0", 0)], 0)
    assert source.troubles() == {}


def test_a_new_partition_waits_for_its_leader(cluster: ScriptedCluster, open_source: Open) -> None:
    """One that is added without a leader is discovered when it has one; at registration all are
    waited for, because `start` is asked of each."""
    source = open_source()
    cluster.make("t", (0, 5))
    known = source.discover({})
    places = {name: want(name, int(at)) for name, at in known.partitions.items()}
    cluster.make("t", (0, 5), (0, 5), leaderless=(1,))
    assert source.discover(dict.fromkeys(places)).partitions == {}  # type: ignore[arg-type]
    cluster.make("t", (0, 5), (0, 5))
    assert source.discover(dict.fromkeys(places)).partitions == {"t/1": "0"}  # type: ignore[arg-type]


def test_lives_of_others_are_told_of(cluster: ScriptedCluster, open_source: Open) -> None:
    """Of a life whose partition has no leader nothing can be told; of the others it is."""
    cluster.make("t", (0, 5), (0, 5))
    source = open_source(mode="follow")
    cluster.make("t", (0, 5), (0, 5), leaderless=(1,))
    lives = [LifeRef(partition=f"t/{n}", run_id=f"r{n}", attempt=1, position="0") for n in range(2)]
    assert source.progress(lives).keys() == {"r0"}
