"""The suite for connectors whose events lie in ordered partitions."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.abc import JSON
from connectors.streams import (
    Batch,
    SourceError,
    StreamSource,
    Want,
)
from connectors.testing.checks import run_of
from connectors.testing.crashes import Fuse, When
from connectors.testing.harness import LifeHarness, StreamHarness
from connectors.testing.runners import StreamRunner, new_context
from connectors.testing.settings import ConnectorConformance
from connectors.testing.watching import Threads, eventually, no_io, within

_SOON = 10.0  # seconds within which somebody who is to stop has stopped
_LONG = 60.0  # seconds that a call would wait if nobody stopped it
_MANY = 12


def numbered(count: int, start: int = 0) -> list[str]:
    """Events that tell their place."""
    return [f"event {number:06}" for number in range(start, start + count)]


class Opening(ConnectorConformance):
    """What holds for every source of a stream."""

    @pytest.fixture
    def runner(
        self, harness: StreamHarness | LifeHarness, tmp_path: Path
    ) -> Iterator[StreamRunner]:
        """Runs the source of the harness."""
        made = StreamRunner(harness, tmp_path / "kit")
        yield made
        made.close()
        harness.close()

    def test_opening_does_no_io(
        self, harness: StreamHarness | LifeHarness, runner: StreamRunner
    ) -> None:
        """A source connects on first use. What it knows of itself it tells without asking."""
        runner.fresh().close()  # modules that are loaded on use
        with no_io():
            source = runner.fresh()
            assert source.interval >= 0
            assert source.keep_for >= 0
            assert source.lag() == {}
            assert isinstance(source.starts(), dict)
            assert source.stale in (True, False)
            assert source.gone("a partition that is not there", "0") in (True, False)
        source.close()

    def test_close_twice(self, harness: StreamHarness | LifeHarness, runner: StreamRunner) -> None:
        """Before anything was done, and after."""
        unused = runner.fresh()
        unused.close()
        unused.close()
        harness.put(numbered(2))
        runner.poll()
        source = runner.source
        source.close()
        source.close()

    def test_nothing_is_left_of_a_source(
        self, harness: StreamHarness | LifeHarness, runner: StreamRunner
    ) -> None:
        """No thread goes on once it is closed."""
        threads = Threads(harness.shared_threads)
        harness.put(numbered(3))
        for _ in range(2):
            runner.poll()
            runner.lose()
        threads.gone(harness.lingers)

    def test_stop_while_it_waits(
        self, harness: StreamHarness | LifeHarness, runner: StreamRunner
    ) -> None:
        """Who waits for events that do not come is woken when the source is to end."""
        runner.poll()
        source, stop = runner.source, runner.context.stop
        wants = runner.wants()
        timer = threading.Timer(0.3, stop.set)
        timer.start()
        try:
            within(_SOON, "poll", lambda: _until_stopped(source, wants, stop))
        finally:
            timer.cancel()

    def test_stop_before_it_begins(
        self, harness: StreamHarness | LifeHarness, runner: StreamRunner
    ) -> None:
        """A source that is to end before its first call does not wait for anything."""
        source = runner.source
        runner.context.stop.set()
        within(_SOON, "discover", lambda: _expected(lambda: source.discover({})))
        within(_SOON, "poll", lambda: _expected(lambda: source.poll([], _LONG)))

    def test_a_source_that_is_not_there(
        self, harness: StreamHarness | LifeHarness, tmp_path: Path
    ) -> None:
        """It is said, by an error of the contract that a person understands."""
        settings = harness.unreachable()
        if settings is None:
            pytest.skip("there is no such thing, says the harness")
        context = new_context(harness, tmp_path / "kit")
        source = harness.connector.open(settings, context)
        try:
            with pytest.raises(SourceError) as caught:
                _first_calls(source)
        finally:
            context.stop.set()
            source.close()
            harness.close()
        told_well(caught.value, harness.secrets)

    def test_positions_that_people_write(
        self, harness: StreamHarness | LifeHarness, runner: StreamRunner
    ) -> None:
        """A position that was handed over is taken back as it is; rubbish is refused, and why."""
        harness.put(numbered(2))
        runner.poll()
        connector, settings = harness.connector, harness.settings()
        places = {*runner.planned.values(), *(batch.start for batch in runner.taken)}
        with no_io():
            for position in places:
                assert connector.position(settings, position) == position
            for rubbish in ("", " ", "\0", "no position!", "ü", "x" * 5000):
                with pytest.raises(ValueError, match=r"\S") as caught:
                    connector.position(settings, rubbish)
                assert str(caught.value).replace("\n", "").isprintable()


class StreamConformance(Opening):
    """For connectors that hand over ranges of events."""

    def test_an_empty_source(self, harness: StreamHarness, runner: StreamRunner) -> None:
        """Nothing runs, and nothing fails."""
        runner.discover()
        for _ in range(3):
            assert [batch for batch in runner.poll() if batch.outcome == "run"] == []

    def test_events_come_once_and_in_order(
        self, harness: StreamHarness, runner: StreamRunner
    ) -> None:
        """Batches tile: every event is in one of them, and none is in two."""
        runner.discover()
        expected = numbered(_MANY)
        harness.put(expected[:5])
        runner.until(5, harness.read)
        harness.put(expected[5:])
        runner.until(_MANY, harness.read)
        runner.quiet()
        assert sorted(runner.events(harness.read)) == expected
        in_order(runner, harness)

    def test_what_is_not_taken_in_comes_again(
        self, harness: StreamHarness, runner: StreamRunner
    ) -> None:
        """Handing over a batch promises nothing: the next want begins where it did."""
        runner.discover()
        harness.put(numbered(5))
        seen: list[Batch] = []

        def come() -> bool:
            seen.extend(batch for batch in runner.poll(take=False) if batch.outcome == "run")
            return bool(seen)

        eventually(come, "a batch comes", harness.patience)
        runner.until(5, harness.read)
        assert sorted(runner.events(harness.read)) == numbered(5)

    @pytest.mark.parametrize("call", ["discover", "poll", "commit"])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("nth", [1, 3])
    def test_a_crash_anywhere(
        self, harness: StreamHarness, tmp_path: Path, call: str, when: When, nth: int
    ) -> None:
        """The source is thrown away; another goes on from the positions, and nothing is lost and
        nothing comes twice."""
        fuse = Fuse(call=call, when=when, nth=nth)
        runner = StreamRunner(harness, tmp_path / "kit", fuse)
        first = StreamRunner(harness, tmp_path / "kit")
        try:
            # Where a trigger begins is settled before its first event.
            first.discover()
            runner.planned.update(first.planned)
            first.close()
            expected = numbered(_MANY)
            for begin in range(0, _MANY, 4):
                harness.put(expected[begin : begin + 4])
                runner.until(begin + 4, harness.read, room=2)
                if call == "discover":
                    runner.lose()
            while not fuse.blown:
                runner.try_poll()
                if call == "discover":
                    runner.lose()
            runner.until(_MANY, harness.read)
            assert sorted(runner.events(harness.read)) == expected
            in_order(runner, harness)
        finally:
            first.close()
            runner.close()
            harness.close()

    def test_resume_from_every_position(self, harness: StreamHarness, runner: StreamRunner) -> None:
        """From where any batch began, the rest comes: the positions are all that is needed."""
        runner.discover()
        harness.put(numbered(4))
        runner.until(4, harness.read)
        harness.put(numbered(4, 4))
        runner.until(8, harness.read)
        whole = list(runner.taken)
        planned = dict(runner.planned)
        for number, batch in enumerate(whole):
            runner.lose()
            runner.taken = []
            runner.planned = planned | _first_of(whole[number:])
            rest = [
                event
                for one in whole[number:]
                if one.outcome == "run"
                for event in harness.read(one)
            ]
            assert sorted(runner.until(len(rest), harness.read)) == sorted(rest), batch.start

    def test_room_is_respected(self, harness: StreamHarness, runner: StreamRunner) -> None:
        """No more batches than asked for; none where there is no room, however long one asks."""
        runner.discover()
        harness.put(numbered(_MANY))
        for _ in range(5):
            assert runner.poll(room=0) == []
        runner.until(_MANY, harness.read, room=1)
        assert sorted(runner.events(harness.read)) == numbered(_MANY)

    def test_nothing_is_read_beyond_what_is_in_runs_already(
        self, harness: StreamHarness, runner: StreamRunner
    ) -> None:
        """After a restore: batches end where the runs begin that were found again."""
        runner.discover()
        harness.put(numbered(3))
        runner.until(3, harness.read)
        begin, known = _first_of(runner.taken), dict(runner.planned)
        harness.put(numbered(3, 3))
        runner.lose()
        runner.planned, runner.taken = {**known, **begin}, []

        def there() -> bool:
            runner.poll(until=known)
            return runner.planned == known

        eventually(there, "everything before it is read", harness.patience)
        for _ in range(3):
            assert runner.poll(until=known) == []
        assert sorted(runner.events(harness.read)) == numbered(3)

    def test_halves_tile(self, harness: StreamHarness, runner: StreamRunner) -> None:
        """A batch that is split gives two that hold what it held; or none, where it cannot be."""
        runner.discover()
        harness.put(numbered(6))
        runner.until(6, harness.read)
        for batch in runner.runs:
            halves = runner.source.split(run_of(batch))
            assert len(halves) in (0, 2)
            if halves:
                first, second = halves
                assert (first.start, second.end) == (batch.start, batch.end)
                assert first.end == second.start
                assert first.start != first.end
                assert second.start != second.end
                found = [*harness.read(first), *harness.read(second)]
                assert found == list(harness.read(batch))

    def test_objects_are_removed_twice(self, harness: StreamHarness, runner: StreamRunner) -> None:
        """Clearing up after a run is repeated after a crash, and takes objects of others, too."""
        runner.discover()
        harness.put(numbered(3))
        runner.until(3, harness.read)
        strange: list[Mapping[str, JSON]] = [
            {"Source": {"Type": "urlDownload", "Params": {"URL": "http://127.0.0.1:9/x"}}},
            {"Source": {"Type": "localDirectory", "Params": {"SourcePath": "/nonexistent"}}},
        ]
        for batch in runner.runs:
            for _ in range(2):
                runner.source.forget([*batch.inputs, *strange])

    def test_commit_of_anything(self, harness: StreamHarness, runner: StreamRunner) -> None:
        """`done` may be told before anything else, of no partition, and twice."""
        runner.discover()
        begin = dict(runner.planned)
        runner.lose()
        for done in ({}, begin, begin):
            runner.source.commit(done)
        harness.put(numbered(2))
        runner.until(2, harness.read)
        for _ in range(2):
            runner.source.commit(dict(runner.planned))


def in_order(runner: StreamRunner, harness: StreamHarness) -> None:
    """AssertionError unless the events of each partition come as they were put."""
    for name in {batch.partition for batch in runner.runs}:
        mine = [batch for batch in runner.runs if batch.partition == name]
        found = list(itertools.chain.from_iterable(harness.read(batch) for batch in mine))
        assert found == sorted(found), f"{name}: events come in another order than they were put"


def told_well(error: SourceError, secrets: Mapping[str, str]) -> None:
    """AssertionError for an error that is not for people."""
    text = str(error)
    assert text.strip(), "an error says what is wrong"
    assert not any(secret in text for secret in secrets.values()), "a secret is shown"


def _first_calls(source: StreamSource) -> None:
    source.discover({})
    source.poll([], 0.1)


def _first_of(batches: list[Batch]) -> dict[str, str]:
    """Where each partition begins in these batches."""
    found: dict[str, str] = {}
    for batch in batches:
        found.setdefault(batch.partition, batch.start)
    return found


def _until_stopped(source: StreamSource, wants: list[Want], stop: threading.Event) -> None:
    """Poll as long as nobody has said to stop, and then come back."""
    while not stop.is_set():
        _expected(lambda: source.poll(wants, _LONG))
        stop.wait(min(source.interval, 0.2))


def _expected(act: Callable[[], object]) -> None:
    """Call something that may say that it was stopped."""
    with suppress(SourceError):
        act()
