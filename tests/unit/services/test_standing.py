"""How a source does: one state of all its parts, told when it changes, and how long to wait."""

from __future__ import annotations

from typing import cast

import pytest

from connectors.streams import SourceChanged, SourceRefused, SourceUnavailable
from orchestrator.domain.states import TriggerState
from orchestrator.services.standing import Standing
from orchestrator.store.errors import Unavailable
from orchestrator.store.sources import Source, Sources, SourceState


class Told:
    """Stands for the store: what was told, and whether it answers."""

    def __init__(self) -> None:
        self.news: list[tuple[str, str]] = []
        self.deaf = False

    def tell(self, _uid: str, state: SourceState, detail: str = "") -> bool:
        if self.deaf:
            raise Unavailable("no database")
        self.news.append((state.value, detail))
        return True


@pytest.fixture
def told() -> Told:
    return Told()


def standing(told: Told, *parts: str) -> Standing:
    row = Source(
        trigger_uid="u",
        trigger="t",
        kind="queue",
        trigger_state=TriggerState.ACTIVE,
        version=1,
        definition="d",
        identity=None,
        state=SourceState.NEW,
        detail="",
        since=0,
        owner=None,
        restart=False,
    )
    return Standing(row, cast("Sources", told), parts or ("",))


def test_well_only_with_all_parts(told: Told) -> None:
    """One that has not had its turn yet is no reason to say so; one that fails is shown."""
    source = standing(told, "receiving", "reporting")
    source.well("receiving")
    assert told.news == []
    source.failed(SourceRefused("no right to delete"), "reporting")
    source.well("receiving")
    assert told.news == [("refused", "no right to delete")]
    source.well("reporting")
    source.well("receiving")
    assert told.news[1:] == [("ok", "")]


def test_waits_grow_by_what_went_wrong_and_begin_anew(told: Told) -> None:
    """Soon for one that does not answer, seldom for one that says no; never beyond a limit."""
    source = standing(told)
    assert [source.failed(SourceUnavailable("x")) for _ in range(3)] == [0.5, 1.0, 2.0]
    source.well()
    assert source.failed(SourceUnavailable("x")) == 0.5
    source.well()
    assert [source.failed(SourceRefused("x")) for _ in range(9)][-1] == 300
    source.well()
    assert source.failed(SourceChanged("x")) == 15
    assert [source.failed(SourceUnavailable("x")) for _ in range(100)][-1] == 30


def test_the_store_and_faults_of_a_connector(told: Told) -> None:
    """That the store does not answer says nothing about the source; a fault is named."""
    source = standing(told)
    assert source.failed(Unavailable("x")) == 1
    assert told.news == []
    source.failed(ZeroDivisionError("by zero"))
    assert told.news == [("broken", "ZeroDivisionError: by zero")]


def test_what_could_not_be_told_is_told_by_the_next_turn(told: Told) -> None:
    """And what was told is not told twice."""
    source = standing(told)
    told.deaf = True
    source.failed(SourceUnavailable("x"))
    told.deaf = False
    source.failed(SourceUnavailable("x"))
    source.failed(SourceUnavailable("x"))
    assert told.news == [("unavailable", "x")]
