"""What the demo asks for, and what it makes of it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli import times
from orchestrator.cli.demoview import Feed
from orchestrator.cli.errors import CliError
from orchestrator.cli.http import Api
from orchestrator.domain.clock import SECOND, from_rfc3339, to_rfc3339

_BEGUN = from_rfc3339("2026-06-01T12:00:00Z")


class Ledger(Api):
    """Answers as the API does, from runs that a test sets; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.runs: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.away = False

    def have(self, run_id: str, due: int, state: str, ended: int | None = None) -> None:
        """A run, with its times in seconds since the demo began."""
        self.runs[run_id] = {
            "id": run_id,
            "trigger": "t",
            "state": state,
            "reason": "",
            "due_at": to_rfc3339(_BEGUN + due * SECOND),
            "ended_at": None if ended is None else to_rfc3339(_BEGUN + ended * SECOND),
            "attempts": [],
        }

    def get(self, path: str, **params: Any) -> Any:
        if self.away:
            raise CliError("nobody there")
        self.asked.append((path, params))
        if path != "runs":
            return self.runs[path.removeprefix("runs/")]
        since, states = params.get("since"), params.get("state")
        found = [
            run
            for run in self.runs.values()
            if (since is None or from_rfc3339(run["due_at"]) >= from_rfc3339(since))
            and (states is None or run["state"] in states)
        ]
        return {"items": found[: params["limit"]], "next": None}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seconds since the demo began."""
    here = [1]
    monkeypatch.setattr(times, "now", lambda: _BEGUN + here[0] * SECOND)
    return here


def test_what_came_due_while_it_was_away_is_shown(clock: list[int]) -> None:
    """Runs of the session before are not; those that ended since are, whenever they were due."""
    ledger = Ledger()
    ledger.have("before", -500, "succeeded", -490)
    ledger.have("caught-up", -60, "succeeded", 1)
    ledger.have("missed", -120, "skipped", 0)
    look = Feed(ledger, _BEGUN).look()
    assert [row.id for row in look.ended] == ["caught-up"]
    assert look.skipped == 1


def test_only_what_is_new_is_asked_for(clock: list[int]) -> None:
    """After the first look: what came due since, what is open, and how the open ones ended."""
    ledger = Ledger()
    feed = Feed(ledger, _BEGUN)
    ledger.have("slow", 0, "running")
    ledger.have("old", -900, "succeeded", -800)
    assert [row.id for row in feed.look().open] == ["slow"]
    clock[0] = 60
    feed.look()
    clock[0] = 120
    ledger.asked.clear()
    ledger.have("slow", 0, "succeeded", 119)
    ledger.have("late", 58, "succeeded", 61)
    ledger.have("new", 119, "dead", 120)
    look = feed.look()
    assert [row.id for row in look.ended] == ["slow", "late", "new"]
    since = to_rfc3339(_BEGUN + 57 * SECOND)
    assert [(path, params.get("since")) for path, params in ledger.asked] == [
        ("runs", since),
        ("runs", None),
        ("runs/slow", None),
    ]
    assert feed.look().ended == []
    assert feed.succeeded["t"] == 2


def test_an_orchestrator_that_is_away_is_told_and_nothing_is_left_out(clock: list[int]) -> None:
    """What ended while nobody answered is shown afterwards."""
    ledger = Ledger()
    feed = Feed(ledger, _BEGUN)
    feed.look()
    ledger.away = True
    clock[0] = 300
    assert feed.look().trouble == "nobody there"
    ledger.away = False
    ledger.have("meanwhile", 10, "succeeded", 20)
    assert [row.id for row in feed.look().ended] == ["meanwhile"]
