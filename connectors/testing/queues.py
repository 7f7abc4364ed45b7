"""The suite for connectors whose events are messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.queues import Inbox, Message, QueueSource
from connectors.streams import SourceError
from connectors.testing.checks import (
    check_ids,
    check_payloads,
    check_values,
    delivery_of,
    is_json,
    one_object,
    unusable,
)
from connectors.testing.crashes import Fuse, When
from connectors.testing.harness import QueueHarness
from connectors.testing.runners import QueueRunner, new_context
from connectors.testing.settings import ConnectorConformance
from connectors.testing.streams import numbered, told_well
from connectors.testing.watching import Threads, eventually, no_io, within

_SOON = 10.0  # seconds within which somebody who is to stop has stopped
_LONG = 60.0  # seconds that a call would wait if nobody stopped it
_MANY = 25


class QueueConformance(ConnectorConformance):
    """For connectors that poll for messages."""

    @pytest.fixture
    def runner(self, harness: QueueHarness, tmp_path: Path) -> Iterator[QueueRunner]:
        """Runs the source of the harness."""
        made = QueueRunner(harness, tmp_path / "kit")
        yield made
        made.close()
        harness.close()

    # -- opening and closing --------------------------------------------------------------------

    def test_opening_does_no_io(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """A source connects on first use. What it knows of itself it tells without asking."""
        runner.fresh().close()  # modules that are loaded on use
        with no_io():
            source = runner.fresh()
            assert source.interval >= 0
            assert source.remember_for >= 0
            assert source.extend_every >= 0
            assert source.lag() in (None, 0)
            gathering = source.gathering
            assert gathering.size >= 1
            assert gathering.bytes >= 0
            assert gathering.window >= 0
            assert source.acknowledges_on_intake in (True, False)
            assert source.returns_dead in (True, False)
            one_object(source.payloads, source.payloads)
        check_payloads(source.payloads)
        source.close()

    def test_close_twice(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Before anything was done, and after."""
        unused = runner.fresh()
        unused.close()
        unused.close()
        harness.put(numbered(2))
        runner.poll()
        source = runner.source
        source.close()
        source.close()

    def test_nothing_is_left_of_a_source(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """No thread goes on once it is closed."""
        threads = Threads(harness.shared_threads)
        harness.put(numbered(3))
        for _ in range(2):
            runner.turn()
            runner.lose()
        threads.gone(harness.lingers)

    def test_stop_while_it_waits(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Who waits for messages that do not come is woken when the source is to end."""
        runner.poll()
        self._ends(runner.source, runner.context.stop, runner.context.stop.set)

    def test_close_while_it_waits(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """The same for a source that is closed by another thread."""
        runner.poll()
        source, stop = runner.source, runner.context.stop

        def close() -> None:
            stop.set()
            source.close()

        self._ends(source, stop, close)

    def _ends(self, source: QueueSource, stop: threading.Event, act: Callable[[], None]) -> None:
        def wait() -> None:
            while not stop.is_set():
                with suppress(SourceError):
                    source.poll(10, _LONG)
                stop.wait(min(source.interval, 0.2))

        timer = threading.Timer(0.3, act)
        timer.start()
        try:
            within(_SOON, "poll", wait)
        finally:
            timer.cancel()
            timer.join()

    def test_stop_before_it_begins(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """A source that is to end before its first call does not wait for anything."""
        source = runner.source
        runner.context.stop.set()

        def poll() -> None:
            with suppress(SourceError):
                source.poll(10, _LONG)

        within(_SOON, "poll", poll)

    def test_a_source_that_is_not_there(self, harness: QueueHarness, tmp_path: Path) -> None:
        """It is said, by an error of the contract that a person understands."""
        settings = harness.unreachable()
        if settings is None:
            pytest.skip("there is no such thing, says the harness")
        context = new_context(harness, tmp_path / "kit")
        source = harness.connector.open(settings, context, Inbox(cursor=None, known=_nothing))
        assert source is not None
        failures: list[SourceError] = []

        def fails() -> bool:
            try:
                source.poll(10, 0.5)
            except SourceError as error:
                failures.append(error)
            return bool(failures)

        try:
            eventually(fails, "the source says that it is not there", harness.patience)
        finally:
            context.stop.set()
            source.close()
            harness.close()
        told_well(failures[0], harness.secrets)

    # -- messages -------------------------------------------------------------------------------

    def test_an_empty_source(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Nothing comes, and nothing fails."""
        for _ in range(3):
            assert list(runner.poll()) == []
        assert list(runner.source.acknowledge([])) == []
        assert list(runner.source.give_back([])) == []
        assert list(runner.source.extend([])) == []

    def test_every_event_comes(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Each has an id of its own, and is gone from the source once it is acknowledged."""
        harness.put(numbered(_MANY))
        assert runner.until(_MANY) == numbered(_MANY)
        assert harness.left() in (None, 0)
        harness.put(numbered(3, _MANY))
        assert runner.until(_MANY + 3) == numbered(_MANY + 3)
        assert harness.left() in (None, 0)

    def test_room_is_respected(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Not more is handed over than can start; the rest comes later."""
        harness.put(numbered(_MANY))
        assert runner.until(_MANY, room=1) == numbered(_MANY)

    def test_a_crash_before_intake(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """What was handed over and is in no ledger comes again, with the same ids."""
        harness.put(numbered(5))
        lost = self._come(runner, 5, take=False)
        runner.lose()
        harness.expire()
        assert runner.until(5) == numbered(5)
        assert {message.id for message in lost} <= runner.events.keys()

    def test_a_crash_before_acknowledging(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """What is in the ledger comes again under its id, or not at all; its newest receipt
        acknowledges it."""
        harness.put(numbered(5))
        self._come(runner, 5, take=True)
        for _ in range(2):
            runner.lose()
            harness.expire()
            runner.poll()
        assert runner.until(5) == numbered(5)
        assert len(runner.events) == 5
        assert harness.left() in (None, 0)

    def test_a_crash_after_acknowledging(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Nothing comes again, and telling it once more does no harm."""
        harness.put(numbered(5))
        runner.until(5)
        messages = list(runner.events.values())
        runner.lose()
        harness.expire()
        told = runner.source.acknowledge([delivery_of(message) for message in messages])
        assert set(told) == runner.events.keys(), "there is nothing to be done about these"
        for _ in range(3):
            assert list(runner.poll()) == []

    @pytest.mark.parametrize("call", ["poll", "acknowledge", "extend"])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("nth", [1, 2])
    def test_a_crash_anywhere(
        self, harness: QueueHarness, tmp_path: Path, call: str, when: When, nth: int
    ) -> None:
        """The source is thrown away; another goes on, and every event is in the ledger once."""
        fuse = Fuse(call=call, when=when, nth=nth)
        runner = QueueRunner(harness, tmp_path / "kit", fuse)
        try:
            for begin in range(0, 12, 4):
                harness.put(numbered(4, begin))
                runner.until(begin + 4)
            assert runner.texts() == numbered(12)
            assert harness.left() in (None, 0)
            assert fuse.blown or call == "extend" or fuse.calls[call] < nth
        finally:
            runner.close()
            harness.close()

    def test_ids_are_the_same_in_every_delivery(
        self, harness: QueueHarness, runner: QueueRunner
    ) -> None:
        """A message that was given back comes again, as what it was."""
        harness.put(numbered(4))
        came = self._come(runner, 4, take=True)
        deliveries = [delivery_of(message) for message in runner.events.values()]
        taken = runner.source.give_back(deliveries)
        assert set(taken) == {delivery.id for delivery in deliveries}
        if not harness.redelivers:
            assert list(runner.poll()) == []
            return
        first = dict(runner.events)
        assert {message.id for message in came} == first.keys()
        runner.forget(first.keys())
        assert runner.until(4) == numbered(4)
        assert runner.events.keys() == first.keys()
        for key, message in runner.events.items():
            assert harness.text(message) == harness.text(first[key])
            assert message.group == first[key].group

    def test_a_receipt_that_is_not_valid(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Whoever has an old receipt gets an answer: done with, or tried again. Nothing else
        is harmed."""
        harness.put(numbered(3))
        came = self._come(runner, 3, take=True)
        strange = [unusable(message) for message in came]
        for tell in (
            runner.source.extend,
            runner.source.give_back,
            runner.source.acknowledge,
        ):
            with suppress(SourceError):
                check_ids(tell([delivery_of(message) for message in strange]), came)
        runner.lose()
        harness.expire()
        assert runner.until(3) == numbered(3)

    def test_messages_are_extended(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Those that are to be acknowledged at once are some of those that were given."""
        harness.put(numbered(3))
        came = self._come(runner, 3, take=True)
        check_ids(runner.source.extend([delivery_of(message) for message in came]), came)
        assert runner.until(3) == numbered(3)

    def test_a_source_is_told_while_it_waits(
        self, harness: QueueHarness, runner: QueueRunner
    ) -> None:
        """One thread polls, another acknowledges."""
        harness.put(numbered(5))
        came = self._come(runner, 5, take=True)
        source = runner.source
        ended = threading.Event()
        failures: list[Exception] = []

        def poll() -> None:
            try:
                while not ended.is_set():
                    source.poll(10, 0.2)
                    ended.wait(min(source.interval, 0.1))
            except Exception as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        poller = threading.Thread(target=poll, name="kit: poll", daemon=True)
        poller.start()
        try:
            for message in came:
                assert list(source.acknowledge([delivery_of(message)])) == [message.id]
        finally:
            ended.set()
            poller.join(_LONG)
        assert not failures, failures
        assert harness.left() in (None, 0)

    def test_a_run_is_described(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """Values that a job may name, and inputs, for one message and for several."""
        harness.put(numbered(3))
        came = self._come(runner, 3, take=True)
        source = runner.source
        source.describe(came[:1])
        with no_io():
            for messages in (came[:1], came):
                described = source.describe(messages)
                check_values(harness.connector, described.values)
                is_json(list(described.inputs))

    def test_a_cursor_is_all_that_is_kept(self, harness: QueueHarness, runner: QueueRunner) -> None:
        """With it, and with nothing at all, every event that is not known comes, and no other."""
        harness.put(numbered(3))
        runner.until(3)
        runner.lose()
        harness.put(numbered(3, 3))
        assert runner.until(6) == numbered(6)
        runner.lose()
        runner.cursor = None
        harness.put(numbered(3, 6))
        assert runner.until(9) == numbered(9)
        assert not runner.repeated or harness.redelivers

    def _come(self, runner: QueueRunner, count: int, *, take: bool) -> Sequence[Message]:
        """So many messages, whether they are taken in or not."""
        found: dict[str, Message] = {}

        def there() -> bool:
            found.update({message.id: message for message in runner.poll(take=take)})
            return len(found) >= count

        eventually(there, f"{count} messages come", runner.patience)
        return list(found.values())


def _nothing(ids: object) -> set[str]:
    return set()
