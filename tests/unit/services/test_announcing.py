"""Announcing to a broker that says what the test wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from connectors.broker import link
from connectors.broker.address import parse
from connectors.broker.terms import Terms
from orchestrator.domain.clock import SECOND
from orchestrator.domain.signals import Signals
from orchestrator.services.announcing import Announcing
from orchestrator.store.announcements import Untold
from tests.support.clocks import FakeClock
from tests.support.scriptedmqtt import CONNECT, ScriptedBroker
from tests.support.waiting import until


class Ledger:
    """One run that has changed."""

    def __init__(self) -> None:
        self.told_of: list[str] = []

    def untold(self) -> list[Untold]:
        names = ("trigger", "key", "state", "reason", "attempts", "exit_code", "stdout", "stderr")
        times = ("created_at", "due_at", "started_at", "ended_at")
        run: dict[str, Any] = {**dict.fromkeys(names, ""), **dict.fromkeys(times)}
        return [Untold(run_id="r1", revision=1, run={**run, "attempts": 0})]

    def told(self, found: Sequence[Untold]) -> None:
        self.told_of += [one.run_id for one in found]


def test_a_broker_that_does_not_answer_gets_another_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is noted, and nothing heaps up in a connection that nobody reads."""
    monkeypatch.setattr(link, "ANSWER", 0.2)
    broker, clock, ledger = ScriptedBroker(), FakeClock(), Ledger()
    broker.newer = True
    terms = Terms(address=parse(broker.url), client_id="c", lasting=False)
    announcing = Announcing(
        clock,
        Signals(),
        ledger,  # pyright: ignore[reportArgumentType]
        terms,
        instance="i",
        keep=SECOND,
    )
    for count in (1, 2):
        again = announcing.run_once()
        assert again is not None
        assert again > clock.now()
        assert "no answer" in announcing.trouble
        clock.advance(again - clock.now())
        until(lambda count=count: broker.connections == count, "it came", show=lambda: broker.said)
    assert [packet.kind for packet in broker.said].count(CONNECT) == 2
    assert ledger.told_of == []
    announcing.stop()
    broker.close()
