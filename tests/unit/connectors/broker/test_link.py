"""A connection to a broker that is closed when it is not yet, or not any more."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from connectors.broker.address import parse
from connectors.broker.client import Client
from connectors.broker.link import Link
from connectors.broker.terms import Terms
from connectors.streams import SourceUnavailable
from tests.support.scriptedmqtt import ScriptedBroker


def test_closed_while_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another thread, before there is anything to close: nothing is left open."""
    broker = ScriptedBroker()
    terms = Terms(address=parse(broker.url), client_id="c", protocol="3.1.1")
    link = Link(terms, threading.Event(), name="link")
    connect, clients = Client.connect, list[Client]()

    def connected(client: Client, *args: Any, **options: Any) -> Any:
        code = connect(client, *args, **options)
        clients.append(client)
        closing = threading.Thread(target=link.close)
        closing.start()
        closing.join(10)
        return code

    monkeypatch.setattr(Client, "connect", connected)
    with pytest.raises(SourceUnavailable, match="closed"):
        link.open()
    sock = clients[0].socket()
    assert sock is None or sock.fileno() == -1
    assert not [one for one in threading.enumerate() if one.name == "link"]
    link.close()
    broker.close()
