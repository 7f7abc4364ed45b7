"""Records that expired before they were read: what is lost, and what is known not to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.streams import END, SourceUnavailable
from tests.support.kinesis import DAY, Core, ScriptedKinesis, core

P, A = "shardId-000000000000", "shardId-000000000001"


def expired(tmp_path: Path, *, idle: int = 0) -> tuple[ScriptedKinesis, Core]:
    """A source that comes back after two days; before it left, it saw `idle` days of nothing."""
    kinesis = ScriptedKinesis()
    kinesis.created -= 10 * DAY
    kinesis.put(P, 2)
    desk = core(kinesis, tmp_path, max_wait=0)
    desk.poll()
    kinesis.now += idle * DAY
    desk.discover()
    desk.poll(wait=3)
    desk.source.close()
    kinesis.now += 2 * DAY - idle * DAY
    return kinesis, desk


def test_records_that_may_have_expired_unread_are_lost_loudly(tmp_path: Path):
    """Kinesis would silently give the oldest: the stretch before it is in the ledger."""
    kinesis, desk = expired(tmp_path)
    planned = desk.planned[P]
    kinesis.put(P, 2)
    later = kinesis.put(P, 2)
    kinesis.expire_records(P, later[0].sequence)
    desk.restart()
    lost, batch = desk.poll()
    assert (lost.outcome, lost.start, lost.end) == ("lost", planned, f"at:{later[0].sequence}")
    assert "expired" in lost.reason
    assert (batch.outcome, batch.count, batch.start) == ("run", 2, lost.end)


def test_a_record_that_is_still_there_proves_that_nothing_is_lost(tmp_path: Path):
    """However old the position is."""
    kinesis, desk = expired(tmp_path)
    kinesis.put(P, 2)
    desk.restart()
    assert [(b.outcome, b.count) for b in desk.poll()] == [("run", 2)]


def test_a_quiet_shard_is_no_loss(tmp_path: Path):
    """The record before the position has expired, but it was seen that nothing followed it."""
    kinesis, desk = expired(tmp_path, idle=2)
    later = kinesis.put(P, 1)
    kinesis.expire_records(P, later[0].sequence)
    desk.restart()
    assert [(b.outcome, b.count) for b in desk.poll()] == [("run", 1)]


def test_a_young_stream_has_lost_nothing(tmp_path: Path):
    """Nothing can have expired in it."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 2)
    desk = core(kinesis, tmp_path, max_wait=0)
    desk.poll()
    desk.restart()
    kinesis.shard[P].records.clear()
    kinesis.put(P, 1)
    assert [(b.outcome, b.count) for b in desk.poll()] == [("run", 1)]


def test_a_start_before_what_is_kept_is_told(tmp_path: Path):
    """What came between the time that was asked for and the oldest record is gone."""
    kinesis = ScriptedKinesis()
    kinesis.created -= 10 * DAY
    kinesis.put(P, 2)
    desk = core(kinesis, tmp_path, start="2025-06-10T00:00:00Z", max_wait=0)
    assert [(b.outcome, b.count) for b in desk.poll()] == [("lost", None), ("run", 2)]


def test_a_shard_that_has_expired_unread_is_lost_to_its_end(tmp_path: Path):
    """It is not listed any more; its children follow."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 2)
    desk = core(kinesis, tmp_path)
    kinesis.open(P)
    del kinesis.shard[P]
    desk.discover()
    (lost,) = desk.poll()
    assert (lost.outcome, lost.start, lost.end) == ("lost", "TRIM_HORIZON", END)
    assert desk.source.gone(P, "TRIM_HORIZON")
    desk.complete()
    assert desk.discover() == [A]


def test_a_listed_shard_that_cannot_be_read_is_not_lost(tmp_path: Path):
    """A stream that is being deleted looks like that for a moment."""
    kinesis = ScriptedKinesis()
    kinesis.put(P, 1)
    desk = core(kinesis, tmp_path)
    held = kinesis.shard.pop(P)
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        desk.poll()
    kinesis.shard[P] = held
    assert [b.count for b in desk.poll(wait=10)] == [1]


def test_what_is_gone_before_a_run_that_was_found_again(tmp_path: Path):
    """The stretch is lost up to that run and no further; where nothing was, it is empty."""
    kinesis, desk = expired(tmp_path)
    records = kinesis.put(P, 4)
    kinesis.expire_records(P, records[2].sequence)
    desk.restart()
    place = f"at:{records[1].sequence}"
    assert [(b.outcome, b.end) for b in desk.poll(until=place)] == [("lost", place)]
    kinesis.created = kinesis.now
    desk.discover()
    place = f"at:{records[2].sequence}"
    (empty,) = desk.poll(until=place)
    assert (empty.outcome, empty.end, empty.count) == ("skipped", place, 0)
