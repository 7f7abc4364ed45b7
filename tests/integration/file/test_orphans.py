"""Objects of batches that became no run: removed after hours, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest

from connectors.payloads import range_name, written_at
from orchestrator.domain.clock import HOUR, SystemClock
from orchestrator.domain.states import TriggerState
from orchestrator.services.tending import Tending
from tests.support.clocks import FakeClock
from tests.support.followed import Follower
from tests.support.waiting import until


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    """Follows a file whose batches are objects."""
    store, log = tmp_path / "store", tmp_path / "app.log"
    store.mkdir()
    log.write_bytes(b"")
    settings = {"path": str(log), "start": "beginning", "batch_window": "50ms"}
    made = Follower(settings={**settings, "storage": str(store)}, data_dir=tmp_path / "data")
    made.open()
    yield made
    made.close()


def grow(follower: Follower) -> None:
    with Path(follower.settings["path"]).open("ab") as file:
        file.write(b"x" * 60_000 + b"\n")


def objects(follower: Follower) -> set[Path]:
    place = Path(follower.settings["storage"])
    return {file for file in place.rglob("*") if file.is_file()}


def tending(follower: Follower, clock: FakeClock) -> Tending:
    """Of its source, where no run needs anything else."""
    assert follower.source is not None
    lives, leftovers = Mock(), Mock()
    lives.open.return_value = leftovers.untended.return_value = []
    leftovers.payloads.return_value = []
    leftovers.inputs.side_effect = lambda uid: iter([run.batch.inputs for run in follower.runs])
    return Tending(follower.source, Mock(), lives, leftovers, cast(Any, clock))


def test_what_is_in_no_run_is_removed_after_hours(follower: Follower) -> None:
    """Not while somebody may have it in hand; what a run has stays, however old it is."""
    grow(follower)
    until(follower.turn, "a batch")
    kept = objects(follower)
    positions = dict(follower.positions)
    grow(follower)
    until(follower.turn, "another one")
    follower.runs.pop()  # a power cut before the commit
    follower.positions = positions
    [orphan] = objects(follower) - kept
    foreign = next(iter(kept)).parent.parent / "notes.txt"
    foreign.write_text("not of a run")
    clock = FakeClock(SystemClock().now())
    row = SimpleNamespace(trigger_uid="u", trigger="t", trigger_state=TriggerState.ACTIVE)
    tended = tending(follower, clock)
    definition: Any = SimpleNamespace(policies=SimpleNamespace(on_dead="block"))
    tended.tend(cast(Any, row), definition, news=False)
    assert orphan.exists()
    clock.advance(8 * HOUR)
    tended.tend(cast(Any, row), definition, news=False)
    assert objects(follower) == {*kept, foreign}


def test_what_cannot_be_taken_in_is_one_object(follower: Follower) -> None:
    """A range that is packed again within the hour has the name that it had."""
    now = 487_000 * HOUR
    assert range_name("app/0-10/", now) == range_name("app/0-10/", now + HOUR - 1)
    assert range_name("app/0-10/", now) != range_name("app/0-10/", now + HOUR)
    assert range_name("app/0-10/", now) != range_name("app/0-11/", now)
    assert written_at(f"u-1/{range_name('app', now + 5)}") == now
    assert written_at("u-1/notes/mine.txt") is None
