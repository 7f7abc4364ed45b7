"""How many copies there should be, as time goes by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from connectors.services import Scale
from connectors.streams import SourceRefused
from orchestrator.domain.clock import MINUTE, SECOND
from orchestrator.services.scaling import Scaling
from orchestrator.store.errors import Missing
from tests.support.clocks import FakeClock


class Work:
    """What the other trigger has to do."""

    def __init__(self, **scale: Any) -> None:
        self.clock = FakeClock()
        self.lag = 0
        self.waits = 0
        self.came = 0
        self.there = 0
        given: dict[str, Any] = {
            "min": 0,
            "max": 5,
            "on": "lag",
            "of": "orders",
            "target": 10.0,
            "down_after": MINUTE,
        }
        demand = SimpleNamespace(waiting=lambda _: self.waits, due_between=lambda *_: self.came)
        self._scaling = Scaling(
            Scale(**{**given, **scale}),
            cast(Any, SimpleNamespace(get=self._get)),
            cast(Any, demand),
            lambda uid: {f"{uid}/0": self.lag, f"{uid}/1": self.lag},
            self.clock,
        )

    def _get(self, name: str) -> Any:
        if name != "orders":
            raise Missing(f"there is no trigger {name!r}")
        return SimpleNamespace(uid="u")

    def look(self, seconds: int = 0) -> int:
        """Let time pass; how many there are then."""
        self.clock.advance(seconds * SECOND)
        self.there = self._scaling.count(self.there)
        return self.there


def test_more_come_at_once_and_fewer_after_a_while() -> None:
    """From none, up to the most, and back to none."""
    work = Work()
    assert work.look() == 0
    work.lag = 6  # in each of two partitions
    assert work.look() == 2
    work.waits = 1000
    assert work.look() == 5
    work.waits = work.lag = 0
    assert [work.look(20) for _ in range(5)] == [5, 5, 5, 0, 0]


def test_a_dip_lets_none_go() -> None:
    """Only what was enough all the while is; the most of it counts."""
    work = Work()
    work.waits = 50
    assert work.look() == 5
    work.waits = 0
    assert work.look(30) == 5
    work.waits = 50
    assert work.look(20) == 5
    work.waits = 0
    assert work.look(20) == 5
    work.waits = 20
    assert work.look(50) == 5
    work.waits = 0
    assert work.look(20) == 2
    assert [work.look(50), work.look(50), work.look(50)] == [2, 2, 0]


def test_a_rate_counts_runs_a_second() -> None:
    """Those of the last minute."""
    work = Work(on="rate", target=0.5, min=1)
    assert work.look() == 1
    work.came = 60
    assert work.look() == 2


def test_a_trigger_that_is_not_there_is_named() -> None:
    """The service says which."""
    with pytest.raises(SourceRefused, match="'nobody'"):
        Work(of="nobody").look()
