"""Checkpoints that nobody sets: what a service, a queue and a template answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, serving, trigger


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """An orchestrator with one paused trigger of each kind, and no cluster."""
    kinds: dict[str, dict[str, Any]] = {
        "service": {},
        "job": {},
        "directory": {"path": str(tmp_path)},
    }
    with serving(tmp_path / "data") as served:
        for kind, settings in kinds.items():
            document = trigger(f"of-{kind}", kind=kind, **settings)
            del document["schedule"]
            served.post("/triggers", document, status=201)
            served.post(f"/triggers/of-{kind}/pause", {"note": "a test"})
        yield served


@pytest.mark.parametrize(
    ("kind", "how", "words"),
    [
        ("service", "", "begins where its copies have reported that they are"),
        ("service", "/restart", "begins where its copies have reported that they are"),
        ("directory", "", "events without order: `orch checkpoints restart`"),
        ("job", "", "its runs are asked for one by one"),
        ("job", "/restart", "no checkpoints that can be set"),
    ],
)
def test_what_has_no_positions_says_what_it_has(api: Api, kind: str, how: str, words: str) -> None:
    """Nothing is noted that would never be carried out."""
    body = {"reason": "x"} if how else {"positions": {"0": "7"}, "reason": "x"}
    answer = api.post(f"/checkpoints/of-{kind}{how}", body, status=409)
    assert words in answer["detail"]
