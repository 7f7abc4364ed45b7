"""Shards that cannot be read, or not now: each is named, and the others go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.kinesis.client import Page, Throttled
from connectors.streams import SourceError, SourceRefused, SourceUnavailable
from tests.support.kinesis import ScriptedKinesis, core

P, A = "shardId-000000000000", "shardId-000000000001"


class Selective(ScriptedKinesis):
    """Reads of some shards fail."""

    def __init__(self, shards: int) -> None:
        super().__init__(shards)
        self.bad: dict[str, SourceError] = {}

    def read(self, iterator: str, limit: int) -> Page:
        for shard, error in self.bad.items():
            if shard in iterator:
                raise error
        return super().read(iterator, limit)


def test_a_throttled_shard_is_left_alone_for_a_while(tmp_path: Path):
    """It is nobody's error, unless it lasts; then the reason is told, and it goes on by itself."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 3)
    desk = core(kinesis, tmp_path)
    kinesis.faults = [Throttled("slow down")] * 3
    assert [b.count for b in desk.poll(wait=10)] == [3]
    kinesis.put(P, 1)
    kinesis.faults = [Throttled("slow down")] * 6
    with pytest.raises(SourceUnavailable, match="slow down"):
        desk.poll(wait=120)
    assert [b.count for b in desk.poll(wait=120)] == [1]


def test_trouble_with_one_shard_holds_up_no_other(tmp_path: Path):
    """Only when nothing can be read at all is it the source's trouble."""
    kinesis = ScriptedKinesis(2)
    kinesis.put(P, 3)
    kinesis.put(A, 3)
    desk = core(kinesis, tmp_path, max_wait=0)
    kinesis.faults = [SourceUnavailable("away")]
    assert len(desk.poll(wait=5)) == 1
    assert len(desk.poll(wait=5)) == 1
    kinesis.faults = [SourceUnavailable("away")] * 20
    with pytest.raises(SourceUnavailable, match="away"):
        desk.poll(wait=5)


@pytest.mark.parametrize("error", [SourceUnavailable("away"), SourceRefused("no right")])
def test_a_shard_that_fails_is_named(tmp_path: Path, error: SourceError):
    """It is no error of the source while others can be read, and over once it can be read again."""
    kinesis = Selective(2)
    desk = core(kinesis, tmp_path, max_wait=0)
    kinesis.bad = {P: error}
    for shard in (P, A):
        kinesis.put(shard, 1)
    for _ in range(3):
        kinesis.put(A, 1)
        assert {batch.partition for batch in desk.poll(wait=5)} == {A}
        assert desk.source.troubles() == {P: str(error)}
    kinesis.bad.clear()
    assert {batch.partition for batch in desk.poll(wait=60)} == {P}
    assert desk.source.troubles() == {}


def test_a_throttled_shard_is_named_when_it_lasts(tmp_path: Path):
    """A read or two too many are nothing to speak of."""
    kinesis = Selective(2)
    desk = core(kinesis, tmp_path, max_wait=0)
    kinesis.bad = {P: Throttled("slow down")}
    desk.poll(wait=1)
    assert desk.source.troubles() == {}
    desk.poll(wait=120)
    assert desk.source.troubles() == {P: "slow down"}


def test_a_refusal_of_all_is_told_and_stays_named(tmp_path: Path):
    """Once each time it is met; between two tries the shards are still named."""
    kinesis = Selective(2)
    desk = core(kinesis, tmp_path, max_wait=0)
    kinesis.bad = dict.fromkeys((P, A), SourceRefused("no right"))
    with pytest.raises(SourceRefused, match="no right"):
        desk.poll(wait=5)
    assert desk.poll(wait=5) == []
    assert desk.source.troubles().keys() == {P, A}
    with pytest.raises(SourceRefused, match="no right"):
        desk.poll(wait=60)
