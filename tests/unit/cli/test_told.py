"""What the orchestrator answers, in words for people."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.cli import http
from tests.support.cli import orch


def test_sources_are_counted_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is reached and lacks a secret is not well; what it lacks stands below."""

    def source(name: str, **more: Any) -> dict[str, Any]:
        return {"trigger": name, "state": "ok", "detail": "", "lag": 3, "warnings": []} | more

    sources = [source("a"), source("b"), source("c", warnings=["no secret"])]
    sources.append(source("d", state="away", detail="no route", lag=None))
    answer = {
        "version": "1",
        "instance": "i",
        "database": "sqlite",
        "cluster": {"state": "ok", "since": None, "url": "u", "detail": "", "dispatching": True},
        "triggers": {},
        "runs": {},
        "queues": {},
        "lag_seconds": 0.0,
        "sources": sources,
        "keep_alive": [{"trigger": "s", "copies": [{"copy": 0, "state": "running"}]}],
        "services": [{"name": "firing", "running": True, "last_error": None}],
    }
    monkeypatch.setattr(http.Api, "get", lambda *_: answer)
    assert orch("status").out.splitlines()[-5:] == [
        "sources       2 ok, 2 not, 9 events behind",
        "              d: away, no route",
        "              c: no secret",
        "services      s: 1 of 1 run",
        "loops         all run",
    ]
    answer["sources"] = []
    assert "sources       none" in orch("status").out


@pytest.mark.parametrize(
    ("action", "detail", "told"),
    [
        ("register", {"uid": "u1"}, ""),
        ("change", {"version": 2}, "version 2"),
        ("pause", {"note": ""}, ""),
        ("pause", {"note": "why"}, "why"),
        ("delete", {"cancel": False}, ""),
        ("delete", {"cancel": True}, "cancel"),
        ("discard", {"note": "why", "runs": [], "count": 2}, "2 runs: why"),
        ("redrive", {"trigger": "t", "runs": ["r1", "r2"], "count": 2}, "2 runs, runs r1 r2"),
        ("job", {"template": "x", "count": 1}, "1 job, template x"),
        ("checkpoint set", {"positions": {"p/0": "4"}, "reason": "w"}, "positions p/0=4: w"),
    ],
)
def test_the_trail_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, action: str, detail: dict[str, Any], told: str
) -> None:
    """What is empty, or known already, is left out; a reason comes last."""
    entry = {"at": None, "actor": "me", "action": action, "subject": "t", "detail": detail}
    monkeypatch.setattr(http.Api, "get", lambda *_, **__: {"items": [entry], "next": None})
    _, line = orch("trail").out.splitlines()
    assert line.split("  ")[-1].strip() == (told or "t")


def test_a_kind_that_is_unknown_there() -> None:
    """The orchestrator that has to be restarted is named."""
    problem = {"path": "kind", "message": "no connector"}
    refused = http.Refused(422, "no", [problem])
    assert http.Api("http://127.0.0.1:1").refusal(refused) == (
        "kind: no connector (in the orchestrator at http://127.0.0.1:1: restart it, if the "
        "connector was just installed)"
    )
