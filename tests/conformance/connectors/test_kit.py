"""The kit itself: a source that keeps the contract passes, and each that breaks it is found."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pydantic
import pytest
from pydantic import ConfigDict, Field

from connectors.abc import JSON, Overlap
from connectors.fields import Whole
from connectors.queues import Delivery, Inbox, Message, Polled, QueueConnector, QueueSource
from connectors.streams import (
    Batch,
    Discovery,
    Place,
    SourceContext,
    SourceUnavailable,
    StreamConnector,
    StreamSource,
    Want,
)
from connectors.testing import (
    Bad,
    QueueConformance,
    QueueHarness,
    QueueRunner,
    StreamConformance,
    StreamHarness,
    StreamRunner,
)
from connectors.validation import validate

_LOGS: dict[str, list[str]] = {}
_BOXES: dict[str, dict[str, str]] = {}
_TAKEN: dict[str, set[str]] = {}


class Settings(pydantic.BaseModel):
    """Those of both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: str = Field(description="Where the events are.")
    size: Annotated[int, Whole(1, 100)] = Field(3, description="Events of a batch.")


class Log(StreamSource):
    """A list that grows."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        self.settings, self.context = settings, context

    @property
    def interval(self) -> float:
        return 0.0

    @property
    def events(self) -> list[str]:
        if self.settings.place not in _LOGS:
            raise SourceUnavailable("there is no such log")
        return _LOGS[self.settings.place]

    def discover(self, known: Mapping[str, Place]) -> Discovery:
        assert self.events is not None
        return Discovery(identity=self.settings.place, partitions={"p": "0"})

    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        found = [batch for want in wants for batch in self.batches(want)]
        if not found:
            self.context.stop.wait(wait)
        return found

    def batches(self, want: Want) -> Iterator[Batch]:
        begin = int(want.position)
        most = len(self.events) if want.until is None else int(want.until)
        for _ in range(want.room):
            end = min(begin + self.settings.size, most)
            if end > begin:
                yield Batch(partition="p", start=str(begin), end=str(end))
                begin = end

    def close(self) -> None:
        pass


class LogConnector(StreamConnector):
    kind: ClassVar[str] = "log"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "a list that grows"
    settings_model: ClassVar[type[pydantic.BaseModel]] = Settings
    default_overlap: ClassVar[Overlap] = "queue"
    source: ClassVar[type[Log]] = Log

    def check(self, settings: Mapping[str, JSON]) -> None:
        validate(Settings, settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        return {"place": validate(Settings, settings).place}

    def position(self, settings: Mapping[str, JSON], text: str) -> str:
        if text.isascii() and text.isdecimal() and len(text) < 20:
            return text
        raise ValueError("write a number")

    def open(self, settings: Mapping[str, JSON], context: SourceContext) -> StreamSource:
        return self.source(validate(Settings, settings), context)


class LogHarness(StreamHarness):
    connector = LogConnector()
    patience = 1.0

    def __init__(self, place: Path) -> None:
        self.place = str(place)
        _LOGS[self.place] = []

    def settings(self) -> Mapping[str, JSON]:
        return {"place": self.place}

    def bad_settings(self) -> Sequence[Bad]:
        return [({"size": 0}, "size")]

    def put(self, events: Sequence[str]) -> None:
        _LOGS[self.place] += events

    def read(self, batch: Batch) -> Sequence[str]:
        return _LOGS[self.place][int(batch.start) : int(batch.end)]

    def unreachable(self) -> Mapping[str, JSON]:
        return {"place": "absent"}


class TestLog(StreamConformance):
    """A source that keeps the contract."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> LogHarness:
        return LogHarness(tmp_path)


class Gapped(Log):
    def batches(self, want: Want) -> Iterator[Batch]:
        for batch in super().batches(want):
            start = int(batch.start) + (batch.start != "0")
            yield Batch(partition="p", start=str(start), end=batch.end)


