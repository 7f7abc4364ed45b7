"""The suite for connectors whose batches are long-lived consumers."""

from __future__ import annotations

from connectors.streams import Batch, LifeRef, Want
from connectors.testing.harness import LifeHarness
from connectors.testing.runners import StreamRunner
from connectors.testing.streams import Opening, numbered
from connectors.testing.watching import eventually


class LifeConformance(Opening):
    """For connectors whose batches are consumers that commit their own progress."""

    def test_a_life_begins_where_there_is_something(
        self, harness: LifeHarness, runner: StreamRunner
    ) -> None:
        """Its end is open; beside a run that is open no other begins."""
        runner.discover()
        batch = begun(harness, runner)
        assert batch.life is not None
        assert batch.life.duration > 0
        assert batch.life.stall_after > 0
        busy = [
            Want(partition=w.partition, position=w.position, room=4, idle=False)
            for w in runner.wants()
        ]
        for _ in range(3):
            assert runner.source.poll(busy, 0.1) == []

    def test_progress_is_what_the_attempt_has_committed(
        self, harness: LifeHarness, runner: StreamRunner
    ) -> None:
        """It grows, is never behind what was asked about, and another attempt's does not count."""
        runner.discover()
        batch = begun(harness, runner)
        life = LifeRef(partition=batch.partition, run_id="r1", attempt=1, position=batch.start)
        before = runner.source.progress([life])
        assert all(one.position == batch.start for one in before.values())
        assert harness.consume(batch, "r1", 1, 2) == numbered(2)
        other = LifeRef(partition=batch.partition, run_id="r2", attempt=1, position=batch.start)

        def moved() -> bool:
            return runner.source.progress([life])["r1"].position != batch.start

        eventually(moved, "progress is seen", harness.patience)
        assert all(one.position == batch.start for one in runner.source.progress([other]).values())

    def test_the_next_life_goes_on(self, harness: LifeHarness, runner: StreamRunner) -> None:
        """From the progress of the one before, with another source."""
        runner.discover()
        batch = begun(harness, runner)
        harness.consume(batch, "r1", 1, 3)
        life = LifeRef(partition=batch.partition, run_id="r1", attempt=1, position=batch.start)
        runner.lose()
        found: list[str] = []

        def moved() -> bool:
            found[:] = [one.position for one in runner.source.progress([life]).values()]
            return bool(found) and found[0] != batch.start

        eventually(moved, "progress is seen", harness.patience)
        runner.planned[batch.partition] = found[0]
        following = begun(harness, runner, put=0)
        assert harness.consume(following, "r2", 1, 2) == numbered(2, 3)


def begun(harness: LifeHarness, runner: StreamRunner, put: int = 5) -> Batch:
    """The life that begins once there are events."""
    harness.put(numbered(put))
    lives: list[Batch] = []

    def come() -> bool:
        lives.extend(runner.poll())
        return bool(lives)

    eventually(come, "a life begins", harness.patience)
    (batch,) = lives
    return batch
