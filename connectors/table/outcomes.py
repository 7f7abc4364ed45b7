"""Writing back what became of rows. Each call is one transaction.

A row is only touched while the claim with which it was delivered stands in it. Telling twice
changes nothing; a run that was dead and succeeds after all takes its row with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, func, update

from connectors.queues import Delivery
from connectors.table.access import Access
from connectors.table.layout import Layout
from connectors.table.portion import MOST

_SUCCEEDED = ("", "succeeded")  # nothing: whoever tells says nothing more than that it is done

Values: TypeAlias = Mapping[ColumnElement[Any], Any]


class Outcomes:
    """The state columns of one table. One thread at a time."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._max_returns = access.settings.max_returns
        self._marked: dict[str, tuple[str, bool]] = {}

    def ended(self, deliveries: Sequence[Delivery], now: int) -> Collection[str]:
        """Rows whose runs have ended; returns all ids: of a row that is gone, or is another's by
        now, there is nothing to write."""
        return self._tell(deliveries, lambda layout, one: _ended(layout, one, now))

    def given_back(self, deliveries: Sequence[Delivery], now: int) -> Collection[str]:
        """Rows that a run has left undone: they wait again, or are cancelled once they have come
        back too often. Returns all ids."""

        def values(layout: Layout, one: Delivery) -> Values:
            if one.round > self._max_returns:
                reason = f"not handled by {one.round} runs, the last of which succeeded otherwise"
                return _cancelled(layout, one, now, reason)
            cleared = ("queued_at", "started_at", "claimed_by", "run_id")
            return {layout.states[role]: None for role in cleared if role in layout.states}

        return self._tell(deliveries, values)

    def underway(self, deliveries: Sequence[Delivery]) -> None:
        """Rows that are in runs: which, and since when their tasks run. Each is written once or
        twice, however often this is told."""
        news = [
            one
            for one in deliveries
            if one.run_id and self._marked.get(one.id) != (one.run_id, one.started_at is not None)
        ]

        def values(layout: Layout, one: Delivery) -> Values:
            return _run(layout, one)

        if news:
            self._tell(news, values)
            self._marked |= {one.id: (one.run_id, one.started_at is not None) for one in news}

    def _tell(
        self, deliveries: Sequence[Delivery], values: Callable[[Layout, Delivery], Values]
    ) -> Collection[str]:
        if not deliveries:
            return ()
        with self._access.transaction() as (conn, layout):
            for alike in _alike(deliveries):
                self._write(conn, layout, alike, values(layout, alike[0]))
        for one in deliveries:
            self._marked.pop(one.id, None)
        return [one.id for one in deliveries]

    def _write(
        self, conn: Connection, layout: Layout, alike: Sequence[Delivery], values: Values
    ) -> None:
        owner = layout.states["claimed_by"]
        keys = list(_keys(layout, alike))
        for start in range(0, len(keys), MOST):
            mine = layout.is_one_of(keys[start : start + MOST])
            held = update(layout.table).where(mine, owner == alike[0].receipt)
            if values:
                conn.execute(held.values(dict(values)))


def _alike(deliveries: Iterable[Delivery]) -> Iterable[Sequence[Delivery]]:
    """Those of one run, with one claim, that came back equally often: they get the same values."""
    found: defaultdict[tuple[str, str, int], list[Delivery]] = defaultdict(list)
    for one in deliveries:
        found[one.run_id, one.receipt, one.round].append(one)
    return found.values()


def _keys(layout: Layout, deliveries: Iterable[Delivery]) -> Iterable[Any]:
    for one in deliveries:
        try:
            yield layout.key.value(one.id)
        except (ValueError, TypeError):  # the key had another type when it was delivered
            continue


def _run(layout: Layout, one: Delivery) -> dict[ColumnElement[Any], Any]:
    values: dict[ColumnElement[Any], Any] = {}
    if one.run_id and "run_id" in layout.states:
        values[layout.states["run_id"]] = one.run_id
    if one.started_at is not None and "started_at" in layout.states:
        values[layout.states["started_at"]] = layout.writers["started_at"](one.started_at)
    return values


def _ended(layout: Layout, one: Delivery, now: int) -> Values:
    if one.state not in _SUCCEEDED:
        return _cancelled(layout, one, now, f"{one.state}: {one.reason}".rstrip(": "))
    at = layout.writers["finished_at"](now if one.ended_at is None else one.ended_at)
    finished, cancelled = layout.states["finished_at"], layout.states["cancelled_at"]
    values = _run(layout, one) | {finished: func.coalesce(finished, at), cancelled: None}
    if "reason" in layout.states:
        values[layout.states["reason"]] = None
    return values


def _cancelled(layout: Layout, one: Delivery, now: int, reason: str) -> Values:
    at = now if one.ended_at is None else one.ended_at
    return _run(layout, one) | layout.cancelled(at, reason)
