"""Receivers of hooks: opened once, closed when nobody uses them any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from connectors.abc import JSON
from connectors.push import PushRefused, PushRequest, Receiver, Taken
from connectors.queues import Message
from connectors.services import Scale
from connectors.streams import SourceContext
from orchestrator.services import hooks as module
from orchestrator.services.definitions import Definitions, to_body
from orchestrator.services.hooks import Hooks
from orchestrator.services.opening import Opener
from orchestrator.services.reader import Shelf
from orchestrator.store.copies import Copies
from orchestrator.store.database import canonical
from orchestrator.store.errors import Missing
from orchestrator.store.inbox import Inboxes
from orchestrator.store.leftovers import Leftovers
from orchestrator.store.lives import Lives
from orchestrator.store.sources import Sources
from orchestrator.store.streams import Streams
from orchestrator.store.telling import Telling
from orchestrator.store.triggers import NewTrigger, new_uid
from tests.support.desk import Desk
from tests.support.ledger import define, digest
from tests.support.queuesource import MemoryConnector

REQUEST = PushRequest(headers={"id": "a"}, query={}, body=b"", sender="127.0.0.1", at=0)


class Counted(Receiver):
    """Says whether it is open, and lets a test look into a request that is under way."""

    def __init__(self) -> None:
        self.closed = 0
        self.during: list[Hooks] = []

    def receive(self, request: PushRequest) -> Taken:
        for hooks in self.during:
            hooks.find("other")
            assert not self.closed, "a request is under way"
        if "id" not in request.headers:
            raise PushRefused(401, "no")
        return Taken(messages=[Message(id=request.headers["id"], body={})])

    def close(self) -> None:
        self.closed += 1


class Connector(MemoryConnector):
    """Makes receivers that are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[Counted] = []

    def receiver(self, settings: Mapping[str, JSON], context: SourceContext) -> Receiver | None:
        self.made.append(Counted())
        return self.made[-1]


def _none(scale: Scale) -> NoReturn:
    raise AssertionError(f"nothing is scaled here: {scale}")


@pytest.fixture
def connector() -> Connector:
    return Connector()


@pytest.fixture
def hooks(desk: Desk, connector: Connector, tmp_path: Path) -> Iterator[Hooks]:
    """Two triggers that are brought events."""
    db, ledger = desk.ledger.db, desk.ledger
    for name in ("hook", "other"):
        body = canonical(to_body(define(settings={"queue": name, "hook": True})))
        new = NewTrigger(
            name=name,
            kind="queue",
            definition_hash=digest(body),
            definition=body,
            template_hash="t" * 32,
            job="{}",
            uid=new_uid(),
            partitions=[],
            outside=True,
        )
        ledger.triggers.create([new], "test")
    shelf = Shelf(
        sources=Sources(db, "me"),
        streams=Streams(db),
        lives=Lives(db),
        leftovers=Leftovers(db),
        inboxes=Inboxes(db),
        telling=Telling(db),
    )
    known = {"queue": connector}
    opener = Opener(
        shelf,
        known,
        desk.clock,
        instance="i",
        secrets={},
        data_dir=tmp_path,
        max_in_flight=9,
        copies=Copies(db),
        scaling=_none,
    )
    definitions = Definitions(ledger.triggers)
    found = Hooks(
        ledger.triggers, definitions, shelf.sources, shelf.inboxes, known, opener, desk.clock
    )
    yield found
    found.close()
    assert all(receiver.closed for receiver in connector.made)


def test_a_receiver_serves_all_requests(hooks: Hooks, connector: Connector) -> None:
    """It is made for the first one."""
    for _ in range(3):
        assert hooks.find("hook").receive(REQUEST).status == 202
    assert len(connector.made) == 1


def test_a_receiver_in_use_is_not_closed(
    hooks: Hooks, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are more hooks than are kept open: only once its last request is over."""
    monkeypatch.setattr(module, "_KEEP", 1)
    hook = hooks.find("hook")
    [receiver] = connector.made
    receiver.during.append(hooks)
    assert hook.receive(REQUEST).status == 202
    assert receiver.closed == 1
    assert not connector.made[1].closed


def test_a_request_that_outlives_its_receiver_gets_another(
    hooks: Hooks, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its body took its time."""
    monkeypatch.setattr(module, "_KEEP", 1)
    hook = hooks.find("hook")
    hooks.find("other")
    assert connector.made[0].closed == 1
    assert hook.receive(REQUEST).status == 202
    assert len(connector.made) == 3


def test_a_refused_request_is_over_as_well(
    hooks: Hooks, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps nothing open."""
    monkeypatch.setattr(module, "_KEEP", 1)
    hook = hooks.find("hook")
    with pytest.raises(PushRefused):
        hook.receive(PushRequest(headers={}, query={}, body=b"", sender="", at=0))
    hooks.find("other")
    assert connector.made[0].closed == 1


def test_unknown_names_have_no_hook(hooks: Hooks) -> None:
    """Without a word about what there is."""
    with pytest.raises(Missing, match="there is no such hook"):
        hooks.find("nobody")
