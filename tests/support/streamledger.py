"""The store's sides of a trigger with a stream."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.states import RunState
from orchestrator.store.leftovers import Leftovers
from orchestrator.store.lives import Lives
from orchestrator.store.sources import Source, Sources, StreamPartition
from orchestrator.store.streams import How, StreamBatch, Streams
from orchestrator.store.triggers import new_uid
from orchestrator.store.values import Run
from tests.support.ledger import Ledger

HOW = How(room=1, rate=None, blocks=True)


class Stream:
    """One trigger with a source, and the store's sides of it."""

    def __init__(self, ledger: Ledger, *, owner: str = "me", name: str = "stream") -> None:
        self.ledger = ledger
        self.sources = Sources(ledger.db, owner)
        self.streams = Streams(ledger.db)
        self.lives = Lives(ledger.db)
        self.leftovers = Leftovers(ledger.db)
        self.uid = new_uid()
        ledger.outside(self.uid, '{"kind":"log"}', kind="log", name=name)
        self.sources.found(self.uid, "one", {"p0": "0"})

    @property
    def row(self) -> Source:
        found = self.sources.get(self.uid)
        assert found is not None
        return found

    def place(self, name: str = "p0") -> StreamPartition:
        return next(p for p in self.sources.partitions(self.uid) if p.name == name)

    def plan(self, *ends: int, how: How = HOW, at: StreamPartition | None = None, **batch: Any):
        """Take in ranges that end at `ends`; returns the names of the partitions that took them."""
        place = at or self.place()
        return self.streams.take_in(self.row, {place: self.batches(place, *ends, **batch)}, how)

    @staticmethod
    def batches(place: StreamPartition, *ends: int, **batch: Any) -> list[StreamBatch]:
        starts = [int(place.planned or 0), *ends]
        return [
            StreamBatch(start=str(a), end=str(b), values={"log": {"start": a, "end": b}}, **batch)
            for a, b in zip(starts, ends, strict=False)
        ]

    def runs(self) -> list[Run]:
        """All runs, by where they begin; those of one place by their end, the longest first."""
        return sorted(
            self.ledger.runs(), key=lambda r: (int(r.range_start or 0), -int(r.range_end or 0))
        )

    def finish(self, run: Run, state: RunState = RunState.SUCCEEDED, **settle: Any) -> Run:
        return self.ledger.finish(run, state, **settle)

    def leaves(self) -> list[tuple[str | None, str | None]]:
        """The ranges of the runs with a place, in their order."""
        ordered = sorted(
            (r for r in self.ledger.runs() if r.ordinal is not None), key=lambda r: r.ordinal or 0
        )
        return [(r.range_start, r.range_end) for r in ordered]
