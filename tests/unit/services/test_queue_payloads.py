"""What a queue packs for its runs, and what becomes of it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.storage.directory import DirectoryStore
from connectors.storage.objects import StorageUnavailable
from orchestrator.domain.clock import HOUR, MINUTE
from orchestrator.domain.states import RunState
from orchestrator.store.errors import Unavailable
from tests.support.queuebench import Bench, raises


def objects(place: Path) -> set[Path]:
    return {path for path in place.rglob("*") if path.is_file()}


def test_ten_thousand_messages_are_one_run(bench: Bench, tmp_path: Path) -> None:
    """Gathered over many polls, in one object, in the order in which they came."""
    ids = [f"m{n:05}" for n in range(10_000)]
    bench.open(listing=True, batch_size=10_000, window_ms=60_000, storage=f"{tmp_path / 'files'}")
    for start in range(0, 10_000, 1000):
        bench.queue.listed += ids[start : start + 1000]
        assert bench.keys() == []
        bench.receiving.turn()
    [run] = bench.ledger.runs()
    assert run.data["batch"]["count"] == 10_000
    [file] = objects(tmp_path / "files")
    assert [json.loads(line)["id"] for line in file.read_bytes().splitlines()] == ids


def test_what_was_packed_and_is_in_no_run_is_removed_after_hours(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else: not what is in hand, not what a run has, however old, nor what others have
    put there."""
    place = tmp_path / "files"
    bench.open(storage=f"file://{place}")
    bench.queue.put("a", text="x" * 20_000)
    bench.receiving.turn()
    kept = objects(place)
    bench.queue.put("b", text="x" * 20_000)
    monkeypatch.setattr(bench.shelf.inboxes, "take_in", raises(Unavailable("a power cut")))
    with suppress(Unavailable):
        bench.receiving.turn()
    [orphan] = objects(place) - kept
    foreign = place / f"u-{bench.uid}" / "notes" / "mine.txt"
    foreign.parent.mkdir()
    foreign.write_text("not of a run")
    bench.open(storage=f"file://{place}")
    bench.reporting.turn()
    assert orphan.exists(), "somebody may still have it in hand"
    bench.clock.advance(7 * HOUR)
    bench.reporting.turn()
    assert objects(place) == {*kept, foreign}


def test_what_waits_for_the_store_is_packed_anew_before_it_is_an_orphan(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store was away for a long time: what the run gets then is young."""
    place = tmp_path / "files"
    bench.open(storage=f"file://{place}")
    bench.queue.put("a", text="x" * 20_000)
    with monkeypatch.context() as patch:
        patch.setattr(bench.shelf.inboxes, "take_in", raises(Unavailable("away")))
        for _ in range(3):
            bench.receiving.turn()
            bench.clock.advance(MINUTE)
        [first] = objects(place)
        bench.clock.advance(7 * HOUR)
    bench.receiving.turn()
    assert len(objects(place)) == 2
    bench.reporting.turn()
    [second] = objects(place)
    assert second != first
    assert bench.run("a").payload is not None


def test_orphans_stay_while_their_store_is_away(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the source is served all the same."""
    bench.open(storage=f"file://{tmp_path / 'files'}")
    away = raises(StorageUnavailable("away"))
    monkeypatch.setattr(DirectoryStore, "sweep", lambda *_: away())
    bench.queue.put("a")
    bench.receiving.turn()
    bench.end("a")
    bench.reporting.turn()
    assert bench.queue.messages == {}


def test_a_message_that_was_given_back_has_a_payload_of_its_own(
    bench: Bench, tmp_path: Path
) -> None:
    """What its earlier run has left is removed, and nothing else."""
    bench.open(returns=True, storage=f"file://{tmp_path / 'files'}")
    bench.queue.put("a", text="x" * 20_000)
    bench.receiving.turn()
    bench.end("a", RunState.DEAD)
    bench.reporting.turn()
    bench.receiving.turn()
    bench.clock.advance(MINUTE)
    bench.reporting.turn()
    assert (bench.run("a").payload, bench.keys()) == (None, ["a", "a~1"])
    files = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert len(files) == 1
    assert files[0].read_bytes().startswith(b'{"id":"a"')
