"""How a stream's trigger stands, for tests with an orchestrator in their own process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.store.sources import SourceState
from orchestrator.web import views
from tests.support.inprocess import Orch
from tests.support.waiting import until


def places(orch: Orch, trigger: str) -> dict[str, tuple[str | None, str | None]]:
    """Each partition's `planned` and `done`."""
    found = orch.app.source_store.partitions(orch.app.triggers.get(trigger).uid)
    return {p.name: (p.planned, p.done) for p in found}


def until_done(orch: Orch, trigger: str, ends: Mapping[str, int], *, within: float = 60) -> None:
    """Wait until everything before these offsets is done, and nothing is planned beyond."""
    wanted = {name: (str(end), str(end)) for name, end in ends.items()}

    def show() -> Any:
        return places(orch, trigger), source(orch, trigger), orch.open_runs()

    def reached() -> bool:
        return wanted.items() <= places(orch, trigger).items()

    until(reached, f"{trigger} done up to {ends}", within=within, show=show)


def source(orch: Orch, trigger: str) -> tuple[SourceState, str]:
    """How the orchestrator gets on with a trigger's source, and what it says of it."""
    found = orch.app.source_store.get(orch.app.triggers.get(trigger).uid)
    assert found is not None
    return found.state, found.detail


def until_source(orch: Orch, trigger: str, state: SourceState, *, within: float = 60) -> str:
    """Wait until a source is in a state; returns what is said of it."""
    until(
        lambda: source(orch, trigger)[0] is state,
        f"the source is {state}",
        within=within,
        show=lambda: source(orch, trigger),
    )
    return source(orch, trigger)[1]


def shown(orch: Orch, trigger: str) -> list[dict[str, Any]]:
    """A trigger's runs, oldest first, as the API shows them."""
    return [views.run(run, orch.attempts(run)) for run in orch.runs(trigger)]