class Overlapping(Log):
    def batches(self, want: Want) -> Iterator[Batch]:
        for batch in super().batches(want):
            start = max(0, int(batch.start) - 1)
            yield Batch(partition="p", start=str(start), end=batch.end)


class Remembering(Log):
    """Goes on from what it has handed over itself."""

    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self.at = 0

    def batches(self, want: Want) -> Iterator[Batch]:
        for batch in super().batches(want):
            if int(batch.start) >= self.at:
                self.at = int(batch.end)
                yield batch


class Greedy(Log):
    def batches(self, want: Want) -> Iterator[Batch]:
        more = Want(partition="p", position=want.position, room=want.room + 1, until=want.until)
        return super().batches(more)


class Unbounded(Log):
    def batches(self, want: Want) -> Iterator[Batch]:
        return super().batches(Want(partition="p", position=want.position, room=want.room))


class Deaf(Log):
    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        found = [batch for want in wants for batch in self.batches(want)]
        if not found:
            threading.Event().wait(min(wait, 20))
        return found


class Threaded(Log):
    def poll(self, wants: Sequence[Want], wait: float) -> Sequence[Batch]:
        threading.Thread(target=threading.Event().wait, args=(25,), daemon=True).start()
        return super().poll(wants, wait)


class Early(Log):
    def __init__(self, settings: Settings, context: SourceContext) -> None:
        super().__init__(settings, context)
        Path(settings.place, "opened").write_text("x")


