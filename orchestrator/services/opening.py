"""Opening sources: what takes turns at a trigger's source, by what kind of source it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from connectors.abc import Connector
from connectors.payloads import NO_STORAGE, Payloads
from connectors.push import PushConnector
from connectors.queues import Inbox, QueueConnector, QueueSource
from connectors.services import Scale, ServiceConnector
from connectors.streams import SourceContext, StreamConnector
from orchestrator.domain.clock import Clock
from orchestrator.services.definitions import Definition
from orchestrator.services.keeping import Keeper
from orchestrator.services.queues import QueueWork, Receiving, Reporting
from orchestrator.services.reader import Reader, Shelf
from orchestrator.services.scaling import Scaling
from orchestrator.store.copies import Copies
from orchestrator.store.sources import Source


class Turner(Protocol):
    """Who takes turns at a source: a reader of a stream, or one part of a queue."""

    reports: bool
    """Whether it tells the source what became of its events."""

    @property
    def row(self) -> Source:
        """The source as it is known."""
        ...

    @property
    def lag(self) -> Mapping[str, int]:
        """Events that are in no run yet, by partition."""
        ...

    def fits(self, row: Source) -> bool:
        """Whether it can go on for a trigger as it is now."""
        ...

    def tell(self, row: Source) -> None:
        """The trigger was paused, resumed, asked to begin anew."""
        ...

    def stir(self) -> bool:
        """Runs have changed; returns whether that is a reason to look at once."""
        ...

    def stop(self) -> None:
        """Cut short what a turn waits for."""
        ...

    def lost(self, partition: str, start: str) -> str | None:
        """Why a range cannot be read any more, if that is known."""
        ...

    def turn(self) -> float:
        """Do what there is to do; returns after how many seconds there may be more."""
        ...

    def close(self) -> None:
        """Let go of the source. May be called twice."""
        ...


class NoConnector(Exception):
    """Nothing that is installed reads this kind of source."""


class Opener:
    """Opens the sources of one orchestrator."""

    def __init__(
        self,
        shelf: Shelf,
        connectors: Mapping[str, Connector],
        clock: Clock,
        *,
        instance: str,
        secrets: Mapping[str, str],
        data_dir: Path,
        max_in_flight: int,
        copies: Copies,
        scaling: Callable[[Scale], Scaling],
    ) -> None:
        self._shelf = shelf
        self._copies = copies
        self._scaling = scaling
        self._connectors = connectors
        self._clock = clock
        self._instance = instance
        self._secrets = secrets
        self._data_dir = data_dir
        self._max_in_flight = max_in_flight

    def context(self, trigger_uid: str, trigger: str) -> SourceContext:
        """What a source of this trigger may use."""
        return SourceContext(
            instance=self._instance,
            trigger=trigger,
            trigger_uid=trigger_uid,
            secrets=self._secrets,
            data_dir=self._data_dir / "sources" / trigger_uid,
            stop=threading.Event(),
        )

    def open(
        self, row: Source, definition: Definition, patience: Callable[[], float]
    ) -> Sequence[Turner]:
        """Who takes turns at a source. Raises NoConnector, and whatever a plugin may raise.

        `patience` is how many seconds a source that waits by itself may do so.
        """
        connector = self._connectors.get(row.kind)
        context = self.context(row.trigger_uid, row.trigger)
        if isinstance(connector, StreamConnector):
            return [Reader(row, definition, connector, context, self._shelf, self._clock)]
        if isinstance(connector, ServiceConnector):
            plan = connector.plan(definition.settings)
            return [
                Keeper(
                    row,
                    definition,
                    plan,
                    self._copies,
                    self._shelf.sources,
                    None if plan.scale is None else self._scaling(plan.scale),
                    self._clock,
                )
            ]
        if not isinstance(connector, QueueConnector):
            raise NoConnector(
                f"there is no connector for the kind {row.kind}: install it, or delete this"
            )
        if row.restart:
            self._shelf.inboxes.restart(row.trigger_uid)
            row = self._shelf.sources.get(row.trigger_uid) or row
        return self._queue(row, definition, connector, context, patience)

    def _queue(
        self,
        row: Source,
        definition: Definition,
        connector: QueueConnector,
        context: SourceContext,
        patience: Callable[[], float],
    ) -> Sequence[Turner]:
        inboxes, uid = self._shelf.inboxes, row.trigger_uid
        inbox = Inbox(cursor=inboxes.cursor(uid), known=lambda ids: set(inboxes.known(uid, ids)))
        source = connector.open(definition.settings, context, inbox)
        work = QueueWork(
            row,
            definition,
            source,
            _payloads(connector, source, definition, context),
            context,
            self._shelf,
            self._clock,
        )
        parts: list[Turner] = [Reporting(work)]
        if source is not None:
            at_most = self._max_in_flight
            parts.append(Receiving(work, source, max_in_flight=at_most, patience=patience))
        return parts


def _payloads(
    connector: QueueConnector,
    source: QueueSource | None,
    definition: Definition,
    context: SourceContext,
) -> Payloads:
    if source is not None:
        return source.payloads
    if isinstance(connector, PushConnector):
        receiver = connector.receiver(definition.settings, context)
        if receiver is not None:
            return receiver.payloads
    return NO_STORAGE
