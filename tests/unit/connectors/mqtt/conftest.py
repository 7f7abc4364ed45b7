"""A source on a broker that says what the test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from connectors.abc import JSON
from connectors.mqtt.settings import parse_settings
from connectors.mqtt.source import MqttSource
from connectors.queues import Delivery, Inbox, Message
from connectors.streams import SourceContext
from tests.support.scriptedmqtt import ScriptedBroker
from tests.support.waiting import until


@pytest.fixture
def broker() -> Iterator[ScriptedBroker]:
    made = ScriptedBroker()
    yield made
    made.close()


class Runner:
    """Opens sources of one trigger, one after the other, and keeps what a store would."""

    def __init__(self, broker: ScriptedBroker, directory: Path) -> None:
        self._broker = broker
        self._directory = directory
        self.cursor: str | None = None
        self._source: MqttSource | None = None

    def open(self, **settings: JSON) -> MqttSource:
        """Another process: nothing but the directory and the cursor is left of the one before."""
        self.close()
        base: dict[str, JSON] = {"topic": "t/#", "protocol": "3.1.1", "batch_window": 0}
        context = SourceContext(
            instance="i",
            trigger="sensors",
            trigger_uid="u1",
            secrets={},
            data_dir=self._directory / "data",
            stop=threading.Event(),
        )
        parsed = parse_settings({**base, "broker": self._broker.url, **settings})
        inbox = Inbox(cursor=self.cursor, known=lambda _: set())
        self._source = MqttSource(parsed, context, inbox)
        return self._source

    def poll(self, room: int = 100) -> Sequence[Message]:
        """One poll; the cursor is kept."""
        assert self._source is not None
        polled = self._source.poll(room, 0.1)
        self.cursor = polled.cursor or self.cursor
        return polled.messages

    def come(self, count: int, meanwhile: Callable[[], None] = lambda: None) -> list[Message]:
        """Poll until so many have come."""
        found: list[Message] = []

        def there() -> bool:
            meanwhile()
            found.extend(self.poll())
            return len(found) >= count

        until(there, f"{count} messages", within=20, show=lambda: found)
        return found

    def connected(self) -> None:
        """Poll until there is a connection."""
        before = self._broker.connections
        until(lambda: bool(self.poll()) or self._broker.connections > before, "a connection")

    def close(self) -> None:
        if self._source is not None:
            self._source.close()


@pytest.fixture
def runner(broker: ScriptedBroker, tmp_path: Path) -> Iterator[Runner]:
    made = Runner(broker, tmp_path)
    yield made
    made.close()


def told(message: Message) -> list[Delivery]:
    """The message, as its source is told about it."""
    return [Delivery(id=message.id, receipt=message.receipt)]
