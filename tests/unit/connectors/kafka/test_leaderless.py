"""Partitions that no broker leads: they wait and are named, the others go on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka import topic as module
from connectors.kafka.cluster import TopicPartition
from connectors.streams import LifeRef, Place, SourceUnavailable, StreamSource
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


def _later(source: StreamSource, cluster: ScriptedCluster) -> Mapping[str, str]:
    """What is found once the partition 1 is led, while 0 is known."""
    known = {"t/0": Place(planned="0", done="0")}
    assert source.discover(known).partitions == {}
    assert not source.stale
    cluster.make("t", (0, 5), (2, 9))
    source.poll([want("t/0", 0)], 0)
    assert source.stale
    found = source.discover(known).partitions
    assert not source.stale
    return found


def test_a_new_partition_waits_for_its_leader(cluster: ScriptedCluster, open_source: Open) -> None:
    """One that is added without a leader is discovered when it has one, from its beginning."""
    cluster.make("t", (0, 5))
    source = open_source(start="latest")
    cluster.make("t", (0, 5), (2, 9), leaderless=(1,))
    assert _later(source, cluster) == {"t/1": "2"}


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(
    ("start", "begins"),
    [
        ("earliest", "2"),
        ("latest", "7"),
        ("2026-03-29T01:00:00Z", "7"),
        ({"1": 4}, "4"),
        ({"0": 4}, "2"),
    ],
)
def test_registering_waits_for_no_leader(
    cluster: ScriptedCluster, open_source: Open, start: Any, begins: str, again: bool
) -> None:
    """A partition without a leader is named, and begins where the trigger is told to as soon as it
    has one, also for a daemon that was started again. What was written since the trigger began
    counts for `latest`, so its time is asked for."""
    cluster.make("t", (0, 5), (2, 9), leaderless=(1,))
    cluster.times[TopicPartition("t", 1)] = 7
    before = time.time_ns() // 1_000_000
    source = open_source(start=start)
    after = time.time_ns() // 1_000_000
    assert source.troubles().keys() == {"t/1"}
    if again:
        source.close()
        cluster.topics.pop("t")
        source = open_source(start=start)
        cluster.make("t", (0, 5), (2, 9), leaderless=(1,))
    assert _later(source, cluster) == {"t/1": begins}
    if start == "latest":
        assert before <= cluster.asked_time <= after


def test_who_has_forgotten_leaves_nothing_out(
    cluster: ScriptedCluster, open_source: Open, tmp_path: Path
) -> None:
    """Without its file, or with one that is broken, the partition begins at its beginning."""
    cluster.make("t", (0, 5), (2, 9), leaderless=(1,))
    open_source(start="latest").close()
    (tmp_path / "awaited.json").write_text("[1")
    cluster.topics.pop("t")
    source = open_source(start="latest")
    cluster.make("t", (0, 5), (2, 9), leaderless=(1,))
    assert _later(source, cluster) == {"t/1": "2"}


def test_registering_needs_one_leader(cluster: ScriptedCluster, open_source: Open) -> None:
    """Where no partition is led nothing can be said of the topic; it is tried again."""
    cluster.make("t", (0, 5), leaderless=(0,))
    with pytest.raises(SourceUnavailable, match="no broker leads"):
        open_source()


def test_lives_of_others_are_told_of(cluster: ScriptedCluster, open_source: Open) -> None:
    """Of a life whose partition has no leader nothing can be told; of the others it is."""
    cluster.make("t", (0, 5), (0, 5))
    source = open_source(mode="follow")
    cluster.make("t", (0, 5), (0, 5), leaderless=(1,))
    lives = [LifeRef(partition=f"t/{n}", run_id=f"r{n}", attempt=1, position="0") for n in range(2)]
    assert source.progress(lives).keys() == {"r0"}
