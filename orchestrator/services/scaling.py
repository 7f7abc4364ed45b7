"""Scaling: how many copies of a service there should be, by what another trigger has to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.services import Scale
from connectors.streams import SourceRefused
from orchestrator.domain.clock import MINUTE, SECOND, Clock
from orchestrator.domain.keeping import wanted_copies
from orchestrator.store.demand import Demand
from orchestrator.store.errors import Missing
from orchestrator.store.triggers import Triggers


class Scaling:
    """Counts for one service. More copies come at once, fewer after a while."""

    def __init__(
        self,
        scale: Scale,
        triggers: Triggers,
        demand: Demand,
        lag: Callable[[str], Mapping[str, int]],
        clock: Clock,
    ) -> None:
        """`lag` is how many events of a trigger are in no run yet, by partition."""
        self._scale = scale
        self._triggers = triggers
        self._demand = demand
        self._lag = lag
        self._clock = clock
        self._fewer: tuple[float, int] | None = None  # since when (monotonic), and the most since

    def count(self, now_there: int) -> int:
        """How many there should be, of so many. Raises SourceRefused for a trigger that is not
        there."""
        scale = self._scale
        wanted = wanted_copies(self._value(), scale.target, scale.min, scale.max)
        there = max(scale.min, min(scale.max, now_there))
        if wanted >= there:
            self._fewer = None
            return wanted
        ticks = self._clock.monotonic()
        since, most = self._fewer or (ticks, wanted)
        most = max(most, wanted)
        self._fewer = (since, most)
        if ticks - since < scale.down_after / SECOND:
            return there
        self._fewer = None
        return most

    def _value(self) -> float:
        name = self._scale.of
        try:
            uid = self._triggers.get(name).uid
        except Missing as error:
            raise SourceRefused(f"scale.of: {error}") from error
        if self._scale.on == "lag":
            return sum(self._lag(uid).values()) + self._demand.waiting(uid)
        now = self._clock.now()
        return self._demand.due_between(uid, now - MINUTE, now) * SECOND / MINUTE
