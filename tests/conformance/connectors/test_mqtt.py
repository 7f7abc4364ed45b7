"""Messages of a broker of MQTT: the connector passes the kit."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from connectors.abc import JSON
from connectors.mqtt import MqttConnector
from connectors.queues import Message
from connectors.testing import Bad, QueueConformance, QueueHarness
from tests.support.kafkaprocess import free_port
from tests.support.mosquitto import Mosquitto

_numbers = itertools.count(1)


class MqttHarness(QueueHarness):
    """Topics of one test. The session is there before anything is published, as it is once a
    trigger was registered."""

    connector = MqttConnector()

    def __init__(self, broker: Mosquitto, more: Mapping[str, JSON]) -> None:
        number = f"{os.getpid()}-{next(_numbers)}"
        self.root = f"kit/{number}"
        self.more = more
        self.broker = broker
        self.session = f"kit-{number}"
        newer = more.get("protocol") != "3.1.1"
        self.qos = 2 if more.get("qos") == 2 else 1
        first = broker.peer(self.session, newer=newer)
        first.subscribe(f"{self.root}/+", self.qos)
        first.close()
        self.peer = broker.peer()

    def settings(self) -> Mapping[str, JSON]:
        quick: dict[str, JSON] = {"batch_size": 10, "batch_window": 0}
        place: dict[str, JSON] = {"broker": self.broker.url, "topic": f"{self.root}/+"}
        return {**place, "client_id": self.session, **quick, **self.more}

    def bad_settings(self) -> Sequence[Bad]:
        return [
            ({"topic": "a/#/b"}, "topic"),
            ({"broker": "127.0.0.1:1883"}, "broker"),
            ({"protocol": 4}, "protocol"),
            ({"qos": 3}, "qos"),
            ({"batch_size": 0}, "batch_size"),
            ({"client_id": "a b"}, "client_id"),
            ({"keep": "1d"}, "keep"),
        ]

    def put(self, events: Sequence[str]) -> None:
        for event in events:
            name = event.replace(" ", "-")
            carried: Any = {} if self.more.get("protocol") else {"properties": [("id", event)]}
            self.peer.publish(f"{self.root}/{name}", [event], qos=self.qos, **carried)

    def text(self, message: Message) -> str:
        return str(message.body["body"])

    def unreachable(self) -> Mapping[str, JSON]:
        return {**self.settings(), "broker": f"mqtt://127.0.0.1:{free_port()}"}

    def close(self) -> None:
        self.peer.close()


_WAYS: Mapping[str, Mapping[str, JSON]] = {
    "ids": {"id": {"property": "id"}},
    "exactly": {"qos": 2},
    "older": {"protocol": "3.1.1"},
}


class TestMqtt(QueueConformance):
    """Kind mqtt: messages that carry ids, QoS 2 without, and 3.1.1."""

    @pytest.fixture(params=list(_WAYS.values()), ids=list(_WAYS))
    def harness(
        self, mosquitto: Mosquitto, request: pytest.FixtureRequest
    ) -> Iterator[MqttHarness]:
        harness = MqttHarness(mosquitto, request.param)
        yield harness
        harness.close()