class Once(Log):
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Raising(Log):
    @property
    def events(self) -> list[str]:
        return _LOGS[self.settings.place]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Gapped, "test_events_come_once_and_in_order"),
        (Overlapping, "test_events_come_once_and_in_order"),
        (Remembering, "test_what_is_not_taken_in_comes_again"),
        (Greedy, "test_room_is_respected"),
        (Unbounded, "test_nothing_is_read_beyond_what_is_in_runs_already"),
        (Deaf, "test_stop_while_it_waits"),
        (Threaded, "test_nothing_is_left_of_a_source"),
        (Early, "test_opening_does_no_io"),
        (Once, "test_close_twice"),
    ],
)
def test_a_stream_that_breaks_the_contract_is_found(
    source: type[Log], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By the test that is for it."""
    monkeypatch.setattr(LogConnector, "source", source)
    harness = LogHarness(tmp_path)
    harness.lingers = 1.0
    runner = StreamRunner(harness, tmp_path / "kit")
    with pytest.raises(AssertionError):
        getattr(StreamConformance(), name)(harness=harness, runner=runner)


def test_an_error_that_is_none_of_the_contract_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A KeyError tells nobody that there is no such log."""
    monkeypatch.setattr(LogConnector, "source", Raising)
    with pytest.raises(KeyError):
        StreamConformance().test_a_source_that_is_not_there(LogHarness(tmp_path), tmp_path)


class Box(QueueSource):
    """Messages that stay until they are acknowledged."""

    def __init__(self, settings: Settings, context: SourceContext, inbox: Inbox) -> None:
        self.settings, self.context, self.inbox = settings, context, inbox

    @property
    def interval(self) -> float:
        return 0.0

    def poll(self, room: int, wait: float) -> Polled:
        here = _BOXES.get(self.settings.place)
        if here is None:
            raise SourceUnavailable("there is no such box")
        known = self.inbox.known(list(here))
        fresh = [key for key in here if key not in known][:room]
        if not fresh:
            self.context.stop.wait(wait)
        return Polled(messages=[self.message(key, here[key]) for key in fresh])

    def message(self, key: str, event: str) -> Message:
        return Message(id=key, body={"text": event}, receipt=key)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        for delivery in deliveries:
            _BOXES[self.settings.place].pop(delivery.id, None)
        return [delivery.id for delivery in deliveries]

    def close(self) -> None:
        self.context.stop.set()


class BoxConnector(QueueConnector):
    kind: ClassVar[str] = "box"
    version: ClassVar[str] = "1"
    summary: ClassVar[str] = "messages that stay until they are acknowledged"
    settings_model: ClassVar[type[pydantic.BaseModel]] = Settings
    default_overlap: ClassVar[Overlap] = "queue"
    source: ClassVar[type[Box]] = Box

    def check(self, settings: Mapping[str, JSON]) -> None:
        validate(Settings, settings)

    def identity(self, settings: Mapping[str, JSON]) -> Mapping[str, JSON]:
        return {"place": validate(Settings, settings).place}

    def open(
        self, settings: Mapping[str, JSON], context: SourceContext, inbox: Inbox
    ) -> QueueSource:
        return self.source(validate(Settings, settings), context, inbox)


class BoxHarness(QueueHarness):
    connector = BoxConnector()
    patience = 1.0

    def __init__(self, place: Path) -> None:
        self.place = str(place)
        _BOXES[self.place] = {}

    def settings(self) -> Mapping[str, JSON]:
        return {"place": self.place}

    def bad_settings(self) -> Sequence[Bad]:
        return [({"size": 101}, "size")]

    def put(self, events: Sequence[str]) -> None:
        _BOXES[self.place] |= {f"id {event}": event for event in events}

    def text(self, message: Message) -> str:
        return str(message.body["text"])

    def left(self) -> int:
        return len(_BOXES[self.place])

    def unreachable(self) -> Mapping[str, JSON]:
        return {"place": "absent"}


class TestBox(QueueConformance):
    """A source that keeps the contract."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> BoxHarness:
        return BoxHarness(tmp_path)


class Renaming(Box):
    """Another id in each delivery."""

    def message(self, key: str, event: str) -> Message:
        number = len(_TAKEN.setdefault(key, set()))
        _TAKEN[key].add(str(number))
        return Message(id=f"{key} {number}", body={"text": event}, receipt=key)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        for delivery in deliveries:
            _BOXES[self.settings.place].pop(delivery.receipt, None)
        return [delivery.id for delivery in deliveries]


class Hasty(Box):
    """Forgets what it hands over."""

    def poll(self, room: int, wait: float) -> Polled:
        polled = super().poll(room, wait)
        super().acknowledge([Delivery(id=m.id, receipt="") for m in polled.messages])
        return polled


class Lazy(Box):
    """Says that messages are acknowledged, and they are not."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        return [delivery.id for delivery in deliveries]


class Fussy(Box):
    """A message that is gone is tried for ever."""

    def acknowledge(self, deliveries: Sequence[Delivery]) -> Collection[str]:
        here = _BOXES[self.settings.place]
        return [delivery.id for delivery in deliveries if here.pop(delivery.id, None) is not None]


class Roomy(Box):
    def poll(self, room: int, wait: float) -> Polled:
        return super().poll(room + 1, wait)


class Stuck(Box):
    def poll(self, room: int, wait: float) -> Polled:
        polled = super().poll(room, 0)
        if not polled.messages:
            threading.Event().wait(min(wait, 20))
        return polled


class Unsaid(Box):
    """Values that no job may name."""

    def describe(self, messages: Sequence[Message]) -> Any:
        from connectors.queues import Described

        return Described(values={"box": {"count": len(messages)}})


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Renaming, "test_a_crash_before_acknowledging"),
        (Renaming, "test_ids_are_the_same_in_every_delivery"),
        (Hasty, "test_a_crash_before_intake"),
        (Lazy, "test_every_event_comes"),
        (Fussy, "test_a_crash_after_acknowledging"),
        (Roomy, "test_room_is_respected"),
        (Stuck, "test_stop_while_it_waits"),
        (Stuck, "test_close_while_it_waits"),
        (Unsaid, "test_a_run_is_described"),
    ],
)
def test_a_queue_that_breaks_the_contract_is_found(
    source: type[Box], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By the test that is for it."""
    monkeypatch.setattr(BoxConnector, "source", source)
    harness = BoxHarness(tmp_path)
    runner = QueueRunner(harness, tmp_path / "kit")
    with pytest.raises(AssertionError):
        getattr(QueueConformance(), name)(harness=harness, runner=runner)
