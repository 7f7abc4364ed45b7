"""Sources on a real Mosquitto, opened and closed as an orchestrator does."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from connectors.abc import JSON
from connectors.mqtt.settings import parse_settings
from connectors.mqtt.source import MqttSource
from connectors.queues import Delivery, Inbox, Message
from connectors.streams import SourceContext, SourceUnavailable
from tests.support.mosquitto import Mosquitto, NoMosquitto
from tests.support.waiting import until

_numbers = itertools.count(1)


@pytest.fixture
def own(mosquitto: Mosquitto) -> Iterator[Callable[..., Mosquitto]]:
    """Brokers of one's own, where the shared one is of no use."""
    made: list[Mosquitto] = []

    def make(**options: object) -> Mosquitto:
        try:
            made.append(Mosquitto(**options))  # pyright: ignore[reportArgumentType]
        except NoMosquitto as error:  # the shared one was there
            pytest.fail(f"Mosquitto does not start: {error}")
        return made[-1]

    yield make
    for broker in made:
        broker.close()


class Runner:
    """One trigger's sources, one after the other, and what a store keeps of them."""

    def __init__(self, directory: Path, secrets: Mapping[str, str]) -> None:
        self.name = f"t{next(_numbers)}-{os.getpid()}"
        self._directory = directory / self.name
        self._secrets = secrets
        self.cursor: str | None = None
        self.stop = threading.Event()
        self.source: MqttSource | None = None
        self._early: list[Message] = []

    def open(self, broker: str, topic: str = "", **settings: JSON) -> MqttSource:
        """A new source; the one before is gone."""
        self.close()
        self._early = []
        self.stop = threading.Event()
        context = SourceContext(
            instance="i",
            trigger=self.name,
            trigger_uid="u1",
            secrets=self._secrets,
            data_dir=self._directory,
            stop=self.stop,
        )
        given: dict[str, JSON] = {"topic": topic or f"{self.name}/#", "broker": broker}
        parsed = parse_settings({**given, "batch_window": 0, **settings})
        inbox = Inbox(cursor=self.cursor, known=lambda _: set())
        self.source = MqttSource(parsed, context, inbox)
        return self.source

    def poll(self, room: int = 1000, wait: float = 0.1) -> Sequence[Message]:
        """One poll."""
        assert self.source is not None
        polled = self.source.poll(room, wait)
        self.cursor = polled.cursor or self.cursor
        return polled.messages

    def listening(self, broker: str, topic: str = "", **settings: JSON) -> MqttSource:
        """A source with its subscription."""
        source = self.open(broker, topic, **settings)
        until(lambda: (self._early.extend(self.poll()), source.listening)[1], "it listens")
        return source

    def come(self, count: int, *, acknowledge: bool = True) -> list[Message]:
        """Poll until so many have come, whatever is away meanwhile."""
        found, self._early = self._early, []
        if acknowledge:
            self.acknowledge(found)

        def there() -> bool:
            with suppress(SourceUnavailable):
                found.extend(messages := self.poll())
                if acknowledge and messages:
                    self.acknowledge(messages)
            return len(found) >= count

        until(there, f"{count} messages", within=60, show=lambda: len(found))
        return found

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Tell the broker that these are in the ledger."""
        assert self.source is not None
        self.source.acknowledge([Delivery(id=m.id, receipt=m.receipt) for m in messages])

    def close(self) -> None:
        self.stop.set()
        if self.source is not None:
            self.source.close()


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(tmp_path, {"MQTT_PASSWORD": "hunter2", "KEY": "sealed-with-this"})
    yield made
    made.close()


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Runner]:
    """A second trigger."""
    made = Runner(tmp_path, {})
    yield made
    made.close()


def texts(messages: Sequence[Message]) -> list[str]:
    """What they say, in their order."""
    return [str(message.body["body"]) for message in messages]
